"""`foveal evaluate`: a finished classifier on its own test side, or on other labelled pictures."""

from __future__ import annotations

import csv
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.decode import read_file
from foveal.data.sources import list_data
from foveal.errors import DataError, UnknownName, UnreadableImage
from foveal.measure import look, measure, test_set_key
from foveal.progress import Progress
from foveal.ship.predictor import Predictor
from foveal.values import SCHEMA, Entry, LeftOut


def evaluate_labels(
    run: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Figures as in `summary.json`, under `test`; each call is a look, and is counted.

    Args:
        run: a run folder; a bare bundle will do when `data` is given.
        data: labelled pictures in any form that `train` takes; by default the run's own test side.
        progress: listens.

    Raises:
        BundleError: when there is no model.
        DataError: when there is nothing to measure on.
    """
    predictor = Predictor.load(run)
    classes = predictor.bundle.manifest.classes
    if data is None:
        expected = test_side(Path(run))
        entries, name = [Entry(r["path"], r["label"]) for r in expected], "test side"
        content = {r["path"]: r["sha256"] for r in expected}
    else:
        listing = list_data(data)
        entries, name, content = listing.entries, listing.name, {}
    index = {c: i for i, c in enumerate(classes)}
    strange = sorted({str(e.label) for e in entries} - set(classes))
    if strange and len(strange) == len({e.label for e in entries}):
        raise UnknownName("class", strange[0], classes)
    hashes = {e.path: _hash(e.path) for e in entries if e.label in index}
    changed = {p for p, digest in hashes.items() if digest and content.get(p, digest) != digest}
    known = [e for e in entries if e.label in index and e.path not in changed]
    left_out = [
        LeftOut(e.path, "unknown_label", f"the model has no class {e.label!r}", e.label)
        for e in entries
        if e.label not in index
    ]
    left_out += [LeftOut(p, "changed", "no longer the picture that was held out", None) for p in sorted(changed)]
    rows, labels, paths = _answers(predictor, known, left_out, progress or Progress())
    if not rows:
        raise DataError(f"{name}: no picture could be measured", hint="see the reasons with `foveal audit`")
    measured = measure(np.stack(rows), np.array(labels, dtype=np.int64), paths, classes)
    return {
        "schema": SCHEMA,
        "data": name,
        "test": measured.figures,
        "test_looks": look(test_set_key(hashes[p] for p in paths), run=str(Path(run).resolve())),
        "mistakes": [vars(m) for m in measured.mistakes],
        "left_out": [{"path": x.path, "reason": x.reason, "detail": x.detail} for x in left_out],
    }


def _answers(
    predictor: Predictor, entries: list[Entry], left_out: list[LeftOut], progress: Progress
) -> tuple[list[NDArray[np.float32]], list[int], list[str]]:
    """Probabilities, labels and paths of the pictures that could be read; the others go to `left_out`."""
    classes = predictor.bundle.manifest.classes
    index = {c: i for i, c in enumerate(classes)}
    rows, labels, paths = [], [], []
    with progress.stage("predict", len(entries)) as bar:
        for entry, answer in zip(
            entries, predictor.stream((e.path for e in entries), topk=len(classes)), strict=True
        ):
            bar(1)
            if answer.error is not None:
                reason, _, detail = answer.error.partition(": ")
                left_out.append(LeftOut(entry.path, reason, detail, entry.label))
                continue
            row = np.zeros(len(classes), dtype=np.float32)
            for label, probability in answer.topk:
                row[index[label]] = probability
            rows.append(row)
            labels.append(index[str(entry.label)])
            paths.append(entry.path)
    return rows, labels, paths


def test_side(run: Path) -> list[dict[str, str]]:
    """The rows of `split.csv` that a run held out.

    Raises:
        DataError: when there is no such file, or nothing was held out.
    """
    try:
        with (run / "split.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as handle:
            held_out = [row for row in csv.DictReader(handle) if row["split"] == "test"]
    except OSError as error:
        raise DataError(
            f"{run / 'split.csv'}: {error.strerror}",
            hint="give the run folder, or labelled pictures: foveal evaluate RUN DATA",
        ) from None
    if not held_out:
        raise DataError(
            f"{run}: no pictures were held out to test on", hint="give others: foveal evaluate RUN DATA"
        )
    return held_out


def _hash(path: str) -> str:
    """SHA-256 of a picture's content; empty when it can't be read, which `predict` then says."""
    try:
        return hashlib.sha256(read_file(path)).hexdigest()
    except UnreadableImage:
        return ""
