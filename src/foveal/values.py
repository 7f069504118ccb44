"""The values that the stages hand to each other. No torch, no disk, no computation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from foveal.errors import BundleError
from foveal.plans import Plan as Plan
from foveal.schema import (
    CHANGED,
    Byte,
    Count,
    Deviation,
    Level,
    Name,
    Share,
    Side,
    SideOrZero,
    Temperature,
    checked,
    is_signed,
    signed,
)

SCHEMA: Literal[1] = 1
Subset = Literal["train", "val", "test"]
Severity = Literal["error", "warning", "note"]
SUBSETS: tuple[Subset, ...] = ("train", "val", "test")
#: Reason code of images that a run left out since its time was up.
NO_TIME = "no_time"
#: What a prediction may be averaged over; `data.images.render` makes them.
View = Literal["plain", "mirror", "squash", "pad", "centre", "crop"]
Colour = tuple[Byte, Byte, Byte]


@dataclass(frozen=True, slots=True)
class Entry:
    """One image as the user named it, before it is opened.

    Attributes:
        path: its file.
        label: its class, where images have labels.
        split: the subset that it was given to.
        group: images of one group stay in one subset.
        mask: the file with its mask, where images have masks.
    """

    path: str
    label: str | None
    split: Subset | None = None
    group: str | None = None
    mask: str | None = None


@dataclass(frozen=True, slots=True)
class Excluded:
    """A file that takes no part, and why: `reason` is a code, `detail` is for people."""

    path: str
    reason: str
    detail: str
    label: str | None = None
    sha256: str = ""


@dataclass(frozen=True)
class LabelMap:
    """Which pixel value, or which colour, of a mask means which class.

    Attributes:
        classes: K names; a pixel's class is a position among them.
        values: the pixel value of each class, `(K,)`.
        colours: the colour of each class, RGB; empty when none are known.
        void: pixel values to ignore.
        void_colours: colours to ignore.
    """

    classes: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=255)]
    values: tuple[Count, ...]
    colours: tuple[Colour, ...] = ()
    void: tuple[Count, ...] = (255,)
    void_colours: tuple[Colour, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no map."""
        if not len(self.values) == len(set(self.values)) == len(set(self.classes)) == len(self.classes):
            raise ValueError("each class needs a name and a value of its own")
        if self.colours and len(self.colours) != len(self.classes):
            raise ValueError(f"{len(self.colours)} colours for {len(self.classes)} classes")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "bundle.json") -> LabelMap:
        """Restored from `dataclasses.asdict`, also by way of JSON.

        Raises:
            BundleError: when the values are not those of a label map.
        """
        return checked(values, cls, f"{where}: label_map")


