"""`foveal evaluate`: a finished classifier on its own test subset, or on other labelled images."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.images.decode import read_file
from foveal.data.sources.list_data import list_data
from foveal.data.split.split_csv import read_rows
from foveal.errors import DataError, UnknownName, UnreadableImage
from foveal.evaluation.classification import measure
from foveal.evaluation.ledger import record_test_evaluation, test_set_key
from foveal.inference.classifier import ClassificationPredictor
from foveal.progress import Progress
from foveal.values import SCHEMA, Entry, Excluded


def evaluate_labels(
    run: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Figures as in `summary.json`, under `test`. Each call is recorded as an evaluation on its test set.

    Args:
        run: a run folder; a bundle alone is enough when `data` is given.
        data: labelled images in any form that `train` takes; by default the run's own test subset.
        progress: is told of each image.

    Raises:
        BundleError: when there is no model.
        DataError: when there is nothing to evaluate on.
    """
    predictor = ClassificationPredictor.load(run)
    classes = predictor.bundle.manifest.classes
    if data is None:
        rows_held_out = test_rows(Path(run))
        entries, name = [Entry(r["path"], r["label"]) for r in rows_held_out], "test subset"
        expected = {r["path"]: r["sha256"] for r in rows_held_out}
    else:
        listing = list_data(data)
        entries, name, expected = listing.entries, listing.name, {}
    index = {c: i for i, c in enumerate(classes)}
    unknown = sorted({str(e.label) for e in entries} - set(classes))
    if unknown and len(unknown) == len({e.label for e in entries}):
        raise UnknownName("class", unknown[0], classes)
    hashes = {e.path: _hash(e.path) for e in entries if e.label in index}
    changed = {p for p, digest in hashes.items() if digest and expected.get(p, digest) != digest}
    known = [e for e in entries if e.label in index and e.path not in changed]
    excluded = [
        Excluded(e.path, "unknown_label", f"the model has no class {e.label!r}", e.label)
        for e in entries
        if e.label not in index
    ]
    excluded += [Excluded(p, "changed", "no longer the image that was held out", None) for p in sorted(changed)]
    rows, read = _probabilities(predictor, known, excluded, progress or Progress())
    if not rows:
        raise DataError(f"{name}: no image could be evaluated", hint="see the reasons with `foveal audit`")
    labels = np.array([index[str(e.label)] for e in read], dtype=np.int64)
    measured = measure(np.stack(rows), labels, [e.path for e in read], classes)
    key = test_set_key(hashes[e.path] for e in read)
    return {
        "schema": SCHEMA,
        "data": name,
        "test": measured.figures,
        "test_looks": record_test_evaluation(key, run=str(Path(run).resolve())),
        "mistakes": [m.to_dict() for m in measured.mistakes],
        "left_out": [{"path": x.path, "reason": x.reason, "detail": x.detail} for x in excluded],
    }


def _probabilities(
    predictor: ClassificationPredictor, entries: list[Entry], excluded: list[Excluded], progress: Progress
) -> tuple[list[NDArray[np.float32]], list[Entry]]:
    """Probabilities `(K,)` of the images that could be read, and these; the others are added to `excluded`."""
    rows, read = [], []
    with progress.stage("predict", len(entries)) as bar:
        for entry, row in zip(entries, predictor.rows(e.path for e in entries), strict=True):
            bar(1)
            if isinstance(row, UnreadableImage):
                excluded.append(Excluded(entry.path, row.code, row.detail, entry.label))
            else:
                rows.append(row)
                read.append(entry)
    return rows, read


def test_rows(run: Path) -> list[dict[str, str]]:
    """The rows of `split.csv` that a run held out for testing.

    Raises:
        DataError: when there is no such file, or nothing was held out.
    """
    held_out = [row for row in read_rows(run / "split.csv") if row["split"] == "test"]
    if not held_out:
        raise DataError(
            f"{run}: no images were held out for testing", hint="give others: foveal evaluate RUN DATA"
        )
    return held_out


def _hash(path: str) -> str:
    """SHA-256 of a file's content; empty when it can't be read: the predictor then says why."""
    try:
        return hashlib.sha256(read_file(path)).hexdigest()
    except UnreadableImage:
        return ""
