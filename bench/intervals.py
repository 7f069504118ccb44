"""How often 95 % intervals of a classifier's figures hold the true figure, in simulated evaluations.

    uv run --group bench python bench/intervals.py

A truth is a confusion matrix of probabilities; each evaluation draws a test set of n images from it. The bootstrap over
images, which was used before, is simulated beside it. Rows are kept in `bench/results/intervals.json`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import Results
from foveal.metrics.classification import (
    balanced_accuracy,
    balanced_accuracy_interval,
    macro_f1,
    macro_f1_interval,
)
from foveal.metrics.intervals import wilson

Matrix = NDArray[np.int64]
Interval = tuple[float, float] | None
Figure = Callable[[Any], float | None]
#: Figure → of a matrix, and its interval.
FIGURES: dict[str, tuple[Figure, Callable[[Matrix], Interval]]] = {
    "accuracy": (
        lambda m: float(np.trace(m) / m.sum()),
        lambda m: wilson(int(np.trace(m)), int(m.sum())),
    ),
    "balanced accuracy": (balanced_accuracy, balanced_accuracy_interval),
    "macro F1": (macro_f1, macro_f1_interval),
}


def truths() -> Iterator[tuple[str, NDArray[np.float64], int]]:
    """Name, probabilities `(K, K)` of true class and prediction, and images of a test set."""
    for accuracy in (0.6, 0.9, 0.99, 0.999):
        for classes, count in ((3, 30), (10, 100), (10, 1000), (100, 300)):
            yield f"{accuracy:.1%} right, balanced", _matrix(np.full(classes, accuracy), np.ones(classes)), count
    rare = 0.6 ** np.arange(8)
    yield "97 to 80 % right, rare classes worse", _matrix(np.linspace(0.97, 0.8, 8), rare), 200
    yield "half of the classes at 100 %, half at 70 %", _matrix(np.tile([1.0, 0.7], 5), np.ones(10)), 200


def _matrix(recalls: NDArray[Any], shares: NDArray[Any]) -> NDArray[Any]:
    k = len(recalls)
    errors = np.tile((1 - recalls)[:, None] / (k - 1), k)
    np.fill_diagonal(errors, recalls)
    joint: NDArray[Any] = errors * (shares / shares.sum())[:, None]
    return joint


def bootstrapped(matrix: Matrix, figure: Figure, generator: np.random.Generator) -> tuple[float, float]:
    """The percentile bootstrap over images."""
    n = int(matrix.sum())
    drawn = generator.multinomial(n, matrix.ravel() / n, 400).reshape(-1, *matrix.shape)
    low, high = np.percentile([figure(m) for m in drawn], [2.5, 97.5])
    return float(low), float(high)


def covered(truth: NDArray[np.float64], count: int, rounds: int, *, seed: int) -> dict[str, Any]:
    """Share of the evaluations whose interval holds the true figure, and the intervals' mean width.

    The truth of balanced accuracy and macro F1 is that of the classes in the test set.
    """
    generator = np.random.default_rng(seed)
    found: dict[str, list[tuple[bool, float]]] = {}
    for _ in range(rounds):
        matrix = generator.multinomial(count, truth.ravel()).reshape(truth.shape)
        rows = matrix.sum(axis=1)
        present = rows > 0
        expected = truth / truth.sum(axis=1, keepdims=True) * rows[:, None]
        for name, (figure, interval) in FIGURES.items():
            value = figure(truth if name == "accuracy" else expected)
            if name == "macro F1":
                value = _f1_of(truth, present)
            for method, ends in (
                ("interval", interval(matrix)),
                ("bootstrap", bootstrapped(matrix, figure, generator) if rounds <= 1000 else None),
            ):
                if ends is not None and value is not None:
                    inside = ends[0] - 1e-9 <= value <= ends[1] + 1e-9
                    found.setdefault(f"{name}, {method}", []).append((inside, ends[1] - ends[0]))
    return {
        name: {"coverage": float(np.mean([i for i, _ in v])), "width": float(np.mean([w for _, w in v]))}
        for name, v in found.items()
    }


def _f1_of(truth: NDArray[np.float64], present: NDArray[np.bool_]) -> float:
    total = truth.sum(axis=0) + truth.sum(axis=1)
    return float((2 * np.diag(truth) / total)[present].mean())


def main() -> None:
    """Simulate what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=600)
    rounds = parser.parse_args().rounds
    results = Results("intervals")
    for number, (name, truth, count) in enumerate(truths()):
        case = {"truth": name, "classes": len(truth), "n": count, "rounds": rounds}
        if not results.of(**case):
            results.add(**case, **covered(truth, count, rounds, seed=number))


if __name__ == "__main__":
    main()
