"""A bundle is whole or refused; a model answers the same however it is asked."""

import csv
import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from foveal.errors import BundleError, UnreadableImage, UsageError
from foveal.ship import Prediction, Predictor, find_pictures, load_bundle, save_bundle
from foveal.ship.tables import columns, write_csv, write_file, write_json


def test_round_trip_to_the_bit(trained, tmp_path):
    bundle = load_bundle(trained[0])
    save_bundle(bundle, tmp_path / "copy")
    again = load_bundle(tmp_path / "copy")
    assert again.manifest == bundle.manifest
    assert np.array_equal(again.head.weight, bundle.head.weight) and np.array_equal(
        again.head.bias, bundle.head.bias
    )
    assert load_bundle(trained[0] / "model").manifest == bundle.manifest


@pytest.fixture
def copy(trained, tmp_path):
    save_bundle(load_bundle(trained[0]), tmp_path / "copy")
    return tmp_path / "copy"


def test_damage_is_noticed(copy):
    weights = copy / "weights.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(BundleError, match="does not match its hash"):
        load_bundle(copy)
    weights.unlink()
    with pytest.raises(BundleError, match="no model in it"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(schema=99), "schema 99"),
        (lambda m: m.pop("classes"), "lacks 'classes'"),
        (lambda m: m.update(backbone_sha256="0" * 64), "other weights"),
    ],
)
def test_a_manifest_of_something_else_is_refused(copy, change, words):
    manifest = json.loads((copy / "bundle.json").read_text())
    change(manifest)
    (copy / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=words):
        list(Predictor.load(copy).stream([Image.new("RGB", (40, 40))]))
    (copy / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match=r"bundle\.json"):
        load_bundle(copy)


def test_path_picture_and_array_get_the_same_answer(trained, photos):
    predictor = Predictor.load(trained[0])
    file = next(photos.rglob("*.png"))
    picture = Image.open(file)
    asked = [file, str(file), picture, np.asarray(picture), np.asarray(picture) / 255.0]
    rows = predictor.probabilities(asked)
    assert rows.shape == (5, 3) and np.allclose(rows.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(rows[0], rows[1]) and np.abs(rows - rows[0]).max() < 1e-5


def test_a_bad_picture_is_an_answer_in_a_stream_and_an_error_elsewhere(trained, photos, tmp_path):
    predictor = Predictor.load(trained[0])
    good = next(photos.rglob("*.jpg"))
    answers = list(predictor.stream([good, tmp_path / "absent.jpg", good], topk=2))
    assert [a.error is None for a in answers] == [True, False, True]
    assert answers[1].error.startswith("missing") and answers[1].label is None
    first = answers[0]
    assert first.label == first.topk[0][0] and first.probability == first.topk[0][1] and len(first.topk) == 2
    assert first.label in first.set and first.unknown is None
    with pytest.raises(UnreadableImage):
        predictor.probabilities([tmp_path / "absent.jpg"])
    with pytest.raises(UsageError):
        list(predictor.stream([good], topk=0))
    with pytest.raises(UsageError, match="no picture"):
        predictor.probabilities([np.zeros((3, 4, 5, 6))])


def test_a_stream_takes_no_more_than_it_needs(trained, photos):
    taken = []
    file = str(next(photos.rglob("*.png")))

    def endless():
        while True:
            taken.append(1)
            yield file

    stream = Predictor.load(trained[0]).stream(endless())
    for _ in range(10):
        next(stream)
    stream.close()
    assert len(taken) <= 32 * 8


def test_the_answer_sets_cover_what_they_promise(trained, photos):
    """Nine in ten, less what chance does to 120 pictures of which some were trained on."""
    predictor = Predictor.load(trained[0])
    files = sorted(photos.rglob("*.*"))
    answers = list(predictor.stream(map(str, files)))
    assert np.mean([f.parent.name in a.set for f, a in zip(files, answers, strict=True)]) >= 0.85


ODD = [
    Prediction("plain.jpg", "a", 0.75, (("a", 0.75), ("b", 0.25)), ("a", "b")),
    Prediction('comma, quote" and\nline\r.jpg', "b", 0.5, (("b", 0.5), ("a", 0.5)), ("b",)),
    Prediction("not-utf8-\udcff.jpg", error="broken: as can be"),
]


def test_csv_round_trip():
    stream = io.StringIO(newline="")
    assert write_csv(ODD, stream, topk=2) == 3
    stream.seek(0)
    rows = list(csv.DictReader(stream))
    assert list(rows[0]) == columns(2)
    assert [r["path"] for r in rows] == [p.path for p in ODD]
    assert rows[0]["label_2"] == "b" and rows[0]["set"] == "a|b" and rows[2]["error"] == "broken: as can be"


def test_json_round_trip():
    stream = io.StringIO()
    assert write_json(ODD, stream) == 3
    found = json.loads(stream.getvalue())
    assert [p["path"] for p in found["predictions"]] == [p.path for p in ODD]
    assert found["predictions"][0]["topk"][1] == {"label": "b", "probability": 0.25}
    empty = io.StringIO()
    assert write_json([], empty) == 0 and json.loads(empty.getvalue())["predictions"] == []


def test_parquet_round_trip(tmp_path):
    assert write_file(iter(ODD), tmp_path / "a.parquet", "parquet", topk=2) == 3
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [r["path"] for r in rows[:2]] == [p.path for p in ODD[:2]] and "udcff" in rows[2]["path"]
    assert rows[0]["probability"] == 0.75 and rows[2]["probability"] is None
    assert write_file(iter([]), tmp_path / "empty.parquet", "parquet") == 0
    assert pq.read_table(tmp_path / "empty.parquet").num_rows == 0


def test_pictures_are_found_by_file_folder_and_glob(photos, tmp_path):
    every = sorted(str(f) for f in photos.rglob("*.*"))
    assert sorted(find_pictures([photos])) == every
    assert sorted(find_pictures([f"{photos}/**/*.png"])) == [f for f in every if f.endswith("png")]
    assert list(find_pictures([every[0], "absent.jpg"])) == [every[0], "absent.jpg"]
    odd = tmp_path / "with [brackets].jpg"
    odd.write_bytes(b"x")
    assert list(find_pictures([odd])) == [str(odd)]
    with pytest.raises(UsageError, match="no file matches"):
        find_pictures([every[0], f"{tmp_path}/*.webp"])  # before the first file is handed out
