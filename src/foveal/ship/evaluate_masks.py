"""`foveal evaluate` for masks: a finished segmenter on its own test side, or on other pictures with masks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foveal.data.dataset import record_of
from foveal.data.duplicates import near_pairs
from foveal.data.legend import from_list, read_list
from foveal.data.listing import Wanted
from foveal.data.masks import Masks
from foveal.data.pairs import open_pair
from foveal.data.scan import Reading, scan
from foveal.data.sources import list_data
from foveal.data.split import together
from foveal.data.wording import n_of, some
from foveal.errors import DataError, UnknownName, UnreadableImage
from foveal.measure import look, measure_masks, test_set_key
from foveal.measure.masks import Answered
from foveal.metrics.segmentation import VOID
from foveal.progress import Bar, Progress
from foveal.ship.evaluate import test_side
from foveal.ship.masks import MaskPredictor
from foveal.values import SCHEMA, Finding, ImageRecord, LeftOut, Legend


@dataclass(frozen=True)
class _Pictures:
    """What to measure on.

    Attributes:
        name: of the data.
        records: pictures with masks.
        blocks: the block of neighbours that each belongs to.
        legend: of these masks.
        left_out: what could not be read.
        findings: about the masks.
    """

    name: str
    records: list[ImageRecord]
    blocks: list[str]
    legend: Legend
    left_out: list[LeftOut]
    findings: list[Finding]


def evaluate_masks(
    run: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Figures as in `summary.json`, under `test`; each call is a look, and is counted.

    Args:
        run: a run folder; a bare bundle will do when `data` is given.
        data: pictures with masks in any form that `train` takes; by default the run's own test side. Classes are
            matched by name where a list of them lies beside the masks; otherwise by the numbers or colours that
            the model learned from.
        progress: listens.

    Raises:
        BundleError: when there is no model.
        DataError: when there is nothing to measure on.
        UnknownName: when none of the classes is one of the model's.
    """
    predictor = MaskPredictor.load(run)
    heard = progress or Progress()
    with heard.stage("read") as bar:
        found = _own(Path(run), predictor.legend) if data is None else _others(data, predictor.legend, bar)
    places = _places(found.legend, predictor.legend)
    with heard.stage("masks", len(found.records)) as bar:
        measured = measure_masks(_answers(predictor, found, places, bar), predictor.legend)
    if not measured.figures["n"]:
        raise DataError(f"{found.name}: no picture could be measured", hint="see the reasons with `foveal audit`")
    gone = {x.path for x in found.left_out}
    key = test_set_key(r.sha256 for r in found.records if r.path not in gone)
    return {
        "schema": SCHEMA,
        "data": found.name,
        "test": measured.figures,
        "test_looks": look(key, run=str(Path(run).resolve())),
        "mistakes": measured.mistakes,
        "findings": [{"code": f.code, "message": f.message, "hint": f.hint} for f in found.findings],
        "left_out": [{"path": x.path, "reason": x.reason, "detail": x.detail} for x in found.left_out],
    }


def _own(run: Path, legend: Legend) -> _Pictures:
    rows = test_side(run)
    return _Pictures("test side", [record_of(r) for r in rows], [r["group"] for r in rows], legend, [], [])


def _others(data: str | os.PathLike[str], legend: Legend, bar: Bar) -> _Pictures:
    listing = list_data(data, Wanted(task="segment"))
    assert isinstance(listing.truth, Masks)
    names = listing.truth.names
    own = from_list(read_list(names), None, names) if names is not None else legend
    bar.total(len(listing.entries))
    read, refused = scan(listing.entries, Reading(on_each=bar))
    records, unfit, findings = Masks(legend=own).settle(read)
    findings = [*findings, *_unknown(own, legend, records)]
    blocks = [""] * len(records)
    near = [*near_pairs(records), *Masks(legend=own).neighbours(records)]
    for number, members in enumerate(together(records, near)):
        for i in members:
            blocks[i] = str(number)
    return _Pictures(listing.name, records, blocks, own, [*listing.left_out, *refused, *unfit], findings)


def _unknown(there: Legend, here: Legend, records: Sequence[ImageRecord]) -> Iterator[Finding]:
    """Classes of the data that the model has not: what they cover can't be measured, and is told."""
    areas = [sum(column) for column in zip(*(r.mask.areas for r in records if r.mask), strict=True)]
    total = max(1, sum(areas[:-1]))
    shares = {c: areas[i] / total for i, c in enumerate(there.classes) if c not in here.classes and areas[i]}
    if shares:
        told = some(f"{c} ({share:.1%} of the pixels)" for c, share in shares.items())
        yield Finding(
            "classes_not_of_the_model",
            "warning",
            f"{n_of(len(shares), 'class', 'classes')} that the model does not know: {told}; they count as void",
            f"the model knows {some(here.classes)}",
            len(shares),
        )


def _places(there: Legend, here: Legend) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Position in the data's classes → position in the model's; void where the model has no such class."""
    table = np.full(256, VOID, dtype=np.uint8)
    for i, name in enumerate(there.classes):
        if name in here.classes:
            table[i] = here.classes.index(name)
    if (table[: len(there.classes)] == VOID).all():
        raise UnknownName("class", there.classes[0], here.classes)
    return table


def _answers(
    predictor: MaskPredictor, found: _Pictures, places: np.ndarray[tuple[int], np.dtype[np.uint8]], bar: Bar
) -> Iterator[Answered]:
    """Pictures with answer and truth; those that can't be read any more go to `left_out`."""
    pairs: Sequence[tuple[ImageRecord, str]] = list(zip(found.records, found.blocks, strict=True))
    for record, block in pairs:
        bar(1)
        try:
            picture, truth = open_pair(record, found.legend)
        except UnreadableImage as refusal:
            found.left_out.append(LeftOut(record.path, refusal.code, f"{refusal.path}: {refusal.detail}"))
            continue
        mask = predictor.answer(picture).mask
        assert mask is not None
        yield Answered(record.path, block, mask, places[truth])
