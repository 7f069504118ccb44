"""Are larger inputs, or larger backbones, of a linear probe kept where they help? On repeated splits of data sets.

    uv run --group bench python bench/frozen_variants.py resolution --data NAME=FOLDER [--data …] [--repeats 10]
    uv run --group bench python bench/frozen_variants.py backbones --data NAME=FOLDER [--data …] [--train 0.5]

Features of each variant are computed once. In each repeat a random part of the images is trained on; `chosen` is the
variant that `frozen-resolution` or `frozen-backbone` would keep: the one that is furthest ahead of the first in
cross-validation inside that part. All are scored on the other images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
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
from foveal.training.heads import out_of_fold
from foveal.training.linear_head import cross_validate, fit_head
from foveal.training.strategies import backbone
from foveal.values import SplitRecord

FOREVER = Deadline(Clock())
#: A backbone and the side of its input, by name.
VARIANTS = {
    "224": ("lite0", 224),
    "288": ("lite0", 288),
    "lite0": ("lite0", 224),
    "lite1": ("lite1", 240),
    "lite2": ("lite2", 260),
}
#: Kind → the variants that are compared; the first is the one that is replaced.
KINDS = {"resolution": ("224", "288"), "backbones": ("lite0", "lite1", "lite2")}
#: Kind → by how much a variant must be ahead, a sum of z-values.
AHEAD = {"resolution": 0.0, "backbones": backbone.AHEAD}


def features_of(
    folder: Path, variants: Sequence[str]
) -> tuple[list[SplitRecord], dict[str, np.ndarray], np.ndarray]:
    """Images, variant → `(N, D)`, and labels."""
    records, features = audit(folder).records, {}
    for name in variants:
        network, size = VARIANTS[name]
        found = find_backbone(network)
        preprocess = replace(found.preprocess, size=size)
        engine = choose_engine(found, preprocess, partial(noise, preprocess, 32), Decisions())
        features[name] = (
            Extractor(found, preprocess, engine, cache=False).run(records, deadline=FOREVER).of(records)
        )
    labels = np.unique([r.label for r in records], return_inverse=True)[1].astype(np.int64)
    return [SplitRecord(r, "train", r.sha256) for r in records], features, labels


def repeat(
    placed: list[SplitRecord],
    features: dict[str, np.ndarray],
    labels: np.ndarray,
    *,
    share: float,
    ahead: float,
    seed: int,
) -> dict[str, float]:
    """Accuracy on the other images with each variant, and with the one that is kept."""
    train = np.random.default_rng(seed).random(len(labels)) < share
    inside = [p for p, taken in zip(placed, train, strict=True) if taken]
    folds = Labels().folds(inside, seed)
    scores, evidence = {}, {}
    for name, rows in features.items():
        result = cross_validate(rows[None, train], labels[train], folds, deadline=FOREVER)
        assert result is not None
        evidence[name] = out_of_fold(inside, result, labels[train])
        head = fit_head(rows[None, train], labels[train], result.strength)
        scores[name] = float((head.logits(rows[~train]).argmax(axis=1) == labels[~train]).mean())
    first, *others = features
    lead = {name: evidence[name].compare_to(evidence[first]).sum_of_z - ahead for name in others}
    best = max(others, key=lambda name: lead[name])
    return {**scores, "chosen": scores[best if lead[best] > 0 else first]}


def main() -> None:
    """A row for each data set and repeat."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--data", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--train", type=float, default=0.5)
    given = parser.parse_args()
    results = Results(given.kind)
    for name, _, folder in (d.partition("=") for d in given.data):
        placed, features, labels = features_of(Path(folder), KINDS[given.kind])
        for seed in range(len(results.of(data=name)), given.repeats):
            scores = repeat(placed, features, labels, share=given.train, ahead=AHEAD[given.kind], seed=seed)
            results.add(data=name, n=len(labels), seed=seed, **scores)
    ways = (*KINDS[given.kind], "chosen")
    summary = {
        name: {way: spread(r[way] for r in results.of(data=name)) for way in ways}
        for name in dict.fromkeys(r["data"] for r in results.rows)
    }
    results.save(summary=summary)
    for name, spreads in summary.items():
        print(name, spreads)


if __name__ == "__main__":
    main()
