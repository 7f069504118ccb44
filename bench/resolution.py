"""Are larger inputs of a frozen backbone kept where they help? On repeated splits of several data sets.

    uv run --group bench python bench/resolution.py --data NAME=FOLDER [--data …] [--repeats 10] [--train 0.5]

Features at each size are computed once. In each repeat a random half of the images is trained on; `chosen` is the size
that `frozen-resolution` would keep: the larger one if it is ahead in cross-validation inside that half. All are scored
on the other half.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from common import Results, spread
from foveal import audit
from foveal.clock import Clock, Deadline
from foveal.data.images.render_cache import noise
from foveal.data.targets.labels import Labels
from foveal.decisions import Decisions
from foveal.engines import choose_engine
from foveal.features import Extractor
from foveal.models.backbones import find_backbone
from foveal.training.linear_head import cross_validate, fit_head
from foveal.training.strategies.linear_probe import out_of_fold
from foveal.values import SplitRecord

FOREVER = Deadline(Clock())
SIZES = (224, 288)


def features_of(folder: Path) -> tuple[list[SplitRecord], dict[int, np.ndarray], np.ndarray]:
    """Images, size → `(N, D)`, and labels."""
    records, backbone, decisions = audit(folder).records, find_backbone(), Decisions()
    features = {}
    for size in SIZES:
        preprocess = replace(backbone.preprocess, size=size)
        engine = choose_engine(backbone, preprocess, partial(noise, preprocess, 32), decisions)
        features[size] = (
            Extractor(backbone, preprocess, engine, cache=False).run(records, deadline=FOREVER).of(records)
        )
    labels = np.unique([r.label for r in records], return_inverse=True)[1].astype(np.int64)
    return [SplitRecord(r, "train", r.sha256) for r in records], features, labels


def repeat(
    placed: list[SplitRecord], features: dict[int, np.ndarray], labels: np.ndarray, share: float, seed: int
) -> dict[str, float]:
    """Accuracy on the other images with each size, and with the one that is kept."""
    train = np.random.default_rng(seed).random(len(labels)) < share
    inside = [p for p, taken in zip(placed, train, strict=True) if taken]
    folds = Labels().folds(inside, seed)
    scores, evidence = {}, {}
    for size, rows in features.items():
        result = cross_validate(rows[None, train], labels[train], folds, deadline=FOREVER)
        assert result is not None
        evidence[size] = out_of_fold(inside, result, labels[train])
        head = fit_head(rows[None, train], labels[train], result.strength)
        scores[size] = float((head.logits(rows[~train]).argmax(axis=1) == labels[~train]).mean())
    small, large = SIZES
    kept = large if evidence[large].compare_to(evidence[small]).sum_of_z > 0 else small
    return {**{str(size): score for size, score in scores.items()}, "chosen": scores[kept]}


def main() -> None:
    """A row for each data set and repeat."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--train", type=float, default=0.5)
    given = parser.parse_args()
    results = Results("resolution")
    for name, _, folder in (d.partition("=") for d in given.data):
        placed, features, labels = features_of(Path(folder))
        for seed in range(len(results.of(data=name)), given.repeats):
            results.add(data=name, n=len(labels), seed=seed, **repeat(placed, features, labels, given.train, seed))
    summary = {
        name: {way: spread(r[way] for r in results.of(data=name)) for way in (*map(str, SIZES), "chosen")}
        for name in dict.fromkeys(r["data"] for r in results.rows)
    }
    results.save(summary=summary)
    for name, ways in summary.items():
        print(name, ways)


if __name__ == "__main__":
    main()
