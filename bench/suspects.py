"""How many wrong labels are among the first of the list of `suspects`? On data sets whose labels are changed.

    uv run python bench/suspects.py --data NAME=FOLDER [--data …] [--repeats 5] [--share 0.05]

A share of the labels is flipped: at random, or to the class that is most often predicted instead. Heads on frozen
features are cross-validated on them as in a training, and the labels ranked. `first_8` is the share of the flipped
labels among the first 8 % of the list, `flagged` among those that are flagged, `precision` the share of those that were
flipped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from common import Results, spread
from foveal.clock import Clock, Deadline
from foveal.data.targets.labels import Labels
from foveal.metrics.label_quality import label_quality
from foveal.training.linear_head import cross_validate
from foveal.values import SplitRecord
from frozen_variants import features_of

FOREVER = Deadline(Clock())
KINDS = ("random", "confusable")
_FIRST = 0.08


def flipped(labels: np.ndarray, confused: np.ndarray, kind: str, share: float, seed: int) -> np.ndarray:
    """The labels with a share of them changed."""
    rng, changed, k = np.random.default_rng(seed), labels.copy(), len(confused)
    places = rng.choice(len(labels), round(share * len(labels)), replace=False)
    if kind == "random":
        changed[places] = (labels[places] + rng.integers(1, k, len(places))) % k
    else:
        changed[places] = confused[labels[places]]
    return changed


def out_of_fold(placed: list[SplitRecord], features: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Probabilities `(N, K)` by a cross-validation in groups."""
    result = cross_validate(features[None], labels, Labels().folds(placed, seed), deadline=FOREVER)
    assert result is not None
    return result.probabilities


def found(
    placed: list[SplitRecord], features: np.ndarray, labels: np.ndarray, given: np.ndarray, seed: int
) -> dict[str, float]:
    """What is found of the labels that differ."""
    wrong = given != labels
    quality = label_quality(out_of_fold(placed, features, given, seed), given)
    first = quality.order()[: round(_FIRST * len(given))]
    return {
        "first_8": float(wrong[first].sum() / wrong.sum()),
        "flagged": float((quality.flagged & wrong).sum() / wrong.sum()),
        "precision": float((quality.flagged & wrong).sum() / max(1, quality.flagged.sum())),
    }


def main() -> None:
    """A row for each data set, kind of flips and repeat."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.05)
    given = parser.parse_args()
    results = Results("suspects")
    for name, _, folder in (d.partition("=") for d in given.data):
        placed, variants, labels = features_of(Path(folder), ("lite0",))
        features = variants["lite0"]
        rows = out_of_fold(placed, features, labels, 0)
        rows[np.arange(len(labels)), labels] = 0
        confused = np.array([rows[labels == k].sum(axis=0).argmax() for k in range(labels.max() + 1)])
        for kind in KINDS:
            for seed in range(len(results.of(data=name, kind=kind)), given.repeats):
                changed = flipped(labels, confused, kind, given.share, seed)
                figures = found(placed, features, labels, changed, seed)
                results.add(data=name, n=len(labels), kind=kind, share=given.share, seed=seed, **figures)
    summary = {
        f"{name}, {kind}": {
            figure: spread(r[figure] for r in results.of(data=name, kind=kind))
            for figure in ("first_8", "flagged", "precision")
        }
        for name in dict.fromkeys(r["data"] for r in results.rows)
        for kind in KINDS
    }
    results.save(summary=summary)
    for name, spreads in summary.items():
        print(name, spreads)


if __name__ == "__main__":
    main()
