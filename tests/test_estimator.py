"""The estimators behave as a user of scikit-learn expects."""

import csv
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone

import foveal
from foveal import FovealError, ImageClassifier, load
from foveal.errors import DataError, UnknownName, UsageError
from foveal.estimator import NotFitted


@pytest.fixture(scope="module")
def fitted(photos, tmp_path_factory):
    paths = sorted(photos.rglob("*.*"))
    out = str(tmp_path_factory.mktemp("estimator") / "run")
    return ImageClassifier(time="5m", test="subset", out=out).fit(paths, [p.parent.name for p in paths])


def test_parameters():
    model = ImageClassifier(time="90s", seed=3)
    assert model.get_params()["time"] == "90s" and model.get_params()["test"] == "auto"
    assert model.set_params(seed=4, backbone="lite0").seed == 4
    copy = clone(model)
    assert copy is not model and copy.get_params() == model.get_params()
    with pytest.raises(UnknownName) as caught:
        model.set_params(sede=1)
    assert caught.value.near == "seed"


def test_fit_on_paths_and_labels_or_on_a_folder_is_one_thing(fitted, trained):
    assert list(fitted.classes_) == ["ant", "bee", "cat"]
    assert fitted.summary_["test"]["accuracy"] == trained[1]["test"]["accuracy"]


def test_predict_takes_every_form(fitted, photos):
    files = sorted((photos / "bee").iterdir())
    pictures = [Image.open(f) for f in files[:3]]
    assert fitted.predict(files[0]).shape == (1,)
    assert len(fitted.predict(photos / "bee")) == 40
    by_path = fitted.predict_proba(files[:3])
    assert np.allclose(by_path.sum(axis=1), 1, atol=1e-5)
    assert np.abs(fitted.predict_proba(pictures) - by_path).max() < 1e-5
    batch = np.stack([np.asarray(p.convert("RGB").resize((64, 64))) for p in pictures])
    assert fitted.predict(batch).shape == (3,) and fitted.predict(batch[0]).shape == (1,)
    assert fitted.predict(pictures[0])[0] == fitted.predict(files[0])[0]


def test_an_array_of_names_is_taken_for_names(fitted, photos):
    files = [str(f) for f in sorted((photos / "bee").iterdir())[:2]]
    assert np.array_equal(fitted.predict_proba(np.array(files)), fitted.predict_proba(files))
    assert np.array_equal(fitted.predict_proba(np.array(files, dtype=object)), fitted.predict_proba(files))


def test_paths_are_shown_and_grouped_from_their_own_common_folder(fitted, photos, tmp_path):
    assert fitted.summary_["data"]["root"] == str(photos.resolve())
    odd = tmp_path / " with spaces "
    names = [str(shutil.copy(f, odd / f"{k % 10} {f.name} ")) for k, f in _made(odd, photos)]
    model = ImageClassifier(time="1m", out=str(tmp_path / "run"), group_by=r"^(\d) ", strategy="frozen")
    model.fit(names, ["even" if int(n.rpartition("/")[2][0]) % 2 else "odd" for n in names])
    rows = list(csv.DictReader((tmp_path / "run" / "split.csv").read_text().splitlines()))
    assert {r["path"] for r in rows} == set(names)
    sides = {}
    for row in rows:
        if row["split"] in ("train", "val", "test"):
            sides.setdefault(row["path"].rpartition("/")[2][0], set()).add(row["split"])
    assert len(sides) == 10 and all(len(s) == 1 for s in sides.values())


def _made(folder, photos):
    folder.mkdir()
    return list(enumerate(sorted(photos.rglob("*.*"))[:60]))


def test_score_and_evaluate(fitted, photos):
    files = sorted(photos.rglob("*.*"))
    assert fitted.score(files, [f.parent.name for f in files]) > 0.8
    assert fitted.evaluate()["test"]["accuracy"] == fitted.summary_["test"]["accuracy"]
    with pytest.raises(DataError, match="120 seen_in_training"):  # it was refitted on all of them
        fitted.evaluate(photos)
    assert fitted.evaluate(photos, include_seen=True)["test"]["n"] == 120


def test_the_score_of_a_folder_warns_of_images_that_were_trained_on(fitted, photos, make_folder, tmp_path):
    with pytest.warns(UserWarning, match="120 of 120 images were trained on"):
        assert fitted.score(photos) > 0.8
    new = make_folder(tmp_path / "new", {"ant": 3, "bee": 3, "cat": 3}, seed=78)
    assert fitted.score(new) >= 0  # warnings are errors here


def test_one_label_for_three_images_is_counted_in_words():
    with pytest.raises(UsageError, match="3 images and 1 label:"):
        ImageClassifier().fit(["a.jpg", "b.jpg", "c.jpg"], ["a"])


def test_save_and_load_give_the_same_probabilities(fitted, photos, tmp_path):
    files = sorted((photos / "cat").iterdir())[:5]
    fitted.save(tmp_path / "bundle")
    for source in (tmp_path / "bundle", fitted.run_):
        assert np.array_equal(load(source).predict_proba(files), fitted.predict_proba(files))
    with pytest.raises(UsageError, match=re.escape(str(tmp_path / "bundle"))):
        fitted.save(tmp_path / "bundle")


def test_mistakes_are_errors_with_a_hint(tmp_path):
    out = str(tmp_path / "run")
    mistakes = [
        (NotFitted, lambda: ImageClassifier().predict("x.jpg")),
        (UsageError, lambda: ImageClassifier(out=out).fit(["a.jpg"])),
        (UsageError, lambda: ImageClassifier(out=out).fit("a.jpg", ["x"])),
        (UsageError, lambda: ImageClassifier(out=out).fit(["a.jpg"], ["x", "y"])),
        (UsageError, lambda: ImageClassifier(out=out, time="soon").fit("photos")),
        (FovealError, lambda: load(tmp_path)),
    ]
    for kind, mistake in mistakes:
        with pytest.raises(kind) as caught:
            mistake()
        assert caught.value.hint
    assert not (tmp_path / "run").exists()


def test_audit_from_python(photos):
    found = foveal.audit(photos)
    assert found.classes() == {"ant": 40, "bee": 40, "cat": 40}
