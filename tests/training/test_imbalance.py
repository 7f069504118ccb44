"""Logit adjustment for unbalanced classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.metrics.classification import balanced_accuracy, confusion
from foveal.training.imbalance import TAUS, adjustment, choose_tau, stated_prior


def unbalanced(counts, seed=0):
    """Log-probabilities of the best classifier of overlapping classes of these sizes, and labels."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    rows = np.eye(len(counts))[labels] * 1.5 + random.normal(size=(len(labels), len(counts)))
    logits = rows * 1.5 + np.log(np.array(counts) / sum(counts))  # linear discriminant analysis with this prior
    return logits.astype(np.float32), labels


def balanced(logits, labels):
    return balanced_accuracy(confusion(labels, logits.argmax(axis=1), logits.shape[1]))


def test_rare_classes_are_recognised_better_with_the_chosen_tau():
    logits, labels = unbalanced([400, 20, 400])
    tau, reason = choose_tau(logits, labels)
    assert tau > 0 and reason
    others, truth = unbalanced([400, 20, 400], seed=1)
    assert balanced(others - adjustment(labels, 3, tau), truth) > balanced(others, truth) + 0.02


@pytest.mark.parametrize(("counts", "wanted"), [([100, 25, 60], True), ([400, 20], False)])
def test_nothing_is_adjusted_where_classes_are_similar_or_the_user_says_so(counts, wanted):
    assert choose_tau(*unbalanced(counts), wanted=wanted)[0] == 0


@given(st.lists(st.integers(1, 300), min_size=2, max_size=6), st.sampled_from(TAUS))
def test_the_stated_prior_is_that_of_the_adjusted_logits(counts, tau):
    labels = np.repeat(np.arange(len(counts)), counts)
    names = [str(k) for k in range(len(counts))]
    shares = np.array(list(stated_prior(labels, names, tau)["shares"].values()))
    assert shares.sum() == pytest.approx(1)
    log_shares = np.log(np.array(counts) / sum(counts)) - adjustment(labels, len(counts), tau)
    assert np.allclose(np.log(shares) - np.log(shares[0]), log_shares - log_shares[0], atol=1e-4)


@given(st.integers(0, 200))
def test_the_choice_is_never_worse_on_the_images_that_it_was_made_on(seed):
    logits, labels = unbalanced([120, 8, 60], seed)
    tau, _ = choose_tau(logits, labels)
    assert balanced(logits - adjustment(labels, 3, tau), labels) >= balanced(logits, labels)
