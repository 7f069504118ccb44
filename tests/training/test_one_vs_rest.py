"""Heads of several labels for each image, against scikit-learn; and models of them compared."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

from fake_time import ManualClock
from foveal.clock import Clock, Deadline
from foveal.config import TrainConfig
from foveal.data.targets.label_sets import LabelSets
from foveal.decisions import Decisions
from foveal.errors import UsageError
from foveal.metrics.multi_label import sigmoid
from foveal.training.compare_label_sets import LabelSetEvidence
from foveal.training.heads import ONE_VS_REST
from foveal.training.one_vs_rest import cross_validate, fit_one_vs_rest, label_set_evidence, out_of_fold_logits
from foveal.training.routing import choose_multi_label_route
from foveal.values import SplitRecord
from pictures import record


def example(n=240, labels=3, width=12, seed=0):
    """Features and targets that they say something about, `(N, D)` and `(N, L)`."""
    generator = np.random.default_rng(seed)
    features = generator.normal(2, 3, (n, width)).astype(np.float32)
    logits = (features - 2) @ generator.normal(0, 0.3, (width, labels)) - 0.5
    return features, (generator.random((n, labels)) < sigmoid(logits)).astype(np.int64)


@pytest.mark.parametrize("strength", [4.0, 64.0])
def test_it_is_one_vs_rest_of_scikit_learn(strength):
    features, targets = example()
    head = fit_one_vs_rest(features[None], targets, strength)
    scaled = StandardScaler().fit_transform(features)
    other = OneVsRestClassifier(LogisticRegression(C=strength / len(features), tol=1e-8)).fit(scaled, targets)
    assert np.abs(sigmoid(head.logits(features)) - other.predict_proba(scaled)).max() < 0.005


def test_labels_of_all_images_or_none_get_their_frequency():
    features, targets = example()
    targets[:, 1], targets[:, 2] = 1, 0
    head = fit_one_vs_rest(features[None], targets, 4.0)
    p = sigmoid(head.logits(features))
    assert (p[:, 1] > 0.99).all() and (p[:, 2] < 0.01).all() and np.ptp(p[:, 0]) > 0.5
    assert not ONE_VS_REST.has_all_classes(targets, 3) and ONE_VS_REST.has_all_classes(targets[:, :2], 2)
    nothing = fit_one_vs_rest(features[None], targets[:, 1:], 4.0)
    assert not nothing.weight.any() and np.isfinite(nothing.bias).all()


def test_cross_validation_predicts_what_it_did_not_learn_from():
    features, targets = example()
    folds = np.arange(len(features)) % 5
    noise = np.random.default_rng(1).integers(0, 2, targets.shape)
    found = cross_validate(features[None], targets, folds, deadline=Deadline(Clock()))
    chance = cross_validate(features[None], noise, folds, deadline=Deadline(Clock()))
    assert found.accuracy > 0.65 > 0.58 > chance.accuracy and found.strength in [s for s, _, _ in found.tried]
    logits = out_of_fold_logits(features[None], targets, folds, found.strength)
    assert np.abs(sigmoid(logits) - found.probabilities).max() < 1e-4
    assert cross_validate(features[None], targets, None, deadline=Deadline(Clock())) is None
    assert cross_validate(features[None], targets, folds, deadline=Deadline(ManualClock(0.0))) is None


def test_few_images_with_many_features_are_cross_validated_as_well_as_they_are_predicted():
    """Turned features have sizes of their own: scaled alike, most of them are noise."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, (80, 2))
    features = generator.normal(0, 0.3, (80, 800)).astype(np.float32)
    features[:, :400] += np.float32(targets[:, :1])
    features[:, 400:] += np.float32(targets[:, 1:])
    found = cross_validate(features[None], targets, np.arange(80) % 5, deadline=Deadline(Clock()))
    assert found.accuracy > 0.95


def test_the_better_of_two_models_is_ahead():
    features, targets = example()
    names = [SplitRecord(record(i), "train", str(i)) for i in range(len(features))]
    folds = np.arange(len(features)) % 5
    found = cross_validate(features[None], targets, folds, deadline=Deadline(Clock()))
    good = label_set_evidence(names, found, targets)
    bad = LabelSetEvidence.of(names, np.zeros(targets.shape, np.float32), targets)
    assert good.compare_to(bad).sum_of_z > 3 and bad.compare_to(good).sum_of_z < -3
    assert good.compare_to(LabelSetEvidence({}, {})).n == 0
    assert LabelSets().score(good.tallies) > 0.6
    held_out = good.held_out(names)
    assert (held_out.targets == targets).all() and held_out.logits.shape == targets.shape


@pytest.mark.parametrize("given", [{"strategy": "fine-tune"}, {"from_scratch": "lenet5"}, {"strategy": "frozne"}])
def test_networks_are_not_offered(given):
    with pytest.raises(UsageError) as refused:
        choose_multi_label_route(TrainConfig(**given), Decisions())
    assert "frozen" in refused.value.hint
