"""Wrong labels come first in the list."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.metrics.label_quality import label_quality


def predictions(labels, k, sureness, seed=0):
    """Of a good model: mostly the label, with noise."""
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.ones(k), len(labels)) * (1 - sureness)
    rows[np.arange(len(labels)), labels] += sureness
    return rows.astype(np.float32)


@given(st.integers(2, 6), st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_flipped_labels_are_found(k, seed):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, k, 200)
    given = true.copy()
    wrong = rng.choice(200, 10, replace=False)
    given[wrong] = (true[wrong] + 1) % k
    quality = label_quality(predictions(true, k, 0.8, seed), given)
    assert set(quality.order()[:10].tolist()) == set(wrong.tolist())
    assert ((quality.scores >= 0) & (quality.scores <= 1)).all()


def test_a_class_without_an_image_does_no_harm():
    labels = np.array([0, 2] * 20)
    quality = label_quality(predictions(labels, 4, 0.9), labels)
    assert not quality.flagged.any() and len(quality.order()) == 40


def test_one_class_or_no_images():
    assert not label_quality(np.ones((5, 1), dtype=np.float32), np.zeros(5, dtype=np.int64)).flagged.any()
    assert len(label_quality(np.zeros((0, 3), dtype=np.float32), np.zeros(0, dtype=np.int64)).order()) == 0
