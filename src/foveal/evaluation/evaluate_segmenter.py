"""`foveal evaluate` for masks: a finished segmenter on its own test subset, or on other images with masks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from foveal.data.audit.duplicates import near_pairs
from foveal.data.audit.scan import ScanOptions, scan
from foveal.data.sources.list_data import list_data
from foveal.data.sources.listing import DataOptions
from foveal.data.split.assign import together
from foveal.data.split.split_csv import record_from_row
from foveal.data.targets.label_map import from_list, read_list
from foveal.data.targets.masks import Masks
from foveal.data.targets.pairs import open_pair
from foveal.data.wording import count_of, first_few
from foveal.errors import UnknownName, UnreadableImage
from foveal.evaluation.ledger import record_test_evaluation, test_set_key
from foveal.evaluation.run_images import RunImages, images_of, settings_of_run, test_rows
from foveal.evaluation.segmentation import MaskPair, measure_masks
from foveal.evaluation.unseen import Selection, in_test_subset, select
from foveal.inference.bundle import load_bundle
from foveal.inference.segmenter import SegmentationPredictor
from foveal.metrics.segmentation import VOID
from foveal.models.shipped import measured_folder
from foveal.progress import Bar, Progress
from foveal.values import SCHEMA, Excluded, Finding, ImageRecord, LabelMap

ClassTable = np.ndarray[tuple[int], np.dtype[np.uint8]]


@dataclass(frozen=True)
class _Data:
    """What to evaluate on.

    Attributes:
        given: images with masks, and those that are left out.
        blocks: the block of neighbours that each image belongs to.
        label_map: of these masks.
    """

    given: Selection
    blocks: list[str]
    label_map: LabelMap


def evaluate_masks(
    run: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    *,
    include_seen: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Figures as in `summary.json`, under `test`. Each call is recorded as an evaluation on its test set.

    Args:
        run: a run folder; a bundle alone is enough when `data` is given, but images that it was trained on can't be
            recognised then.
        data: images with masks in any form that `train` takes; by default the run's own test subset, by the model as
            it was measured. Classes are
            matched by name where a list of them is found with the masks; otherwise by the numbers or colours that
            the model was trained on. Of data with a test subset this alone is evaluated. What the run was trained on
            is left out, with its near-duplicates.
        include_seen: count these as well.
        progress: is told of each image.

    Raises:
        BundleError: when there is no model.
        DataError: when there is nothing to evaluate on.
        UnknownName: when none of the classes is one of the model's.
    """
    max_pixels = settings_of_run(run).max_pixels
    bundle = load_bundle(measured_folder(Path(run)) if data is None else os.fspath(run))
    predictor = SegmentationPredictor(bundle, max_pixels=max_pixels)
    label_map = predictor.label_map
    progress = progress or Progress()
    if data is None:
        chosen = _test_subset(Path(run), label_map)
    else:
        images = images_of(run, bundle.manifest.learned_from)
        chosen = _other_data(images, data, label_map, max_pixels, progress, include_seen=include_seen)
    given = chosen.given
    table = _class_table(chosen.label_map, label_map)
    left_out = len(given.excluded)
    with progress.stage("masks", len(given.records)) as bar:
        measured = measure_masks(_predicted(predictor, chosen, table, max_pixels, bar), label_map)
    if not measured.figures["n"]:
        raise given.refuse()
    gone = {x.path for x in given.excluded[left_out:]}
    key = test_set_key(r.sha256 for r in given.records if r.path not in gone)
    return {
        "schema": SCHEMA,
        **given.to_dict(),
        "test": measured.figures,
        "test_looks": record_test_evaluation(key, run=str(Path(run).resolve())),
        "mistakes": measured.mistakes,
    }


def _test_subset(run: Path, label_map: LabelMap) -> _Data:
    rows = test_rows(run)
    target = Masks(label_map=label_map)
    records = [record_from_row(r, target) for r in rows]
    return _Data(Selection("test subset", len(rows), records, [], []), [r["group"] for r in rows], label_map)


def _other_data(
    run: RunImages | None,
    data: str | os.PathLike[str],
    label_map: LabelMap,
    max_pixels: int,
    progress: Progress,
    *,
    include_seen: bool,
) -> _Data:
    listing = list_data(data, DataOptions(task=Masks.task))
    assert isinstance(listing.target, Masks)
    names = listing.target.classes_file
    own = from_list(read_list(names), None, names) if names is not None else label_map
    target = Masks(label_map=own)
    entries, excluded, about_subset = in_test_subset(listing)
    with progress.stage("read", len(entries)) as bar:
        read, refused = scan(entries, listing.target, ScanOptions(max_pixels=max_pixels, on_each=bar))
    usable, unfit, about_masks = target.resolve(read)
    given = select(listing, usable, [*excluded, *refused, *unfit], run, target, include_seen=include_seen)
    findings = [*about_subset, *given.findings, *about_masks, *_unknown_classes(own, label_map, given.records)]
    blocks = [""] * len(given.records)
    near = [*near_pairs(given.records), *target.sequences(given.records)]
    for number, members in enumerate(together(given.records, near)):
        for i in members:
            blocks[i] = str(number)
    return _Data(replace(given, findings=findings), blocks, own)


def _unknown_classes(data: LabelMap, model: LabelMap, records: Sequence[ImageRecord]) -> Iterator[Finding]:
    """Classes of the data that the model does not have: the pixels that they cover can't be evaluated."""
    areas = [sum(column) for column in zip(*(r.mask.areas for r in records if r.mask), strict=True)]
    total = max(1, sum(areas[:-1]))
    shares = {c: areas[i] / total for i, c in enumerate(data.classes) if c not in model.classes and areas[i]}
    if shares:
        named = first_few(f"{c} ({share:.1%} of the pixels)" for c, share in shares.items())
        yield Finding(
            "classes_not_of_the_model",
            "warning",
            f"{count_of(len(shares), 'class', 'classes')} the model does not have: {named}; their pixels are ignored",
            f"the model has {first_few(model.classes)}",
            len(shares),
        )


def _class_table(data: LabelMap, model: LabelMap) -> ClassTable:
    """Position in the data's classes → position in the model's; the ignore index where it has no such class."""
    table = np.full(256, VOID, dtype=np.uint8)
    for i, name in enumerate(data.classes):
        if name in model.classes:
            table[i] = model.classes.index(name)
    if (table[: len(data.classes)] == VOID).all():
        raise UnknownName("class", data.classes[0], model.classes)
    return table


def _predicted(
    predictor: SegmentationPredictor, data: _Data, table: ClassTable, max_pixels: int, bar: Bar
) -> Iterator[MaskPair]:
    """Images with prediction and target; those that can't be read any more are added to `excluded`."""
    for record, block in zip(data.given.records, data.blocks, strict=True):
        bar(1)
        try:
            image, target = open_pair(record, data.label_map, max_pixels=max_pixels)
        except UnreadableImage as refusal:
            data.given.excluded.append(Excluded(record.path, refusal.code, f"{refusal.path}: {refusal.detail}"))
            continue
        mask = predictor.predict_mask(image).mask
        assert mask is not None
        yield MaskPair(record.path, block, mask, table[target])