@dataclass(frozen=True, slots=True)
class MaskRecord:
    """A mask that was fully decoded.

    Attributes:
        path: its file.
        sha256: of the file's content, hex.
        by_colour: whether its pixels hold colours; otherwise values.
        counts: (value, or colour as 0xRRGGBB; pixels), the smallest first.
        palette: (value, colour) of the values that occur, where the file has a palette.
        areas: pixels of each class, and of ignored ones as the last, `(K + 1,)`; empty without a label map.
    """

    path: str
    sha256: str
    by_colour: bool
    counts: tuple[tuple[int, int], ...] = field(repr=False)
    palette: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    areas: tuple[int, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image that was fully decoded.

    Attributes:
        path, label, split, group: as in its `Entry`.
        sha256: of the file's content, hex.
        width, height: pixels, after EXIF orientation.
        file_time: the file's modification time, nanoseconds.
        phash: 64-bit perceptual hash (imagehash's `phash`).
        thumb: 16 × 16 × 3 RGB bytes, for confirming near-duplicates on pixels; empty for very small images.
        brightness, contrast: mean and standard deviation of the grey levels, 0-255.
        sharpness: variance of the Laplacian of the grey levels at 128 px.
        camera, taken_at: EXIF maker and model; EXIF time in seconds.
        several_frames: whether the file holds more than the first image, which is used.
        mask: its mask, where images have masks.
    """

    path: str
    label: str | None
    split: Subset | None
    group: str | None
    sha256: str
    width: int
    height: int
    file_time: int
    phash: int
    thumb: bytes = field(repr=False)
    brightness: float
    contrast: float
    sharpness: float
    camera: str | None = None
    taken_at: float | None = None
    several_frames: bool = False
    mask: MaskRecord | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or worth knowing, about a data set.

    Attributes:
        code: stable name, e.g. `near_duplicates`.
        severity: `error` (spoils the result), `warning` (weakens it), `note`.
        message: one sentence for a person.
        hint: what to do about it.
        count: how many images or groups are concerned.
        paths: the images concerned, in groups where they belong together; at most 200 groups.
    """

    code: str
    severity: Severity
    message: str
    hint: str
    count: int
    paths: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class SplitRecord:
    """An image with its subset: a row of `split.csv`. Images of one `group` stay in one subset."""

    record: ImageRecord
    subset: Subset
    group: str
    note: str = ""


@dataclass(frozen=True)
class Split:
    """The subsets of a data set.

    Attributes:
        placed: images with their subsets.
        excluded: files that take no part, and why.
        classes: K names; the encoded target is a position among them.
        label_map: of the masks, where images have masks.
    """

    placed: tuple[SplitRecord, ...]
    excluded: tuple[Excluded, ...]
    classes: tuple[str, ...]
    label_map: LabelMap | None = None

    def subset(self, name: Subset) -> list[SplitRecord]:
        """The images of one subset, in a stable order."""
        return [p for p in self.placed if p.subset == name]

    def without(self, unreached: Collection[str], reason: str, detail: str) -> Split:
        """The same split without the images of these hashes, which are excluded."""
        gone = [p.record for p in self.placed if p.record.sha256 in unreached]
        return Split(
            tuple(p for p in self.placed if p.record.sha256 not in unreached),
            (*self.excluded, *(Excluded(r.path, reason, detail, r.label, r.sha256) for r in gone)),
            self.classes,
            self.label_map,
        )


@dataclass(frozen=True)
class Preprocess:
    """How a decoded image becomes a network's input: the only preprocessing there is.

    The image (RGB, any size) is resized by `resize` to a square of `size` pixels (by `fit` inside a box), then
    each channel becomes `(value - mean) / std`, with values in 0-255.

    Attributes:
        size: side of the square, pixels; of `fit`'s box the width.
        resize: `crop` shortens the short side to `size / crop_share` and cuts the centre;
            `squash` resizes both sides; `pad` fits the long side and fills with `background`;
            `digit` finds one written character and brings it to the form of MNIST (see `data/images/digit.py`);
            `fit` keeps the aspect ratio, and makes the image as large as a box allows, or scales it by `scale`.
        channels: 3 for colour, 1 for grey.
        interpolation: `bicubic` or `bilinear`, both antialiased.
        background: what shows through transparency and in padding, RGB 0-255.
        height: of `fit`'s box, pixels; 0: as `size`.
        scale: of `fit`: images of any size are scaled by this, so that objects keep the size that the network was
            trained on; the box then only limits the training images. 0: as the box allows.
    """

    size: Side = 224
    resize: Literal["crop", "squash", "pad", "digit", "fit"] = "pad"
    crop_share: Annotated[float, Meta(ge=0.1, le=1)] = 0.875
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    mean: tuple[Level, Level, Level] = (127.0, 127.0, 127.0)
    std: tuple[Deviation, Deviation, Deviation] = (128.0, 128.0, 128.0)
    background: Colour = (255, 255, 255)
    channels: Literal[1, 3] = 3
    height: SideOrZero = 0
    scale: Annotated[float, Meta(ge=0, le=64)] = 0.0

    @property
    def box(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.height or self.size, self.size

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of the channels that there are, `(C,)` each."""
        return self.mean[: self.channels], self.std[: self.channels]

    def boxed(self, height: int, width: int) -> Preprocess:
        """`fit` with another box; `scale` changes in proportion."""
        return replace(self, height=height, size=width, scale=self.scale * height / self.box[0])

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "bundle.json") -> Preprocess:
        """Restored from `to_dict`.

        Raises:
            BundleError: when the values are not those of a preprocessing.
        """
        return checked(values, cls, f"{where}: preprocess")


#: The map of a stage is average-pooled to so many cells on each side before it joins the features.
STAGE_GRID = 2


#: Side of the image that the cost of a segment is given for, pixels.
SEGMENT_SIDE = 64


@dataclass(frozen=True)
class Segment:
    """One of the modules that a backbone runs in order: its stem, one of its stages, or its head.

    Attributes:
        channels: of the output.
        stride: pixels of the input between neighbouring cells of the output; 0 for the pooled features.
        macs: multiply-accumulates for an image of `SEGMENT_SIDE` × `SEGMENT_SIDE` pixels.
    """

    channels: int
    stride: int
    macs: int


@dataclass(frozen=True)
class Backbone:
    """A pretrained network that turns images into features, by name and by content.

    Attributes:
        name: as its source knows it: `lite0` or a timm name, say.
        dimension: length of the feature vector.
        preprocess: what the weights were trained on.
        weights_sha256: of the weights' file.
        blob: the hash-checked file of weights.
        graph: a model file that OpenVINO reads without torch, when there is one already.
        segments: stem, stages, head; empty for a network of no known family.
    """

    name: str
    dimension: int
    preprocess: Preprocess
    weights_sha256: str
    blob: Path | None
    graph: Path | None = None
    segments: tuple[Segment, ...] = ()

    @property
    def stages(self) -> int:
        """How many there are between the stem and the head; 0 for a network of no known family."""
        return max(0, len(self.segments) - 2)

    @property
    def stage_dimension(self) -> int:
        """How many values the stages add to the features when each is pooled to `STAGE_GRID` × `STAGE_GRID`."""
        return STAGE_GRID**2 * sum(segment.channels for segment in self.segments[1:-1])

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the map that each stage gives, in pixels of the input."""
        return tuple(segment.stride for segment in self.segments[1:-1])

    @property
    def cost_shares(self) -> tuple[float, ...]:
        """Share of the multiply-accumulates up to and including each segment; the last is 1."""
        total = max(1, sum(segment.macs for segment in self.segments))
        return tuple(macs / total for macs in accumulate(segment.macs for segment in self.segments))

    def macs_at(self, size: int) -> float:
        """Multiply-accumulates for an image of this side, pixels; 0 for a network of no known family."""
        return sum(segment.macs for segment in self.segments) * (size / SEGMENT_SIDE) ** 2

    def cut_at(self, share: float) -> int:
        """How many leading segments to freeze so that about this share of the cost lies below the cut.

        At least the stem and one stage are frozen: the maps that an exported graph gives are those of stages.
        The head is never frozen, nor is the last stage where there are several: something has to learn.

        Args:
            share: of the multiply-accumulates, 0 to 1; 0 freezes nothing.

        Returns:
            The number of segments; 0 when nothing is to be frozen or the segments are not known.
        """
        if not share or not self.stages:
            return 0
        costs = self.cost_shares
        cuts = range(2, max(2, self.stages) + 1)
        return min(cuts, key=lambda cut: abs(costs[cut - 1] - share))

    def stage_below(self, cut: int) -> int:
        """Position among the stages of the one whose map the segments from `cut` on take.

        Raises:
            ValueError: when no stage lies right below the cut.
        """
        if not 2 <= cut <= self.stages + 1:
            raise ValueError(f"no stage lies right below a cut at {cut} of {len(self.segments)} segments")
        return cut - 2


@dataclass(frozen=True)
class UnknownRule:
    """When an image is called unknown; the numbers are tensors of the bundle, see `metrics/unknown.py`.

    Attributes:
        score: how unusual an image is; a key of `metrics.unknown.SCORES`, or `ENTROPY`.
        rate: an image is unknown from this p-value downwards: the share of false alarms.
        images, groups: that it was calibrated on.
    """

    score: Name
    rate: Share
    images: Count
    groups: Count


#: Of the prediction sets of bundles that do not say: those of earlier versions.
EARLIER_COVERAGE = 0.9


@dataclass(frozen=True)
class Manifest:
    """`bundle.json`: what a model is, apart from its numbers.

    A model is a linear head on a frozen `backbone` that is installed with foveal, or a `network` of
    its own, as the arguments of `models.networks.build`.

    Attributes:
        backbone, backbone_sha256: the backbone by name, and its weights; None for a network.
        weights_sha256: of the bundle's own `weights.safetensors`.
        views: views of each image whose predictions are averaged.
        temperature, set_threshold: calibration, see `metrics/calibration.py`.
        coverage: of the prediction sets; None: `EARLIER_COVERAGE`.
        outside: the network's last output stands for "none of the classes".
        unknown_threshold: probability of that output from which on an image is called unknown.
        provenance: where the model comes from.
        measured_before_refit: the model was fitted on the validation and test subsets of its run as well, and the
            figures of the run are those of the model that it replaces.
        unknown: when an image is called unknown; None: the bundle can't tell, unless it has `outside`.
        label_map: values and colours of the classes in masks, of a segmenter.
        thresholds: probability of each class from which on it is predicted, where classes do not exclude each other.
    """

    task: Name
    classes: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=100_000)]
    backbone: Name | None
    backbone_sha256: Name | None
    weights_sha256: Name
    preprocess: Preprocess
    views: Annotated[tuple[View, ...], Meta(min_length=1, max_length=8)]
    temperature: Temperature
    set_threshold: Share
    provenance: Mapping[str, Any]
    network: Mapping[str, Any] | None = None
    outside: bool = False
    unknown_threshold: Share = 0.5
    label_map: LabelMap | None = None
    measured_before_refit: bool = False
    coverage: Share | None = None
    unknown: UnknownRule | None = None
    thresholds: tuple[Share, ...] = ()
    schema: Literal[1] = SCHEMA

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: a name occurs twice")
        if (self.backbone is None) == (self.network is None) or (
            (self.backbone is None) != (self.backbone_sha256 is None)
        ):
            raise ValueError("a model has either a backbone with the hash of its weights, or a network")
        if self.backbone is not None and self.preprocess.channels != 3:
            raise ValueError("preprocess: channels: a backbone takes 3")
        if self.backbone is not None and self.preprocess.size < 8:
            raise ValueError("preprocess: size: too small for a backbone")
        if self.preprocess.resize == "digit" and self.preprocess.channels != 1:
            raise ValueError("preprocess: resize: `digit` makes grey images")
        if self.preprocess.resize == "fit" and self.label_map is None:
            raise ValueError("preprocess: resize: labels are predicted from images of one size, not from `fit`")
        if self.thresholds and len(self.thresholds) != len(self.classes):
            raise ValueError(f"thresholds: {len(self.thresholds)} for {len(self.classes)} classes")
        if self.outside and self.network is None:
            raise ValueError("outside: only a network has an output for none of the classes")
        if self.label_map is not None and self.label_map.classes != self.classes:
            raise ValueError("label_map: its classes are not those of the model")

    @property
    def knows_unknown(self) -> bool:
        """Whether its predictions say that an image is none of the classes."""
        return self.outside or self.unknown is not None

    @property
    def learned_from(self) -> tuple[Subset, ...]:
        """The subsets of its run that it was fitted to or calibrated on."""
        return SUBSETS if self.measured_before_refit else ("train", "val")

    def check_outputs(self, count: int) -> None:
        """Raises `BundleError` unless a model with so many outputs has one for each class."""
        expected = len(self.classes) + self.outside
        if count != expected:
            raise BundleError(f"the model gives {count} outputs, bundle.json names {expected}", hint=CHANGED)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values, with their own hash as `sha256`."""
        return signed({**asdict(self), "preprocess": self.preprocess.to_dict()})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "bundle.json") -> Manifest:
        """Read a manifest.

        Args:
            values: as `to_dict` gave them, maybe by way of JSON.
            where: the file, for messages.

        Raises:
            BundleError: when it is of another schema, a value is out of range, or the hash is not that of the values.
        """
        if not isinstance(values, Mapping):
            raise BundleError(f"{where} holds no object", hint=CHANGED)
        if values.get("schema") != SCHEMA:
            raise BundleError(
                f"{where}: this bundle has schema {values.get('schema')!r}, this foveal reads {SCHEMA}",
                hint="upgrade foveal, or train again",
            )
        rest = {k: v for k, v in values.items() if k != "sha256"}
        if isinstance(rest.get("preprocess"), Mapping):
            Preprocess.from_dict(rest["preprocess"], where)  # names the field that is not known
        manifest: Manifest = checked(rest, cls, where)
        if "sha256" not in values:
            raise BundleError(f"{where} has no hash of its own", hint="an earlier foveal wrote it: train again")
        if not is_signed(values):
            raise BundleError(
                f"{where}: the content does not match its own hash: it is damaged, or was changed by hand",
                hint="copy the run folder again, or train again",
            )
        return manifest
