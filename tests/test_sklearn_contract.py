"""scikit-learn's own checks of an estimator, and its tools at work on images.

`check_estimator` knows only rows of features, which are no images: alone, an `ImageClassifier` says so by its tags.
Behind a step that reshapes rows to images, as users put it there, it has to pass everything.
"""

import copy
import pickle
import shutil
import sys

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    check_do_not_raise_errors_in_init_or_set_params,
    check_estimator,
    check_estimator_cloneable,
    check_estimator_repr,
    check_estimator_tags_renamed,
    check_estimators_unfitted,
    check_get_params_invariance,
    check_mixin_order,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
    check_valid_tag_types,
)

from foveal import FovealError, ImageClassifier, Segmenter, load
from foveal.errors import UnknownName, UnreadableImage
from foveal.estimator import NotFitted
from toy_backbone import NAME, toy_backbone

pytestmark = pytest.mark.slow

#: Those that fit nothing: they hold for both estimators.
API_CHECKS = [
    check_do_not_raise_errors_in_init_or_set_params,
    check_estimator_cloneable,
    check_estimator_repr,
    check_estimator_tags_renamed,
    check_estimators_unfitted,
    check_get_params_invariance,
    check_mixin_order,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
    check_valid_tag_types,
]


#: Checks that the pipeline below fails, with the reason. None is about `ImageClassifier`.
EXPECTED_FAILURES = dict.fromkeys(
    ("check_estimators_overwrite_params", "check_dont_overwrite_parameters"),
    "a Pipeline fits its steps in place, so its parameter `steps` changes",
)


