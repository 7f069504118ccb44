"""scikit-learn's own checks of an estimator, and its tools at work on images.

`check_estimator` knows only rows of features, which are not images; an `ImageClassifier` says so by its tags. Checks
of the interface hold for both estimators, and rows of features work behind a step that reshapes them.
"""

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
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
)

from foveal import ImageClassifier, Segmenter
from toy_backbone import NAME, toy_backbone

#: They need no images.
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
