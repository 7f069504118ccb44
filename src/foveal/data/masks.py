"""A mask a picture: what a segmentation learns from. Its legend is known before, or found in the masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveal.data.frames import across_cuts, frame_blocks
from foveal.data.legend import from_colours, from_list, from_values, read_list
from foveal.data.mask_files import lookup
from foveal.data.wording import LISTED, each, n_of, some
from foveal.errors import DataError
from foveal.metrics.segmentation import VOID
from foveal.values import Finding, ImageRecord, LeftOut, Legend, MaskRecord, Placed, Split

if TYPE_CHECKING:
    from foveal.data.listing import Listing

#: A class in fewer pictures than this can't be trusted to be learned, let alone tested.
FEW = 20
#: A class under this share of the pixels is rare.
RARE = 0.005


@dataclass
class Masks:
    """See `truth.Truth`.

    Attributes:
        names: the file of class names, if there is one.
        void: a class or number that says "nobody knows", as the user gave it.
        legend: what the masks mean; None until it is settled.
    """

    names: Path | None = None
    void: str | None = None
    legend: Legend | None = None

    task = "segment"
    answers = "masks"
    few_sets = True

    def settle(self, records: Sequence[ImageRecord]) -> tuple[list[ImageRecord], list[LeftOut], list[Finding]]:
        """Find what the masks mean, and measure each by it; masks that say nothing at all are refused."""
        masks = [r.mask for r in records if r.mask is not None]
        if self.legend is None and masks:
            self.legend = self._found(masks)
        strange: dict[str, dict[str, int]] = {}
        kept, out = [], []
        for record in records:
            assert record.mask is not None and self.legend is not None
            areas, unknown = measured(record.mask, self.legend)
            if unknown:
                strange[record.path] = unknown
            if sum(areas[:-1]):
                kept.append(replace(record, mask=replace(record.mask, areas=areas)))
            else:
                words = f"no pixel of any class in {record.mask.path}"
                out.append(LeftOut(record.path, "empty_mask", words, None, record.sha256))
        return kept, out, list(_strange(strange, records, self.legend)) if self.legend else []

    def _found(self, masks: Sequence[MaskRecord]) -> Legend:
        if self.names is not None:
            return from_list(read_list(self.names), self.void, self.names)
        palette: dict[int, int] = {}
        clash = False
        for mask in masks:
            for value, colour in mask.palette:
                clash = clash or palette.setdefault(value, colour) != colour
        if clash or any(m.by_colour for m in masks):
            return from_colours({c for m in masks for c in _colours_of(m)}, self.void)
        return from_values({v for m in masks for v, _ in m.counts}, self.void, palette)

    def answer(self, record: ImageRecord) -> str | None:
        """Masks are equal when each class has as many pixels: a mask that was saved again stays the same."""
        return str(record.mask.areas) if record.mask is not None else None

    def neighbours(self, records: Sequence[ImageRecord]) -> list[list[int]]:
        """Neighbouring frames of a video."""
        return frame_blocks(records)

    def too_near(self, records: Sequence[ImageRecord]) -> list[tuple[int, int]]:
        """Frames on both sides of a cut."""
        return across_cuts(records)

    def classes(self, records: Sequence[ImageRecord]) -> dict[str, int]:
        """In how many pictures each class occurs."""
        if self.legend is None:
            return {}
        areas = [r.mask.areas for r in records if r.mask is not None and r.mask.areas]
        return {c: sum(a[i] > 0 for a in areas) for i, c in enumerate(self.legend.classes)}

    def findings(self, listing: Listing, records: Sequence[ImageRecord]) -> Iterable[Finding]:
        """Classes that are nowhere, or nearly; sizes that differ."""
        if self.legend is None or not records:
            return
        pictures = self.classes(records)
        never = [c for c, n in pictures.items() if not n]
        if never:
            yield Finding(
                "class_never_present",
                "warning",
                f"{n_of(len(never), 'class', 'classes')} in no mask: {some(never)}",
                "nothing can be learned about them; do the numbers or colours of the list fit the masks?",
                len(never),
            )
        areas = [sum(column) for column in zip(*(r.mask.areas for r in records if r.mask), strict=True)]
        total = max(1, sum(areas[:-1]))
        shares = {c: areas[i] / total for i, c in enumerate(self.legend.classes)}
        few = [f"{c} ({n})" for c, n in pictures.items() if 0 < n < FEW]
        if few:
            yield Finding(
                "few_pictures",
                "warning",
                f"{n_of(len(few), 'class', 'classes')} in under {FEW} pictures: {some(few)}",
                "collect more pictures that show them",
                len(few),
            )
        rare = [f"{c} ({100 * s:.2f} %)" for c, s in shares.items() if 0 < s < RARE]
        if rare:
            yield Finding(
                "rare_classes",
                "note",
                f"{n_of(len(rare), 'class', 'classes')} under {100 * RARE:g} % of the pixels: {some(rare)}",
                "look at the IoU of each class: pixel accuracy hardly sees them",
                len(rare),
            )
        yield from _sizes(records)

    def split(self, placed: Sequence[Placed], out: Sequence[LeftOut]) -> Split:
        """All of them, when the training side shows two classes at least."""
        assert self.legend is not None
        learned = Counter(
            c for p in placed if p.side == "train" for c in self.classes([p.record]) if self.classes([p.record])[c]
        )
        if len(learned) < 2:
            late = sum(item.reason == "no_time" for item in out)
            hint = "`foveal audit` says what was left out and why"
            raise DataError(
                f"{n_of(len(learned), 'class', 'classes')} in the masks to learn from: {some(learned) or 'none'}",
                hint=f"{late} pictures were not read in time: give it more, --time 10m" if late else hint,
            )
        return self.reopened(placed, out)

    def reopened(self, placed: Sequence[Placed], out: Sequence[LeftOut]) -> Split:
        """The split of an earlier run, as it was."""
        assert self.legend is not None
        order = sorted(placed, key=lambda p: p.record.path)
        return Split(tuple(order), tuple(out), self.legend.classes, self.legend)

    def to_dict(self) -> dict[str, Any]:
        """With the legend."""
        return {"task": self.task, "legend": asdict(self.legend) if self.legend else None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Masks:
        """Back from `to_dict`."""
        return cls(legend=Legend.from_dict(values["legend"]))


def measured(mask: MaskRecord, legend: Legend) -> tuple[tuple[int, ...], dict[str, int]]:
    """Pixels of each class and of void `(K + 1,)`; and of what is no class, by its name."""
    areas, unknown = [0] * (len(legend.classes) + 1), {}
    known = lookup(legend, [v for v, _ in mask.counts], mask.by_colour, dict(mask.palette))
    for value, count in mask.counts:
        place = known.get(value)
        areas[-1 if place in (None, VOID) else place] += count
        if place is None:
            unknown[f"#{value:06x}" if mask.by_colour else str(value)] = count
    return tuple(areas), unknown


def _strange(
    found: Mapping[str, Mapping[str, int]], records: Sequence[ImageRecord], legend: Legend
) -> Iterable[Finding]:
    """Numbers and colours that are no class; they count as void, so that no picture is lost for them."""
    for code, what, coloured in (("values_no_class", "number", False), ("colours_not_in_legend", "colour", True)):
        paths = [r.path for r in records if r.mask and r.path in found and r.mask.by_colour == coloured]
        if not paths:
            continue
        values: Counter[str] = Counter()
        for path in paths:
            values.update(found[path])
        pixels = sum(sum(n for _, n in r.mask.counts) for r in records if r.mask)
        named = some(f"{v} ({n} pixels)" for v, n in values.most_common())
        yield Finding(
            code,
            "warning",
            f"{n_of(len(paths), 'mask')} with a {what} that is no class: {named}; "
            f"{100 * sum(values.values()) / pixels:.2g} % of all pixels",
            f"they count as void; add them to the list of classes ({some(legend.classes)}), or mend the masks",
            len(paths),
            each(paths),
        )


def _sizes(records: Sequence[ImageRecord]) -> Iterable[Finding]:
    sizes = Counter((r.width, r.height) for r in records)
    if len(sizes) > 1:
        (width, height), n = sizes.most_common(1)[0]
        odd = [r.path for r in records if (r.width, r.height) != (width, height)]
        yield Finding(
            "sizes_differ",
            "note",
            f"{n_of(len(sizes), 'size')} of pictures; {n} of {len(records)} have {width} × {height} pixels",
            "nothing to do: they are scaled to one box, and the rest of it is void",
            len(odd),
            each(odd[:LISTED]),
        )


def _colours_of(mask: MaskRecord) -> Iterable[int]:
    """The colours that occur, also where they were numbers of a palette."""
    palette = dict(mask.palette)
    return (v if mask.by_colour else palette.get(v, v << 16 | v << 8 | v) for v, _ in mask.counts)
