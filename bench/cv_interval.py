"""Do the intervals of `--test cv` hold the truth, and how narrow are they? On small samples of larger data sets.

    uv run --group bench python bench/cv_interval.py --data NAME=FOLDER[@SIZE] [--data …] [--images 200 400]
        [--repeats 200] [--fixed] [--directions 64] [--store FOLDER]

In each repeat n images are drawn; the truth is the accuracy of the delivered head, fitted on all of them, on all other
images. `subset` is what a test subset of 15 % gives, by a head fitted on 70 %, and `plain` the interval of a test set
of n images, without the part for the delivered model. `gain` is what the refit adds: the head of all n images minus
that of 70 % of them, on the other images. Those are finitely many: where they are fewer than 2,000, part of what misses
the truth is that it is not known exactly.

`--fixed` takes one strength for all heads instead of choosing it in every fold, and `--directions 64` keeps the leading
principal directions of the features: each makes a repeat ten times as fast.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np

from common import Results, spread
from foveal.data.targets.folds import stratified_folds
from foveal.metrics.cross_validation import cross_validation_effect
from foveal.metrics.intervals import wilson
from foveal.models.linear_head import LinearHead
from foveal.training.cross_test import TEST_FOLDS, cross_test
from foveal.training.linear_head import DEFAULT_STRENGTH, cross_validate, fit_head
from frozen_features import FOREVER, FeatureSet, feature_set


def repeat(data: FeatureSet, count: int, *, fixed: bool, seed: int) -> dict[str, float] | None:
    """One sample; None when a class has fewer than two images in it."""
    order = np.random.default_rng(seed).permutation(len(data.labels))
    inside, others = order[:count], order[count:]
    views, labels, names = data.rows[None, inside], data.labels[inside], [str(i) for i in inside]
    folds = stratified_folds(labels, names, seed, most=TEST_FOLDS, rare=True)
    if folds is None or len(set(labels.tolist())) < data.classes:
        return None

    def inner(some: np.ndarray) -> np.ndarray | None:
        codes = np.unique(labels[some], return_inverse=True)[1]
        return None if fixed else stratified_folds(codes, [names[i] for i in some], seed, rare=True)

    def head_of(part: np.ndarray) -> LinearHead:
        chosen = cross_validate(views[:, part], labels[part], inner(part), deadline=FOREVER)
        return fit_head(views[:, part], labels[part], chosen.strength if chosen else DEFAULT_STRENGTH)

    def accuracy(head: LinearHead, on: np.ndarray) -> float:
        return float((head.logits(data.rows[on]).argmax(axis=1) == data.labels[on]).mean())

    began = time.monotonic()
    tested = cross_test(views, labels, data.classes, folds, inner, names, coverage=0.95)
    seconds = time.monotonic() - began
    right = tested.probabilities.argmax(axis=1) == labels
    effect = cross_validation_effect(right, names)
    held_out = round(0.15 * count)
    before, delivered = head_of(np.arange(count - 2 * held_out)), head_of(np.arange(count))
    measured, truth, subset = (
        accuracy(before, others),
        accuracy(delivered, others),
        accuracy(before, inside[-held_out:]),
    )
    bounds = wilson(right.sum() / effect, count / effect)
    plain = wilson(int(right.sum()), count)
    beside = wilson(round(subset * held_out), held_out)
    assert bounds and plain and beside
    return {
        "estimate": float(right.mean()),
        "truth": truth,
        "holds": float(bounds[0] <= truth <= bounds[1]),
        "plain_holds": float(plain[0] <= truth <= plain[1]),
        "subset_holds": float(beside[0] <= measured <= beside[1]),
        "width": bounds[1] - bounds[0],
        "subset_width": beside[1] - beside[0],
        "gain": truth - measured,
        "seconds": seconds,
    }


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, metavar="NAME=FOLDER[@SIZE]")
    parser.add_argument("--images", type=int, nargs="+", default=[200, 400])
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--directions", type=int, default=0)
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "foveal-features")
    arguments = parser.parse_args()
    results = Results("cv_interval")
    for described in arguments.data:
        data = feature_set(described, arguments.store, directions=arguments.directions)
        for count in arguments.images:
            case = {"data": data.name, "n": count, "fixed": arguments.fixed, "repeats": arguments.repeats}
            case["directions"] = arguments.directions
            if results.of(**case):
                continue
            rows = [repeat(data, count, fixed=arguments.fixed, seed=s) for s in range(arguments.repeats)]
            found = [row for row in rows if row is not None]
            figures = {name: spread(row[name] for row in found) for name in found[0]}
            gains = np.array([row["gain"] for row in found])
            half = 1.96 * float(gains.std(ddof=1)) / math.sqrt(len(gains))
            narrower = np.mean([row["subset_width"] for row in found]) / np.mean([row["width"] for row in found])
            results.add(
                **case,
                others=len(data.labels) - count,
                **figures,
                narrower=float(narrower),
                gain_ci95=[float(gains.mean()) - half, float(gains.mean()) + half],
            )


if __name__ == "__main__":
    main()
