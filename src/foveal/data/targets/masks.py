"""One mask for each image: segmentation. The label map is given, or found in the masks."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from foveal.config import MAX_PIXELS
from foveal.data.targets.frames import across_cuts, frame_blocks
from foveal.data.targets.label_map import class_file, from_colours, from_list, from_values, read_list
from foveal.data.targets.mask_files import lookup, read_mask_record
from foveal.data.targets.target import Target
from foveal.data.wording import LISTED, count_of, first_few, separate
from foveal.errors import DataError
from foveal.metrics.calibration import Calibration, HeldOutLogits
from foveal.metrics.segmentation import VOID, block_bootstrap, confusion, miou
from foveal.values import (
    Entry,
    Excluded,
    Finding,
    ImageRecord,
    LabelMap,
    MaskRecord,
    Split,
    SplitRecord,
    Subset,
)

if TYPE_CHECKING:
    from torch import Tensor

    from foveal.data.targets.target import Loss

#: A class in fewer images than this can hardly be learned, let alone tested.
FEW = 20
#: A class below this share of the pixels is rare.
RARE = 0.005


@dataclass
class Masks(Target):
    """See `Target`.

    Attributes:
        classes_file: the file of class names, if there is one.
        ignore: a class or value to ignore, as the user gave it.
        label_map: what the values in masks mean; None until `resolve` has found out.
    """

    classes_file: Path | None = None
    ignore: str | None = None
    label_map: LabelMap | None = None

    task: ClassVar[str] = "segment"
    annotation: ClassVar[Literal["label", "mask"]] = "mask"
    column: ClassVar[str] = "mask"
    aliases: ClassVar[Mapping[str, str]] = {
        "image": "path",
        "image_path": "path",
        "filename": "path",
        "mask_path": "mask",
        "label_path": "mask",
    }
    plural: ClassVar[str] = "masks"
    item: ClassVar[str] = "image with a mask"
    layout: ClassVar[str] = (
        "images in images/ and masks of the same names in masks/: images/7.jpg, masks/7.png; "
        "or a CSV with image,mask"
    )
    absent: ClassVar[str] = "no_mask"
    csv_columns: ClassVar[tuple[str, ...]] = ("mask", "mask_sha256")
    rank_few_groups: ClassVar[bool] = True

    @classmethod
    def create(cls, folders: Sequence[str] = (), *, classes: str | None = None, ignore: str | None = None) -> Self:
        """With the file of class names that the user gave, or that is in one of the folders."""
        return cls(class_file(folders, classes), ignore)

    def entry(
        self, path: str, annotation: str, root: str, split: Subset | None = None, group: str | None = None
    ) -> Entry:
        """An image with its mask."""
        return Entry(path, None, split, group, os.path.normpath(os.path.join(root, annotation)))

    def complete(self, record: ImageRecord, entry: Entry, *, max_pixels: int = MAX_PIXELS) -> ImageRecord:
        """With the mask, decoded and counted."""
        assert entry.mask is not None
        return replace(
            record, mask=read_mask_record(entry.mask, (record.width, record.height), max_pixels=max_pixels)
        )

    def resolve(self, records: Sequence[ImageRecord]) -> tuple[list[ImageRecord], list[Excluded], list[Finding]]:
        """Find the label map, and count each mask by it; masks without a pixel of any class are unusable."""
        masks = [r.mask for r in records if r.mask is not None]
        if self.label_map is None and masks:
            self.label_map = self._label_map_of(masks)
        unknown_values: dict[str, dict[str, int]] = {}
        usable, excluded = [], []
        for record in records:
            assert record.mask is not None and self.label_map is not None
            areas, unknown = count_areas(record.mask, self.label_map)
            if unknown:
                unknown_values[record.path] = unknown
            if sum(areas[:-1]):
                usable.append(replace(record, mask=replace(record.mask, areas=areas)))
            else:
                detail = f"no pixel of any class in {record.mask.path}"
                excluded.append(Excluded(record.path, "empty_mask", detail, None, record.sha256))
        findings = list(_unknown_values(unknown_values, records, self.label_map)) if self.label_map else []
        return usable, excluded, findings

    def _label_map_of(self, masks: Sequence[MaskRecord]) -> LabelMap:
        if self.classes_file is not None:
            return from_list(read_list(self.classes_file), self.ignore, self.classes_file)
        palette: dict[int, int] = {}
        clash = False
        for mask in masks:
            for value, colour in mask.palette:
                clash = clash or palette.setdefault(value, colour) != colour
        if clash or any(m.by_colour for m in masks):
            return from_colours({c for m in masks for c in _colours_of(m)}, self.ignore)
        return from_values({v for m in masks for v, _ in m.counts}, self.ignore, palette)

    def files(self, record: ImageRecord) -> list[tuple[str, str]]:
        """The mask."""
        return [(record.mask.path, record.mask.sha256)] if record.mask else []

    def key(self, record: ImageRecord) -> str | None:
        """The number of pixels of each class: a mask that was saved again stays equal to itself."""
        return str(record.mask.areas) if record.mask is not None else None

    def sequences(self, records: Sequence[ImageRecord]) -> list[list[int]]:
        """Neighbouring frames of a video."""
        return frame_blocks(records)

    def separations(self, records: Sequence[ImageRecord]) -> list[tuple[int, int]]:
        """Frames on both sides of a cut."""
        return across_cuts(records)

    def class_counts(self, records: Sequence[ImageRecord]) -> dict[str, int]:
        """In how many images each class occurs."""
        if self.label_map is None:
            return {}
        areas = [r.mask.areas for r in records if r.mask is not None and r.mask.areas]
        return {c: sum(a[i] > 0 for a in areas) for i, c in enumerate(self.label_map.classes)}

    def findings(self, records: Sequence[ImageRecord], declared_classes: Collection[str]) -> Iterable[Finding]:
        """Classes that are nowhere, or nearly; sizes that differ."""
        if self.label_map is None or not records:
            return
        counts = self.class_counts(records)
        never = [c for c, n in counts.items() if not n]
        if never:
            yield Finding(
                "class_never_present",
                "warning",
                f"{count_of(len(never), 'class', 'classes')} in no mask: {first_few(never)}",
                "they can't be learned; do the values or colours in the list of classes match the masks?",
                len(never),
            )
        areas = [sum(column) for column in zip(*(r.mask.areas for r in records if r.mask), strict=True)]
        total = max(1, sum(areas[:-1]))
        shares = {c: areas[i] / total for i, c in enumerate(self.label_map.classes)}
        few = [f"{c} ({n})" for c, n in counts.items() if 0 < n < FEW]
        if few:
            yield Finding(
                "few_pictures",
                "warning",
                f"{count_of(len(few), 'class', 'classes')} in fewer than {FEW} images: {first_few(few)}",
                "collect more images that show them",
                len(few),
            )
        rare = [f"{c} ({100 * s:.2f} %)" for c, s in shares.items() if 0 < s < RARE]
        if rare:
            yield Finding(
                "rare_classes",
                "note",
                f"{count_of(len(rare), 'class', 'classes')} with under {100 * RARE:g} % of the pixels: "
                f"{first_few(rare)}",
                "judge by the IoU of each class: pixel accuracy hardly depends on them",
                len(rare),
            )
        yield from _sizes(records)

    def build_split(self, placed: Sequence[SplitRecord], excluded: Sequence[Excluded]) -> Split:
        """All of them, when the training subset shows at least two classes."""
        counts = self.class_counts([p.record for p in placed if p.subset == "train"])
        trained = [c for c, n in counts.items() if n]
        if len(trained) < 2:
            late = sum(item.reason == "no_time" for item in excluded)
            unread = count_of(late, "image was", "images were")
            hint = "`foveal audit` says what was excluded and why"
            raise DataError(
                f"training needs two classes; the masks to train on show {first_few(trained) or 'none'}",
                hint=f"{unread} not read in time: allow more, --time 10m" if late else hint,
            )
        return self.restore_split(placed, excluded)

    def restore_split(self, placed: Sequence[SplitRecord], excluded: Sequence[Excluded]) -> Split:
        """The split of an earlier run, as it was."""
        assert self.label_map is not None
        order = sorted(placed, key=lambda p: p.record.path)
        return Split(tuple(order), tuple(excluded), self.label_map.classes, self.label_map)

    def to_dict(self) -> dict[str, Any]:
        """With the label map."""
        return {**super().to_dict(), "label_map": asdict(self.label_map) if self.label_map else None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Restored from `to_dict`; in older runs the label map is called `legend`."""
        known = values["legend"] if "legend" in values else values["label_map"]
        return cls(label_map=LabelMap.from_dict(known, "audit.json"))

    def to_row(self, record: ImageRecord) -> list[str]:
        """Path and SHA-256 of the mask."""
        return [record.mask.path, record.mask.sha256] if record.mask else ["", ""]

    def from_row(self, record: ImageRecord, row: Mapping[str, str]) -> ImageRecord:
        """With the mask; its counts are not kept."""
        if not row.get("mask"):
            return record
        return replace(record, mask=MaskRecord(row["mask"], row["mask_sha256"], False, ()))

    def loss(
        self, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None, dice: float = 0.0
    ) -> Loss:
        """Weighted cross-entropy of `(N, K, H, W)` logits, plus `dice` times the soft Dice loss."""
        if label_smoothing:
            raise ValueError("there is no label smoothing for masks")
        from foveal.data.targets.mask_loss import segmentation_loss

        return segmentation_loss(class_weights, dice)

    def initial_loss(self, classes: Sequence[str]) -> float:
        """Cross-entropy of the uniform distribution; the Dice loss comes on top."""
        return math.log(len(classes))

    def tally(
        self, predictions: Sequence[NDArray[Any]] | NDArray[Any], targets: NDArray[Any], classes: Sequence[str]
    ) -> NDArray[np.int64]:
        """The confusion matrix of each image in pixels, `(N, K, K)`: rows are true classes."""
        k = len(classes)
        tallies = [confusion(p, t, k) for p, t in zip(predictions, targets, strict=True)]
        return np.stack(tallies) if tallies else np.zeros((0, k, k), dtype=np.int64)

    def score(self, tallies: NDArray[np.int64]) -> float:
        """Mean IoU of all images together."""
        return miou(tallies.sum(axis=0)) if len(tallies) else math.nan

    def interval(
        self, tallies: NDArray[np.int64], groups: Sequence[str] | None = None
    ) -> tuple[float, float] | None:
        """By a bootstrap over groups; None where there are fewer than two."""
        if groups is None:
            blocks = np.arange(len(tallies))
        else:
            blocks = np.unique(np.array(groups, dtype=str), return_inverse=True)[1].astype(np.int64)
        return block_bootstrap(tallies, blocks)

    def calibrate(
        self, held_out: Sequence[HeldOutLogits], *, coverage: float, score: float | None = None, n: int = 0
    ) -> Calibration:
        """Masks are the likeliest classes: there is nothing to calibrate, and the score stands as it is."""
        return Calibration({"n": n, "miou": score})