@pytest.mark.parametrize("check", API_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("estimator", [ImageClassifier, Segmenter], ids=lambda kind: kind.__name__)
def test_the_interface_is_scikit_learns(check, estimator):
    check(estimator.__name__, estimator())


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory):
    """Features from a tiny network, and runs in a folder of their own."""
    with toy_backbone(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        yield


@pytest.fixture(scope="module")
def images():
    """(24, 16, 16, 3) of two colours with noise, and integer labels."""
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2 * 7
    colour = np.where(y[:, None, None, None] == 7, [200, 60, 60], [60, 60, 200])
    return (colour + rng.integers(-50, 50, (24, 16, 16, 3))).astype(np.uint8), y


def classifier(**given):
    return ImageClassifier(**{"time": 20, "strategy": "frozen", "backbone": NAME, "test": False, **given})


def rows_as_images(rows):
    """(N, features) from 0 to 1 as (N, 4, features) grey images."""
    return np.repeat(rows[:, None, :], 4, axis=1)


def test_check_estimator_on_rows_that_become_images():
    pipeline = make_pipeline(MinMaxScaler(clip=True), FunctionTransformer(rows_as_images), classifier())
    results = check_estimator(pipeline, expected_failed_checks=EXPECTED_FAILURES, on_skip=None, on_fail=None)
    failed = {r["check_name"]: str(r["exception"]) for r in results if r["status"] == "failed"}
    assert failed == {}
    assert {r["check_name"] for r in results if r["status"] == "xfail"} == set(EXPECTED_FAILURES)
    assert sum(r["status"] == "passed" for r in results) > 40


def test_check_estimator_alone_tests_nothing_since_rows_are_no_images():
    with pytest.warns(SkipTestWarning):
        check_estimator(ImageClassifier())


def test_tags_say_what_it_takes():
    tags = get_tags(ImageClassifier())
    assert is_classifier(ImageClassifier()) and not is_classifier(Segmenter())
    assert tags.input_tags.three_d_array and not tags.input_tags.two_d_array and not tags.target_tags.required


def test_cross_validation(images):
    X, y = images
    scores = cross_val_score(classifier(), X, y, cv=2, error_score="raise")
    assert scores.shape == (2,) and scores.mean() > 0.9
    predicted = cross_val_predict(classifier(), X, y, cv=2)
    assert predicted.dtype == y.dtype and (predicted == y).mean() > 0.9


def test_grid_search_with_one_run_folder_for_each_fit(images, tmp_path):
    X, y = images
    search = GridSearchCV(
        classifier(out=str(tmp_path / "run")), {"seed": [0, 1]}, cv=2, error_score="raise", refit=True
    )
    search.fit(X, y)
    assert search.best_score_ > 0.9 and search.predict(X[:2]).tolist() == [0, 7]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["run", "run-2", "run-3", "run-4", "run-5"]


def test_a_pipeline_from_rows_of_features(images):
    X, y = images
    rows_to_images = FunctionTransformer(lambda rows: rows.reshape(-1, 16, 16, 3))
    pipeline = make_pipeline(rows_to_images, classifier())
    pipeline.fit(X.reshape(24, -1), y)
    assert is_classifier(pipeline) and pipeline.score(X.reshape(24, -1), y) > 0.9
    assert clone(pipeline).get_params()["imageclassifier__seed"] == 0


def test_rows_of_features_are_refused_with_what_to_do(images):
    X, y = images
    for wrong in (X.reshape(24, -1), torch.from_numpy(X.reshape(24, -1).copy())):
        with pytest.raises(ValueError) as caught:
            classifier().fit(wrong, y)
        assert "reshape" in caught.value.hint


def test_what_is_not_fitted_and_wrong_parameters(images):
    for estimator in (ImageClassifier(), Segmenter()):
        with pytest.raises(NotFittedError) as caught:
            estimator.predict(images[0])
        assert isinstance(caught.value, FovealError) and not hasattr(estimator, "classes_")
        with pytest.raises(ValueError):
            estimator.set_params(sede=1)


@pytest.mark.parametrize(
    "y",
    [
        np.arange(24) % 2,
        np.arange(24, dtype=np.int32) % 2 * 90 + 10,  # sorted as numbers, not as text: 10, 100
        np.arange(24) % 2 == 1,
        np.array(["a", "b"])[np.arange(24) % 2],
        np.array(["a", "b"], dtype=object)[np.arange(24) % 2],
        (np.arange(24) % 2).astype(float),
        (np.arange(24) % 2 * 8 + 2).tolist(),
        torch.arange(24) % 2,
    ],
    ids=["int", "int32", "bool", "str", "object", "float", "list", "tensor"],
)
def test_labels_come_back_in_their_own_type_even_from_the_run_folder(images, y):
    X = images[0]
    model = classifier().fit(X, y)
    expected = np.unique(np.asarray(y))
    assert model.classes_.dtype == expected.dtype and model.classes_.tolist() == expected.tolist()
    predicted, probabilities = model.predict(X), model.predict_proba(X)
    assert predicted.dtype == expected.dtype and (predicted == np.asarray(y)).mean() > 0.9
    assert np.array_equal(predicted, model.classes_[probabilities.argmax(axis=1)])
    assert model.score(X, y) == (predicted == np.asarray(y)).mean()
    again = load(model.run_, ImageClassifier)
    assert again.classes_.tolist() == expected.tolist() and np.array_equal(again.predict_proba(X), probabilities)


@pytest.mark.parametrize(
    "y", [[0.5] * 12 + [0.7] * 12, [np.nan] * 24, [[0, 1]] * 24, ["", "a"] * 12, [None, "a"] * 12]
)
def test_what_is_no_label_is_refused(images, y):
    with pytest.raises(ValueError) as caught:
        classifier().fit(images[0], y)
    assert isinstance(caught.value, FovealError) and caught.value.hint


@pytest.fixture(scope="module")
def fitted(images):
    return classifier().fit(*images)


def copies(model, folder):
    """The ways in which Python and scikit-learn's users copy a model."""
    joblib.dump(model, folder / "model.joblib")
    yield pickle.loads(pickle.dumps(model))
    yield copy.deepcopy(model)
    yield joblib.load(folder / "model.joblib")


def test_a_fitted_estimator_is_copied_with_its_bundle(fitted, images, tmp_path):
    expected = fitted.predict_proba(images[0])
    for again in copies(fitted, tmp_path):
        assert np.array_equal(again.predict_proba(images[0]), expected)
        assert again.classes_.dtype == fitted.classes_.dtype and again.get_params() == fitted.get_params()
    assert len(pickle.dumps(fitted)) < 100_000 and not hasattr(clone(fitted), "classes_")
    assert not [
        f for f in fitted.run_.rglob("*") if b"foveal.estimator" in (f.read_bytes() if f.is_file() else b"")
    ]


def test_an_estimator_that_is_not_fitted_is_copied(tmp_path):
    for again in copies(classifier(seed=3), tmp_path):
        assert again.seed == 3 and not hasattr(again, "classes_")


def test_a_copy_without_its_run_folder_is_evaluated_on_other_images(images, tmp_path):
    model = classifier(out=tmp_path / "run").fit(*images)
    again = pickle.loads(pickle.dumps(model))
    shutil.rmtree(tmp_path / "run")
    assert again.evaluate(*images)["test"]["accuracy"] > 0.9


def test_errors_travel_between_processes():
    for error in (
        UnknownName("class", "x", ["y"]),
        UnreadableImage("a.jpg", "broken", "why"),
        NotFitted("no", hint="fit"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)


def test_repr_shows_what_was_set_and_html_the_figures(images):
    assert repr(ImageClassifier(seed=3)) == "ImageClassifier(seed=3)"
    model = classifier(test=True, time=30).fit(*images)
    for shown in (model._repr_html_(), model._repr_mimebundle_()["text/html"]):
        assert f"{model.run_}/report.html" in shown and "accuracy" in shown
        assert shown.count("data:image/jpeg;base64,") == model.summary_["split"]["test"] > 0
    loaded = load(model.run_, ImageClassifier)
    assert "accuracy" in loaded._repr_html_() and "data:image/jpeg" not in loaded._repr_html_()
    unfitted = ImageClassifier()
    assert unfitted._repr_html_() and "report.html" not in unfitted._repr_html_()
    (model.run_ / "summary.json").write_text("damaged")
    assert load(model.run_)._repr_html_() and "report.html" not in load(model.run_)._repr_html_()


def test_verbose_shows_progress_and_is_off_by_default(images, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    classifier().fit(*images)
    assert capsys.readouterr() == ("", "")
    classifier(verbose=True).fit(*images)
    out, err = capsys.readouterr()
    assert out == "" and err
