"""What does the logit adjustment give where one class has twenty times as many images as another?

    uv run --group bench python bench/imbalance.py --data NAME=FOLDER[@SIZE] [--data …] [--repeats 30]
        [--most 80] [--directions 64] [--store FOLDER]

In each repeat the classes are thinned to sizes between `--most` and a twentieth of it, in geometric steps, in random
order. All images beyond the first `--most` of each class are tested on. `gain` is balanced accuracy with the tau that
cross-validation chose, minus that of the plain head.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np

from common import Results, spread
from foveal.data.targets.folds import stratified_folds
from foveal.metrics.classification import balanced_accuracy, confusion
from foveal.training.imbalance import adjustment, choose_tau
from foveal.training.linear_head import cross_validate, fit_head
from frozen_features import FOREVER, FeatureSet, feature_set

RATIO = 20


def repeat(data: FeatureSet, most: int, *, seed: int) -> dict[str, float]:
    """One thinned sample."""
    random = np.random.default_rng(seed)
    sizes = np.round(most * np.geomspace(1, 1 / RATIO, data.classes)).astype(int)
    inside: list[int] = []
    others: list[int] = []
    for label, size in zip(random.permutation(data.classes), sizes, strict=True):
        members = random.permutation(np.flatnonzero(data.labels == label)).tolist()
        inside += members[:size]
        others += members[max(sizes) :]
    views, labels, truth = data.rows[None, inside], data.labels[inside], data.labels[others]
    folds = stratified_folds(labels, [str(i) for i in inside], seed)
    chosen = cross_validate(views, labels, folds, deadline=FOREVER)
    assert chosen is not None
    tau, _ = choose_tau(np.log(np.maximum(chosen.probabilities, 1e-7)), labels)
    logits = fit_head(views, labels, chosen.strength).logits(data.rows[others])
    adjusted = logits - adjustment(labels, data.classes, tau)
    before, after = (
        balanced_accuracy(confusion(truth, x.argmax(axis=1), data.classes)) for x in (logits, adjusted)
    )
    assert before is not None and after is not None
    right = [float((x.argmax(axis=1) == truth).mean()) for x in (logits, adjusted)]
    return {
        "tau": tau,
        "plain": before,
        "adjusted": after,
        "gain": after - before,
        "accuracy_gain": right[1] - right[0],
    }


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, metavar="NAME=FOLDER[@SIZE]")
    parser.add_argument("--most", type=int, default=80)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--directions", type=int, default=0)
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "foveal-features")
    arguments = parser.parse_args()
    results = Results("imbalance")
    for described in arguments.data:
        data = feature_set(described, arguments.store, directions=arguments.directions)
        case = {"data": data.name, "most": arguments.most, "ratio": RATIO, "repeats": arguments.repeats}
        case["directions"] = arguments.directions
        if results.of(**case):
            continue
        found = [repeat(data, arguments.most, seed=s) for s in range(arguments.repeats)]
        gains = np.array([row["gain"] for row in found])
        half = 1.96 * float(gains.std(ddof=1)) / math.sqrt(len(gains))
        figures = {name: spread(row[name] for row in found) for name in found[0]}
        results.add(**case, **figures, gain_ci95=[float(gains.mean()) - half, float(gains.mean()) + half])


if __name__ == "__main__":
    main()