def count_areas(mask: MaskRecord, label_map: LabelMap) -> tuple[tuple[int, ...], dict[str, int]]:
    """Pixels of each class and of ignored ones, `(K + 1,)`; and pixels of values that are not in the label map."""
    areas, unknown = [0] * (len(label_map.classes) + 1), {}
    known = lookup(label_map, [v for v, _ in mask.counts], mask.by_colour, dict(mask.palette))
    for value, count in mask.counts:
        place = known.get(value)
        areas[-1 if place in (None, VOID) else place] += count
        if place is None:
            unknown[f"#{value:06x}" if mask.by_colour else str(value)] = count
    return tuple(areas), unknown


def _unknown_values(
    pixels_of: Mapping[str, Mapping[str, int]], records: Sequence[ImageRecord], label_map: LabelMap
) -> Iterable[Finding]:
    """Values and colours that are not in the label map; they are ignored, so that no image is lost for them."""
    for code, what, coloured in (("values_no_class", "value", False), ("colours_not_in_legend", "colour", True)):
        paths = [r.path for r in records if r.mask and r.path in pixels_of and r.mask.by_colour == coloured]
        if not paths:
            continue
        values: Counter[str] = Counter()
        for path in paths:
            values.update(pixels_of[path])
        pixels = sum(sum(n for _, n in r.mask.counts) for r in records if r.mask)
        named = first_few(f"{v} ({n} pixels)" for v, n in values.most_common())
        yield Finding(
            code,
            "warning",
            f"{count_of(len(paths), 'mask')} with a {what} that belongs to no class: {named}; "
            f"{100 * sum(values.values()) / pixels:.2g} % of all pixels",
            f"they are ignored; add them to the classes ({first_few(label_map.classes)}), or fix the masks",
            len(paths),
            separate(paths),
        )


def _sizes(records: Sequence[ImageRecord]) -> Iterable[Finding]:
    sizes = Counter((r.width, r.height) for r in records)
    if len(sizes) > 1:
        (width, height), n = sizes.most_common(1)[0]
        odd = [r.path for r in records if (r.width, r.height) != (width, height)]
        yield Finding(
            "sizes_differ",
            "note",
            f"{count_of(len(sizes), 'image size')}; {n} of {len(records)} images have {width} × {height} pixels",
            "nothing to do: they are scaled to one size, and the padding is ignored",
            len(odd),
            separate(odd[:LISTED]),
        )


def _colours_of(mask: MaskRecord) -> Iterable[int]:
    """The colours that occur, also where they were indices of a palette."""
    palette = dict(mask.palette)
    return (v if mask.by_colour else palette.get(v, v << 16 | v << 8 | v) for v, _ in mask.counts)
