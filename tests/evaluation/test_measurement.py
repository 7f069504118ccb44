"""Figures and the mistakes behind them."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.evaluation.classification import measure


@given(st.integers(0, 40), st.integers(2, 5), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_mistakes_are_all_the_wrong_answers_the_surest_first(n, k, seed):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(k), n).astype(np.float32)
    labels = generator.integers(0, k, n)
    classes, paths = [f"c{i}" for i in range(k)], [f"/p/{i}" for i in range(n)]
    found = measure(probabilities, labels, paths, classes)
    expected = {
        (paths[i], classes[labels[i]], classes[row.argmax()]): float(row.max())
        for i, row in enumerate(probabilities)
        if row.argmax() != labels[i]
    }
    assert {(m.path, m.label, m.prediction): m.probability for m in found.mistakes} == pytest.approx(expected)
    assert len(found.mistakes) == len(expected)
    assert {(d["path"], d["label"], d["prediction"]) for d in (m.to_dict() for m in found.mistakes)} == set(
        expected
    )
    sure = [m.probability for m in found.mistakes]
    assert sure == sorted(sure, reverse=True)
    assert found.figures["n"] == n
    if n:
        assert found.figures["accuracy"] == sklearn.metrics.accuracy_score(labels, probabilities.argmax(axis=1))
