"""Does the learning curve keep its promise at twice the images? On small samples of larger data sets.

    uv run --group bench python bench/learning_curve.py --data NAME=FOLDER[@SIZE] [--data …] [--images 100 200]
        [--repeats 100] [--directions 64] [--store FOLDER]

In each repeat n images make the curve, as at the end of a run; then as many more are added, and a head fitted on all
2n is scored on the other images. `holds` is how often the interval held that accuracy; `nothing_changes` how far it
was from the accuracy of the largest point, and `error` how far from what was promised.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from common import Results, spread
from foveal.data.targets.folds import stratified_folds
from foveal.metrics.learning_curve import extrapolate
from foveal.training.cross_test import TEST_FOLDS
from foveal.training.learning_curve import curve_points
from foveal.training.linear_head import fit_head
from frozen_features import FeatureSet, feature_set

#: Of all heads: what photographs choose most often is near it.
STRENGTH = 16.0


def repeat(data: FeatureSet, count: int, *, seed: int) -> dict[str, float] | None:
    """One sample; None when a class has fewer than two images in it."""
    order = np.random.default_rng(seed).permutation(len(data.labels))
    inside, both, others = order[:count], order[: 2 * count], order[2 * count :]
    labels, names = data.labels[inside], [str(i) for i in inside]
    folds = stratified_folds(labels, names, seed, most=TEST_FOLDS, rare=True)
    if folds is None or len(set(labels.tolist())) < data.classes:
        return None
    sizes, right = curve_points(data.rows[None, inside], labels, folds, names, STRENGTH, seed=seed)
    promise = extrapolate(sizes, right, names, 2 * count, seed=seed)
    head = fit_head(data.rows[None, both], data.labels[both], STRENGTH)
    truth = float((head.logits(data.rows[others]).argmax(axis=1) == data.labels[others]).mean())
    return {
        "promised": promise.accuracy,
        "truth": truth,
        "holds": float(promise.ci95[0] <= truth <= promise.ci95[1]),
        "width": promise.ci95[1] - promise.ci95[0],
        "error": abs(promise.accuracy - truth),
        "nothing_changes": abs(float(right[-1].mean()) - truth),
    }


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, metavar="NAME=FOLDER[@SIZE]")
    parser.add_argument("--images", type=int, nargs="+", default=[100, 200])
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--directions", type=int, default=0)
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "foveal-features")
    arguments = parser.parse_args()
    results = Results("learning_curve")
    for described in arguments.data:
        data = feature_set(described, arguments.store, directions=arguments.directions)
        for count in arguments.images:
            case = {
                "data": data.name,
                "n": count,
                "repeats": arguments.repeats,
                "directions": arguments.directions,
            }
            if results.of(**case):
                continue
            rows = [repeat(data, count, seed=s) for s in range(arguments.repeats)]
            found = [row for row in rows if row is not None]
            figures = {name: spread(row[name] for row in found) for name in found[0]}
            results.add(**case, others=len(data.labels) - 2 * count, **figures)


if __name__ == "__main__":
    main()
