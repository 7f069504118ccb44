"""Features of a data set for benches that fit many heads: computed once, kept in a folder of the user's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from foveal import audit
from foveal.clock import Clock, Deadline
from foveal.data.images.idx import find_pairs, read_pair
from foveal.data.images.render_cache import noise
from foveal.decisions import Decisions
from foveal.engines import choose_engine
from foveal.features import Extractor
from foveal.models.backbones import find_backbone

FOREVER = Deadline(Clock())


@dataclass(frozen=True)
class FeatureSet:
    """A data set.

    Attributes:
        name: of the set.
        rows: `(N, D)`.
        labels: `(N,)`, 0 … K-1.
    """

    name: str
    rows: np.ndarray
    labels: np.ndarray

    @property
    def classes(self) -> int:
        """K."""
        return int(self.labels.max()) + 1


def feature_set(described: str, store: Path, *, directions: int = 0) -> FeatureSet:
    """`NAME=FOLDER` or `NAME=FOLDER@SIZE`: features of lite0 at that size; of IDX files the pixels themselves.

    Args:
        described: see above.
        store: where they are kept as NAME.npz, and taken from.
        directions: principal directions that are kept, for heads that are fitted in milliseconds; 0: all. They are
            mixed at random: heads standardise their features, which would give noise the weight of the first direction.
    """
    name, _, place = described.partition("=")
    file = store / f"{name}.npz"
    if not file.exists():
        folder, _, size = place.partition("@")
        rows, labels = _pixels(folder) if find_pairs(folder) else _features(folder, int(size or 224))
        store.mkdir(parents=True, exist_ok=True)
        np.savez(file, x=rows, y=labels)
    with np.load(file) as found:
        rows, labels = found["x"], found["y"].astype(np.int64)
    if directions:
        rows = rows - rows.mean(axis=0)
        mixed = np.linalg.qr(np.random.default_rng(0).normal(size=(directions, directions)))[0]
        rows = (rows @ np.linalg.eigh(rows.T @ rows)[1][:, -directions:] @ mixed).astype(np.float32)
    return FeatureSet(name, rows, labels)


def _pixels(folder: str) -> tuple[np.ndarray, np.ndarray]:
    rows, labels = max((read_pair(pair) for pair in find_pairs(folder)), key=lambda found: len(found[0]))
    rows = rows[:10_000]
    return rows.reshape(len(rows), -1).astype(np.float32), np.unique(labels[: len(rows)], return_inverse=True)[1]


def _features(folder: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    records, backbone = audit(folder).records, find_backbone("lite0")
    preprocess = replace(backbone.preprocess, size=size)
    engine = choose_engine(backbone, preprocess, partial(noise, preprocess, 32), Decisions())
    rows = Extractor(backbone, preprocess, engine, cache=False).run(records, deadline=FOREVER).of(records)
    return rows, np.unique([r.label for r in records], return_inverse=True)[1]
