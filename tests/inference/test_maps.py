"""`predict --map`: the map's numbers against `predict` on windows, its files, its tiles; and bad input."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import foveal
from foveal.cli.main import app
from foveal.errors import BundleError, UsageError
from foveal.inference.bundle import Bundle, load_bundle, save_bundle
from foveal.inference.classifier import ClassificationPredictor
from foveal.inference.dense_map import DenseMapPredictor, classifier_of
from foveal.inference.outputs.drawing import at_display_size
from foveal.inference.outputs.map_files import likeliest_classes, one_class, write_maps
from foveal.models import zoo
from foveal.models.networks import build
from foveal.values import Manifest, Preprocess


def bundle_of(network, classes, preprocess, *, views=("plain",), outside=False):
    torch.manual_seed(0)
    tensors = {k: v.numpy() for k, v in build(network).eval().state_dict().items()}
    manifest = Manifest(
        "classify",
        classes,
        None,
        None,
        "",
        preprocess,
        views,
        0.5,
        0.1,
        {},
        network,
        outside,
        unknown_threshold=0.5,
    )
    return Bundle(manifest, tensors)


@pytest.fixture(scope="module")
def exact():
    """A network without padding: each answer of a map is the one for that window, whatever lies around it."""
    network = {"architecture": "zoo", "name": "lenet5_modern", "classes": 4, "channels": 3}
    return bundle_of(
        network, ("ant", "bee", "cat", "dog"), Preprocess(size=32, resize="squash"), views=("plain", "mirror")
    )


@pytest.fixture(scope="module")
def wall(tmp_path_factory):
    path = tmp_path_factory.mktemp("wall") / "wall.png"
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((101, 60), Image.Resampling.BICUBIC).save(path)
    return path


def test_each_answer_is_what_predict_says_of_that_window(exact, wall):
    found = DenseMapPredictor(exact)(str(wall))
    k, h, w = found.probabilities.shape
    assert (k, h, w) == (4, 8, 19) and found.stride == 4 and found.window == 32 and found.tiles == 1
    picture = Image.open(wall)
    inside, windows = [], []
    for i in range(h):
        for j in range(w):
            left, top = found.left + j * found.stride, found.top + i * found.stride
            if left >= 0 and top >= 0 and left + 32 <= picture.width and top + 32 <= picture.height:
                inside.append((i, j))
                windows.append(picture.crop((int(left), int(top), int(left) + 32, int(top) + 32)))
    assert len(inside) > 100
    expected = ClassificationPredictor(exact).probabilities(windows)
    answers = np.stack([found.probabilities[:, i, j] for i, j in inside])
    assert np.abs(answers - expected).max() < 1e-4
    assert found.agreement["places"] == 9 and found.agreement["largest"] < 1e-4 and found.agreement["same"] == 1


def test_every_pixel_is_in_some_window(exact, wall):
    found = DenseMapPredictor(exact)(str(wall))
    _, h, w = found.probabilities.shape
    assert found.left <= 0 and found.left + (w - 1) * found.stride + found.window >= found.image.width
    assert found.top <= 0 and found.top + (h - 1) * found.stride + found.window >= found.image.height


def test_a_larger_window_looks_at_a_smaller_picture(exact, wall):
    found = DenseMapPredictor(exact, window=64)(str(wall))
    assert found.window == 64 and found.stride == 8 and found.probabilities.shape[1:] == (1, 6)
    small = Image.open(wall).resize((50, 30), Image.Resampling.BICUBIC)
    left = round(-found.left / 2)
    canvas = Image.new("RGB", (52, 32), (255, 255, 255))
    canvas.paste(small, (left, 1))
    expected = ClassificationPredictor(exact).probabilities(
        [canvas.crop((4 * j, 0, 4 * j + 32, 32)) for j in range(6)]
    )
    assert np.abs(found.probabilities[:, 0].T - expected).max() < 1e-3


def test_tiles_under_a_budget_give_the_same_map(exact, wall):
    whole = DenseMapPredictor(exact)(str(wall))
    pieces = DenseMapPredictor(exact, memory=600_000)(str(wall))
    assert pieces.tiles > 1 == whole.tiles
    assert np.abs(pieces.probabilities - whole.probabilities).max() < 1e-5


def test_none_of_the_classes_has_a_map_of_its_own_and_fades_the_colours(wall, tmp_path):
    network = {"architecture": "zoo", "name": "lenet5_modern", "classes": 3, "channels": 1}
    bundle = bundle_of(network, ("a", "b"), Preprocess(size=32, resize="squash", channels=1), outside=True)
    found = DenseMapPredictor(bundle)(str(wall))
    assert found.probabilities.shape[0] == 2 and found.outside.shape == found.probabilities.shape[1:]
    assert np.allclose(found.probabilities.sum(axis=0), 1, atol=1e-5) and 0 < found.outside.min() < 1
    record = write_maps(found, tmp_path)
    assert np.array_equal(np.load(record["none"]), found.outside)
    sure = type(found)(**{**vars(found), "outside": np.ones_like(found.outside)})
    height = np.asarray(at_display_size(found.image)).shape[0]
    assert np.array_equal(np.asarray(likeliest_classes(sure))[:height], np.asarray(at_display_size(found.image)))


def test_a_run_on_a_frozen_trunk(trained, tmp_path):
    """What `train` left, as it is: at the training size the map is the answer that `predict` gives."""
    run, _ = trained
    bundle = load_bundle(run)
    network = foveal.to_fully_convolutional(run)
    assert network.window == bundle.manifest.preprocess.size == 224 and network.stride == 32
    pixels = np.random.default_rng(1).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    found = DenseMapPredictor(bundle)(str(tmp_path / "one.png"))
    expected = ClassificationPredictor(bundle, precision="fp32").probabilities([str(tmp_path / "one.png")])
    assert found.probabilities.shape[1:] == (1, 1)
    assert np.abs(found.probabilities[:, 0, 0] - expected[0]).max() < 1e-3
    assert len(network.padded) > 10 and network.mixing == ()


def test_other_weights_are_refused(trained):
    from dataclasses import replace

    bundle = load_bundle(trained[0])
    if bundle.manifest.backbone is None:
        pytest.skip("this run trained all of its network")
    with pytest.raises(BundleError):
        classifier_of(Bundle(replace(bundle.manifest, backbone_sha256="0" * 64), bundle.tensors))


def test_a_module_is_taken_as_it_is():
    torch.manual_seed(0)
    network = zoo.create("lenet5", channels=3).eval()
    x = torch.randn(1, 3, 32, 32)
    converted = foveal.to_fully_convolutional(network, size=32)
    assert torch.allclose(converted(x)[:, :, 0, 0], network(x), atol=1e-3)
    with pytest.raises(BundleError):
        foveal.to_fully_convolutional("no/such/run")


def test_files_and_json(exact, wall, tmp_path):
    run, out = tmp_path / "run", tmp_path / "maps"
    import hashlib
    from dataclasses import replace

    from foveal.inference.bundle import weights_bytes

    digest = hashlib.sha256(weights_bytes(exact.tensors)).hexdigest()
    save_bundle(Bundle(replace(exact.manifest, weights_sha256=digest), exact.tensors), run)
    done = CliRunner().invoke(
        app, ["predict", str(run), str(wall), "none.png", "--map", "--out", str(out), "--json"]
    )
    assert done.exit_code == 1, done.output  # one image is missing
    found = json.loads(done.stdout)
    (record,), (refused,) = found["maps"], found["refused"]
    array = np.load(record["array"])
    assert array.shape == tuple(record["shape"]) == (4, 8, 19) and array.dtype == np.float32
    assert np.allclose(array.sum(axis=0), 1, atol=1e-5)
    assert sum(record["share"].values()) == pytest.approx(1) and set(record["heat"]) == set(record["classes"])
    for file in (record["overlay"], *record["heat"].values()):
        with Image.open(file) as drawn:
            assert drawn.width == 480 and drawn.height > 285
    assert json.loads((out / "wall.json").read_text()) == record
    assert refused["path"] == "none.png" and found["network"] == {"padded": [], "mixing": [], "remarks": []}


def test_colours_stand_where_the_answers_are(exact, wall):
    """One class on the left, another on the right: so are the colours, and the heat."""
    found = DenseMapPredictor(exact)(str(wall))
    grey = Image.new("RGB", found.image.size, (128, 128, 128))
    probabilities = np.full_like(found.probabilities, 0.01)
    probabilities[0, :, :9], probabilities[1, :, 9:] = 0.97, 0.97
    split = type(found)(**{**vars(found), "image": grey, "probabilities": probabilities})
    drawn = np.asarray(likeliest_classes(split), dtype=int)[:285]
    left, right = drawn[:, :150].reshape(-1, 3), drawn[:, -150:].reshape(-1, 3)
    assert (left == left[0]).all() and (right == right[0]).all() and (left[0] != right[0]).any()
    heat = np.asarray(one_class(split, 0), dtype=int)[:285].sum(axis=2)
    assert heat[:, :150].min() > heat[:, -150:].max()


def test_bad_input(exact, wall, tmp_path):
    with pytest.raises(UsageError):
        CliRunner().invoke(app, ["predict", "model:mnist", str(wall), "--map"], catch_exceptions=False)
    with pytest.raises(UsageError):
        DenseMapPredictor(exact, window=0)
    with pytest.raises(UsageError):
        arguments = ["predict", "model:mnist", str(wall), "--map", "--out", str(tmp_path), "--memory", "much"]
        CliRunner().invoke(app, arguments, catch_exceptions=False)
