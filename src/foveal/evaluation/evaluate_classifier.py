"""`foveal evaluate`: a finished classifier on its own test subset, or on other labelled images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foveal.data.audit.scan import ScanOptions, scan
from foveal.data.images.decode import read_file
from foveal.data.sources.listing import Listing
from foveal.data.split.split_csv import record_from_row
from foveal.data.targets.labels import Labels
from foveal.data.targets.target import Target
from foveal.errors import UnknownName, UnreadableImage
from foveal.evaluation.classification import Measurement, measure
from foveal.evaluation.ledger import record_test_evaluation, test_set_key
from foveal.evaluation.run_images import RunImages, images_of, listed_as_by_run, settings_of_run, test_rows
from foveal.evaluation.unseen import Selection, in_test_subset, select
from foveal.inference.bundle import load_bundle
from foveal.inference.classifier import ClassificationPredictor
from foveal.models.shipped import measured_folder
from foveal.progress import Progress
from foveal.values import SCHEMA, Excluded, ImageRecord, Manifest


class Measured(Protocol):
    """Figures of a task, and its mistakes."""

    @property
    def figures(self) -> dict[str, Any]:
        """As `test` in `summary.json`."""
        ...

    @property
    def mistakes(self) -> Sequence[Any]:
        """Each has a `to_dict`."""
        ...


@dataclass(frozen=True)
class Judging:
    """What differs between tasks whose models give probabilities of classes.

    Attributes:
        target: restores the records of a run.
        of_known_classes: what to do where other data names classes that the model does not have.
        measure: probabilities `(N, K)`, N records and the manifest → figures.
    """

    target: Target
    of_known_classes: Callable[[Selection, Sequence[str]], Selection]
    measure: Callable[[NDArray[np.float32], Sequence[ImageRecord], Manifest], Measured]


def evaluate_labels(
    run: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    *,
    include_seen: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Figures of a classifier; see `evaluate_run`.

    Raises:
        UnknownName: when none of the labels is a class of the model.
    """
    return evaluate_run(run, data, LABELS, include_seen=include_seen, progress=progress)


def evaluate_run(
    run: str | os.PathLike[str],
    data: str | os.PathLike[str] | None,
    judging: Judging,
    *,
    include_seen: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Figures as in `summary.json`, under `test`. Each call is recorded as an evaluation on its test set.

    Args:
        run: a run folder; a bundle alone is enough when `data` is given, but images that it was trained on can't be
            recognised then.
        data: labelled images in any form that `train` takes; by default the run's own test subset, by the model as it
            was measured. Otherwise the delivered model is evaluated: what it was trained on is left out, with its
            near-duplicates. Of data with a test subset this alone is evaluated. The run's `max_pixels` holds, and its
            `label_from` where names have such labels.
        judging: what differs between tasks.
        include_seen: count these as well.
        progress: is told of each image.

    Raises:
        BundleError: when there is no model.
        DataError: when there is nothing to evaluate on.
        UnknownName: when none of the labels is a class of the model.
    """
    settings = settings_of_run(run)
    bundle = load_bundle(measured_folder(Path(run)) if data is None else os.fspath(run))
    predictor = ClassificationPredictor(bundle, max_pixels=settings.max_pixels)
    progress = progress or Progress()
    if data is None:
        given = _test_subset(Path(run), judging.target)
    else:
        listing = listed_as_by_run(data, bundle.manifest.task, settings)
        options = ScanOptions(cache=True, max_pixels=settings.max_pixels)
        images = images_of(run, bundle.manifest.learned_from)
        given = _other_data(images, listing, bundle.manifest.classes, options, progress, include_seen=include_seen)
        given = judging.of_known_classes(given, bundle.manifest.classes)
    rows, read, excluded = _probabilities(predictor, given.records, progress)
    given = replace(given, records=read, excluded=[*given.excluded, *excluded])
    if not rows:
        raise given.refuse()
    measured = judging.measure(np.stack(rows), read, bundle.manifest)
    key = test_set_key(r.sha256 for r in read)
    return {
        "schema": SCHEMA,
        **given.to_dict(),
        "test": measured.figures,
        "test_looks": record_test_evaluation(key, run=str(Path(run).resolve())),
        "mistakes": [m.to_dict() for m in measured.mistakes],
    }


def _measure(
    probabilities: NDArray[np.float32], records: Sequence[ImageRecord], manifest: Manifest
) -> Measurement:
    index = {c: i for i, c in enumerate(manifest.classes)}
    labels = np.array([index[str(r.label)] for r in records], dtype=np.int64)
    paths = [r.path for r in records]
    return measure(probabilities, labels, paths, manifest.classes, set_threshold=manifest.set_threshold)


def _of_known_classes(given: Selection, classes: Sequence[str]) -> Selection:
    strange = [r for r in given.records if r.label not in classes]
    unknown = [Excluded(r.path, "unknown_label", f"the model has no class {r.label!r}", r.label) for r in strange]
    known = [r for r in given.records if r.label in classes]
    return replace(given, records=known, excluded=[*given.excluded, *unknown])


#: One label for each image.
LABELS = Judging(Labels(), _of_known_classes, _measure)


def _test_subset(run: Path, target: Target) -> Selection:
    """What the run held out, as far as the files are still what they were."""
    records = [record_from_row(row, target) for row in test_rows(run)]
    changed = [r for r in records if _hash(r.path) not in ("", r.sha256)]
    excluded = [Excluded(r.path, "changed", "no longer the image that was held out", r.label) for r in changed]
    kept = [r for r in records if r not in changed]
    return Selection("test subset", len(records), kept, excluded, [])


def _other_data(
    run: RunImages | None,
    listing: Listing,
    classes: tuple[str, ...],
    options: ScanOptions,
    progress: Progress,
    *,
    include_seen: bool,
) -> Selection:
    """What is new to the model in other data."""
    named = {name for label in {str(e.label) for e in listing.entries} for name in listing.target.names(label)}
    if named and not named & set(classes):
        raise UnknownName("class", min(named), classes)
    entries, excluded, findings = in_test_subset(listing)
    with progress.stage("read", len(entries)) as bar:
        records, refused = scan(entries, listing.target, replace(options, on_each=bar))
    given = select(listing, records, [*excluded, *refused], run, listing.target, include_seen=include_seen)
    return replace(given, findings=[*findings, *given.findings])


def _probabilities(
    predictor: ClassificationPredictor, records: list[ImageRecord], progress: Progress
) -> tuple[list[NDArray[np.float32]], list[ImageRecord], list[Excluded]]:
    """Probabilities `(K,)` of the images that could be read, these images, and the others."""
    rows, read, excluded = [], [], []
    with progress.stage("predict", len(records)) as bar:
        for record, row in zip(records, predictor.rows(r.path for r in records), strict=True):
            bar(1)
            if isinstance(row, UnreadableImage):
                excluded.append(Excluded(record.path, row.code, row.detail, record.label))
            else:
                rows.append(row)
                read.append(record)
    return rows, read, excluded


def _hash(path: str) -> str:
    """SHA-256 of a file's content; empty when it can't be read: the predictor then says why."""
    try:
        return hashlib.sha256(read_file(path)).hexdigest()
    except UnreadableImage:
        return ""
