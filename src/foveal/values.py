"""The nouns that the stages hand to each other. Plain values: no torch, no work, no disk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from foveal.errors import BundleError
from foveal.plans import Plan as Plan

SCHEMA = 1
Side = Literal["train", "val", "test"]
Severity = Literal["error", "warning", "note"]
SIDES: tuple[Side, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture as the user named it, before it is opened; `mask` is the file that says what each pixel is."""

    path: str
    label: str | None
    split: str | None = None
    group: str | None = None
    mask: str | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that takes no part, and why (`reason` is a code, `detail` is for people)."""

    path: str
    reason: str
    detail: str
    label: str | None = None
    sha256: str = ""


@dataclass(frozen=True)
class Legend:
    """What stands in masks: which number, or which colour, is which class.

    Attributes:
        classes: K names; a pixel's class is a position among them.
        values: the number of each class in masks of numbers, `(K,)`.
        colours: the colour of each class, RGB; empty when none are known.
        void: numbers that say "nobody knows".
        void_colours: colours that do.
    """

    classes: tuple[str, ...]
    values: tuple[int, ...]
    colours: tuple[tuple[int, int, int], ...] = ()
    void: tuple[int, ...] = (255,)
    void_colours: tuple[tuple[int, int, int], ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Legend:
        """Back from `dataclasses.asdict`, also by way of JSON.

        Raises:
            TypeError: when the values are not those of a legend.
        """

        def plain(value: Any) -> Any:  # noqa: ANN401
            return tuple(map(plain, value)) if isinstance(value, list | tuple) else value

        return cls(**{k: plain(v) for k, v in values.items()})


@dataclass(frozen=True, slots=True)
class MaskRecord:
    """A mask that was fully decoded.

    Attributes:
        path: its file.
        sha256: of the file's content, hex.
        by_colour: whether its pixels are told by colour; otherwise by number.
        counts: (number, or colour as 0xRRGGBB; pixels), the smallest number first.
        palette: (number, colour) of the numbers that occur, where the file says so.
        areas: pixels of each class, and of void as the last, `(K + 1,)`; empty until the legend is known.
    """

    path: str
    sha256: str
    by_colour: bool
    counts: tuple[tuple[int, int], ...] = field(repr=False)
    palette: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    areas: tuple[int, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One picture that was fully decoded.

    Attributes:
        sha256: of the file's content, hex.
        width, height: pixels, after EXIF orientation.
        file_time: the file's modification time, nanoseconds.
        phash: 64-bit perceptual hash (imagehash's `phash`).
        thumb: 16 × 16 × 3 RGB bytes, for confirming near-duplicates on pixels; empty for very small pictures.
        brightness, contrast: mean and standard deviation of the grey levels, 0-255.
        sharpness: variance of the Laplacian of the grey levels at 128 px.
        camera, taken_at: EXIF maker and model; EXIF time in seconds.
        mask: what each pixel is, where that is what is to be learned.
    """

    path: str
    label: str | None
    split: str | None
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
    mask: MaskRecord | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing, about a data set.

    Attributes:
        code: stable name, e.g. `near_duplicates`.
        severity: `error` (spoils the result), `warning` (weakens it), `note`.
        message: one sentence for a person.
        hint: what to do about it.
        count: how many pictures or groups are concerned.
        paths: the pictures concerned, in groups where they belong together; at most 200 groups.
    """

    code: str
    severity: Severity
    message: str
    hint: str
    count: int
    paths: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Placed:
    """Where one picture went: a row of `split.csv`. `group` joins pictures that must stay together."""

    record: ImageRecord
    side: Side
    group: str
    note: str = ""


@dataclass(frozen=True)
class Split:
    """All pictures on their sides, and all that were left out; `legend` is of their masks, where they have any."""

    placed: tuple[Placed, ...]
    left_out: tuple[LeftOut, ...]
    classes: tuple[str, ...]
    legend: Legend | None = None

    def on(self, side: Side) -> list[Placed]:
        """The pictures of one side, in a stable order."""
        return [p for p in self.placed if p.side == side]

    def without(self, unreached: Collection[str], reason: str, detail: str) -> Split:
        """The same split with the pictures of these hashes left out."""
        gone = [p.record for p in self.placed if p.record.sha256 in unreached]
        return Split(
            tuple(p for p in self.placed if p.record.sha256 not in unreached),
            (*self.left_out, *(LeftOut(r.path, reason, detail, r.label, r.sha256) for r in gone)),
            self.classes,
            self.legend,
        )


@dataclass(frozen=True)
class Dataset:
    """What stage 1 hands on: who learns, calibrates and tests, and what was found on the way.

    Attributes:
        name, root: short name of the data, and the folder that paths are shown relative to.
        images: pictures that were named, read or not.
        findings: of the audit.
        split: every picture on its side.
        task: what is to be learned from them, a name in `tasks.TASKS`.
    """

    name: str
    root: str
    images: int
    findings: tuple[Finding, ...]
    split: Split
    task: str = "classify"


@dataclass(frozen=True)
class Preprocess:
    """How a decoded picture becomes a network's input: the only preprocessing there is.

    The picture (RGB, any size) is resized by `resize` to a square of `size` pixels (by `fit` inside a box), then
    each channel becomes `(value - mean) / std`, with values in 0-255.

    Attributes:
        size: side of the square, pixels; of `fit`'s box the width.
        resize: `crop` shortens the short side to `size / crop_share` and cuts the centre;
            `squash` resizes both sides; `pad` fits the long side and fills with `background`;
            `digit` finds one written character and brings it to MNIST's form (see `data/digit.py`);
            `fit` keeps the shape of the picture, which is made as large as a box allows, or by `scale`.
        channels: 3 for colour, 1 for grey.
        interpolation: `bicubic` or `bilinear`, both antialiased.
        background: what shows through transparency and in padding, RGB 0-255.
        height: of `fit`'s box, pixels; 0: as `size`.
        scale: of `fit`: pictures of any size are made larger or smaller by this, so that things keep the size that
            the network knows them at; the box then only bounds what it learns from. 0: as the box allows.
    """

    size: int = 224
    resize: Literal["crop", "squash", "pad", "digit", "fit"] = "pad"
    crop_share: float = 0.875
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    mean: tuple[float, float, float] = (127.0, 127.0, 127.0)
    std: tuple[float, float, float] = (128.0, 128.0, 128.0)
    background: tuple[int, int, int] = (255, 255, 255)
    channels: Literal[1, 3] = 3
    height: int = 0
    scale: float = 0.0

    @property
    def box(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self.height or self.size, self.size

    def boxed(self, height: int, width: int) -> Preprocess:
        """`fit` with another box; `scale` changes with it."""
        return replace(self, height=height, size=width, scale=self.scale * height / self.box[0])

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """Back from `to_dict`.

        Raises:
            BundleError: when the values are not those of a preprocessing.
        """
        try:
            given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            return cls(**given)
        except (TypeError, AttributeError) as error:
            raise BundleError(f"bundle.json: preprocess: {error}", hint="was the file changed by hand?") from None


@dataclass(frozen=True)
class Backbone:
    """A frozen network that turns pictures into features, by name and by content.

    Attributes:
        name: `lite0` or a timm name.
        dimension: length of the feature vector.
        preprocess: what the weights were trained on.
        weights_sha256: of the weights' file.
        blob: the hash-checked file of weights.
        graph: a model file that OpenVINO reads without torch, when there is one already.
        stage_dimension: numbers that pooling every stage in 2 × 2 places adds to the features; 0: unknown stages.
        stages: how many, between the stem and the pooled features; 0: unknown.
    """

    name: str
    dimension: int
    preprocess: Preprocess
    weights_sha256: str
    blob: Path | None
    graph: Path | None = None
    stage_dimension: int = 0
    stages: int = 0


@dataclass(frozen=True)
class Manifest:
    """`bundle.json`: what a model is, apart from its numbers.

    A model is a linear head on a frozen `backbone` that is installed with foveal, or a `network` of
    its own, as the arguments of `models.networks.build`.

    Attributes:
        backbone, backbone_sha256: the trunk by name, and its weights; None for a network.
        weights_sha256: of the bundle's own `weights.safetensors`.
        views: looks at each picture whose answers are averaged.
        temperature, set_threshold: calibration, see `fit/calibration.py`.
        outside: the network's last output stands for "none of the classes".
        unknown_threshold: probability of that output from which on a picture is called unknown.
        provenance: where the model comes from.
        legend: numbers and colours of the classes in masks, of a model that answers with masks.
    """

    task: str
    classes: tuple[str, ...]
    backbone: str | None
    backbone_sha256: str | None
    weights_sha256: str
    preprocess: Preprocess
    views: tuple[str, ...]
    temperature: float
    set_threshold: float
    provenance: Mapping[str, Any]
    network: Mapping[str, Any] | None = None
    outside: bool = False
    unknown_threshold: float = 0.5
    legend: Legend | None = None
    schema: int = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {**asdict(self), "preprocess": self.preprocess.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Manifest:
        """Read a manifest.

        Raises:
            BundleError: when a field is missing or the schema is newer than this foveal.
        """
        if not isinstance(values, Mapping):
            raise BundleError("bundle.json holds no object", hint="the file was changed by hand?")
        if values.get("schema") != SCHEMA:
            raise BundleError(
                f"this bundle has schema {values.get('schema')!r}, this foveal reads {SCHEMA}",
                hint="upgrade foveal, or train again",
            )
        try:
            known: dict[str, Any] = {
                k: values[k] if f.default is MISSING else values.get(k, f.default)
                for k, f in cls.__dataclass_fields__.items()
            }
        except KeyError as missing:
            raise BundleError(f"bundle.json lacks {missing}", hint="the file was changed by hand?") from None
        known["preprocess"] = Preprocess.from_dict(known["preprocess"])
        try:
            known["legend"] = Legend.from_dict(known["legend"]) if known["legend"] is not None else None
        except (TypeError, AttributeError) as error:
            raise BundleError(f"bundle.json: legend: {error}", hint="was the file changed by hand?") from None
        known = {k: tuple(v) if isinstance(v, list) else v for k, v in known.items()}
        return cls(**known)


@dataclass
class Decisions:
    """What the clock or a probe chose, so that a run can be explained, resumed and repeated.

    Attributes:
        made: name → `{"value": …, "reason": …}`, in the order in which it was decided.
        on_new: called after each new decision; the flow writes it down before anything acts on it.
        given: names of those that an earlier process had made.
    """

    made: dict[str, Any] = field(default_factory=dict)
    on_new: Callable[[], None] = lambda: None
    given: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.given = frozenset(self.made)

    def record(self, name: str, value: object, reason: str) -> None:
        """Write down one choice with its reason in words."""
        self.made[name] = {"value": value, "reason": reason}
        self.on_new()

    def settle(self, name: str, choose: Callable[[], tuple[Any, str]]) -> Any:  # noqa: ANN401
        """The choice made earlier, if this run goes on or is repeated; otherwise choose now and write it down."""
        if name not in self.made:
            self.record(name, *choose())
        return self.made[name]["value"]
