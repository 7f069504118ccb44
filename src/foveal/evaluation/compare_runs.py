"""Two runs on the same test images, paired: which is better, and how certain that is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.split.held_out import read_held_out
from foveal.data.split.split_csv import read_rows
from foveal.data.targets.registry import find_target
from foveal.data.wording import count_of
from foveal.errors import DataError, UsageError
from foveal.inference.bundle import load_bundle
from foveal.metrics.paired import PairedDifference, mean_difference, paired_difference
from foveal.models.shipped import measured_folder
from foveal.values import SCHEMA

#: A difference that is taken to matter, where none is shown: a point.
_POINT = 0.01


@dataclass(frozen=True)
class _TestSubset:
    """What a run predicted for its test subset.

    Attributes:
        run: its folder.
        classes: K names.
        labels, groups: SHA-256 → label, and what the image belongs to.
        rows: SHA-256 → probabilities `(K,)`.
    """

    run: Path
    classes: tuple[str, ...]
    labels: Mapping[str, str]
    groups: Mapping[str, str]
    rows: Mapping[str, NDArray[np.float32]]

    def is_right(self, sha256: str) -> bool:
        return self.classes[int(self.rows[sha256].argmax())] == self.labels[sha256]

    def loss(self, sha256: str) -> float:
        true = float(self.rows[sha256][self.classes.index(self.labels[sha256])])
        return -float(np.log(max(true, 1e-7)))


def compare_runs(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> dict[str, Any]:
    """B compared with A on the images that both held out for testing, by the predictions that both runs kept.

    Near-duplicates and what else a split keeps together count as a cluster.

    Args:
        a, b: folders of finished runs.

    Returns:
        JSON-able: `n`, `clusters`, `a`, `b`, and under `accuracy` and `log_loss` the differences with intervals;
        `better`: `a`, `b` or None; `images_for_one_point`; and `verdict` in words.

    Raises:
        DataError: when the runs have no test image in common, or a file is damaged.
        UsageError: when a run predicts something else than labels, or kept no predictions.
    """
    one, two = (_test_subset(Path(run)) for run in (a, b))
    common = [name for name in one.rows if name in two.rows]
    if not common:
        raise DataError(
            f"{one.run} and {two.run} have no test image in common",
            hint="train the second run on the same images with --split-from FIRST_RUN",
        )
    disputed = [name for name in common if one.labels[name] != two.labels[name]]
    known = [
        n for n in common if n not in disputed and one.labels[n] in one.classes and one.labels[n] in two.classes
    ]
    if not known:
        raise DataError(
            f"{one.run} and {two.run} give none of their common test images the same label",
            hint="compare runs on the same classes",
        )
    clusters = [one.groups[name] for name in known]
    right = [np.array([run.is_right(name) for name in known]) for run in (one, two)]
    accuracy = paired_difference(right[0], right[1], clusters)
    loss, loss_ci95 = mean_difference(
        np.array([two.loss(name) - one.loss(name) for name in known], dtype=np.float64), clusters
    )
    return {
        "schema": SCHEMA,
        "a": _side(one, right[0]),
        "b": _side(two, right[1]),
        "n": accuracy.n,
        "clusters": accuracy.clusters,
        "not_in_both": len(one.rows) + len(two.rows) - 2 * len(common),
        "other_labels": len(common) - len(known),
        "accuracy": {
            "difference": accuracy.value,
            "ci95": list(accuracy.ci95),
            "only_a_right": accuracy.only_a,
            "only_b_right": accuracy.only_b,
            "mcnemar_p": accuracy.p_value,
            "design_effect": accuracy.design_effect,
        },
        "log_loss": {"difference": loss, "ci95": list(loss_ci95)},
        "better": None if not accuracy.shown else "b" if accuracy.value > 0 else "a",
        "images_for_one_point": accuracy.images_for(_POINT),
        "verdict": verdict(accuracy),
    }


def verdict(accuracy: PairedDifference) -> str:
    """The comparison in a sentence."""
    low, high = (100 * end for end in accuracy.ci95)
    if accuracy.shown:
        better = "B" if accuracy.value > 0 else "A"
        ends = (low, high) if accuracy.value > 0 else (-high, -low)
        points = 100 * abs(accuracy.value)
        return f"{better} is better by {points:.1f} points of accuracy (95 %: {ends[0]:.1f} to {ends[1]:.1f})"
    more = accuracy.images_for(_POINT) - accuracy.n
    words = f"no difference shown: B is {100 * accuracy.value:+.1f} points ahead (95 %: {low:+.1f} to {high:+.1f})"
    if more <= 0:
        return f"{words}; a difference of one point would have been seen in four of five comparisons"
    return f"{words}; {count_of(more, 'more test image')} would show a difference of one point"


def _side(run: _TestSubset, right: NDArray[np.bool_]) -> dict[str, Any]:
    return {"run": str(run.run), "accuracy": float(right.mean()), "right": int(right.sum())}


def _test_subset(run: Path) -> _TestSubset:
    manifest = load_bundle(measured_folder(run)).manifest
    kind = find_target(manifest.task)
    if kind.annotation != "label":
        raise UsageError(
            f"{run}: predicts {kind.plural}",
            hint="compare takes two classifiers, one label for each image; see `foveal evaluate`",
        )
    found = read_held_out(run, manifest.classes)
    if found is None:
        raise UsageError(
            f"{run}: kept no predictions", hint="only finished runs do; train again with this version"
        )
    rows = {row["sha256"]: row for row in read_rows(run / "split.csv") if row["split"] == "test"}
    test = {name: row for name, row in found.test.rows().items() if name in rows}
    return _TestSubset(
        run,
        manifest.classes,
        {name: rows[name]["label"] for name in test},
        {name: rows[name]["group"] or name for name in test},
        test,
    )
