"""Is the geometry that cross-validation chooses as good as the best fixed one? On repeated splits of several data sets.

    uv run --group bench python bench/geometry.py --data NAME=FOLDER [--data …] [--repeats 10] [--train 0.5]

Features of each geometry are computed once. In each repeat a random half of the images is trained on, the geometry is
chosen inside of it, and all geometries are scored on the other half.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import numpy as np

from common import Results, spread
from foveal import audit
from foveal.clock import Clock, Deadline
from foveal.data.images.render import GEOMETRIES
from foveal.decisions import Decisions
from foveal.engines import choose_engine
from foveal.features import Extractor
from foveal.models.backbones import find_backbone
from foveal.training.linear_head import cross_validate, fit_head
from foveal.training.strategies.geometry import choose_geometry
from foveal.values import SplitRecord, View

FOREVER = Deadline(Clock())
assert set(GEOMETRIES) <= set(get_args(View))


def features_of(folder: Path) -> tuple[list[SplitRecord], dict[View, np.ndarray], np.ndarray]:
    """Images, geometry → `(N, D)`, and labels."""
    records = audit(folder).records
    backbone = find_backbone()
    engine = choose_engine(
        backbone,
        backbone.preprocess,
        lambda: np.random.default_rng(0).integers(0, 256, (32, 224, 224, 3), dtype=np.uint8),
        Decisions(),
    )
    extractor = Extractor(backbone, backbone.preprocess, engine, cache=False)
    views = tuple(GEOMETRIES)
    tables = extractor.run_views(records, views, deadline=FOREVER)
    labels = np.unique([r.label for r in records], return_inverse=True)[1].astype(np.int64)
    placed = [SplitRecord(r, "train", r.sha256) for r in records]
    return placed, {v: table.of(records) for v, table in zip(views, tables, strict=True)}, labels


def scored(features: np.ndarray, labels: np.ndarray, folds: np.ndarray, train: np.ndarray) -> float:
    """Accuracy on the other images of a head on `(V, N, D)`."""
    chosen = cross_validate(features[:, train], labels[train], folds, deadline=FOREVER)
    assert chosen is not None
    head = fit_head(features[:, train], labels[train], chosen.strength)
    return float((head.logits(features[:, ~train]).argmax(axis=1) == labels[~train]).mean())


def main() -> None:
    """A row for each data set and repeat."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, help="NAME=FOLDER")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--train", type=float, default=0.5, help="share of the images")
    given = parser.parse_args()
    results = Results("geometry")
    for name, _, folder in (text.partition("=") for text in given.data):
        records, features, labels = features_of(Path(folder))
        for seed in range(given.repeats):
            rng = np.random.default_rng(seed)
            train = rng.random(len(labels)) < given.train
            folds = rng.integers(0, 5, int(train.sum()))
            inside = {v: f[train] for v, f in features.items()}
            some = [r for r, t in zip(records, train, strict=True) if t]
            views, _ = choose_geometry(some, inside, labels[train], folds, deadline=FOREVER)
            row: dict[str, float] = {v: scored(f[None], labels, folds, train) for v, f in features.items()}
            pair = np.stack([features[v] for v in views])
            row["chosen"] = scored(pair, labels, folds, train)
            results.add(data=name, repeat=seed, train=given.train, views=list(views), **row)
        rows = results.of(data=name, train=given.train)
        for column in ("chosen", *features):
            print(name, column, spread(100 * r[column] for r in rows))
        print(name, "chose", sorted({" + ".join(r["views"]) for r in rows}))
    results.save()


if __name__ == "__main__":
    main()
