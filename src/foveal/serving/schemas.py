"""The JSON of the API: the server writes it, the client reads it, and the OpenAPI document is made of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from foveal.schema import Share


class ClassProbability(Struct, frozen=True):
    """A class with its calibrated probability."""

    label: str
    probability: Share


class ClassShare(Struct, frozen=True):
    """A class with its share of an image's pixels."""

    label: str
    share: Share


class HeatMap(Struct, frozen=True):
    """Predictions all over an image, drawn.

    Attributes:
        label: the class that is shown as heat.
        heat: its probability at each place: a JPEG in a data URI.
        likeliest: the likeliest class at each place: a JPEG in a data URI.
        shape: rows and columns of predictions.
        window: side of the square that a prediction is about, pixels of the image.
        stride: distance from one prediction to the next, pixels of the image.
    """

    label: str
    heat: str
    likeliest: str
    shape: tuple[int, int]
    window: float
    stride: float


class ImageError(Struct, frozen=True):
    """Why an image could not be read: `code` is one of `data.images.decode.REASONS`."""

    code: str
    detail: str


class ImageAnswer(Struct, frozen=True, omit_defaults=True):
    """The prediction for one image: a classifier gives probabilities, a segmenter shares and a mask.

    Attributes:
        name: what the client called the image; only to tell answers apart.
        label: the likeliest class, or the one with most pixels.
        probability: of the class, calibrated.
        topk: the likeliest classes.
        set: holds the true class as often as the `coverage` of the model says.
        unknown: whether the image is none of the classes; absent: this model can't tell.
        p_value: share of images like the training images that are at least as unusual; absent: not known.
        labels: all that are predicted, the most probable first, of a model that gives several labels to an image.
        map: where it was asked for.
        shares: classes by their share of the pixels.
        size: width and height of the image.
        mask: a PNG in a data URI; its values are positions in the classes.
        error: why there is no prediction.
    """

    name: str
    label: str | None = None
    probability: Share | None = None
    topk: tuple[ClassProbability, ...] = ()
    set: tuple[str, ...] = ()
    unknown: bool | None = None
    p_value: Share | None = None
    labels: tuple[str, ...] | None = None
    map: HeatMap | None = None
    shares: tuple[ClassShare, ...] = ()
    size: tuple[int, int] | None = None
    mask: str | None = None
    error: ImageError | None = None


class Predictions(Struct, frozen=True):
    """The answer to `/v1/predict`.

    Attributes:
        model: the first 16 digits of the SHA-256 of the model's weights.
        predictions: in the order of the images.
    """

    model: str
    predictions: tuple[ImageAnswer, ...]
    schema: Literal[1] = 1


class Limits(Struct, frozen=True):
    """What the server accepts; see the settings of the same names."""

    max_bytes: int
    max_images: int
    max_pixels: int
    deadline_s: float
    queue: int


class Model(Struct, frozen=True):
    """The answer to `/v1/model`.

    Attributes:
        name: of the data that it was trained on.
        task: `classify`, `multi-label` or `segment`.
        sha256: of its weights.
        input: channels, height and width.
        knows_unknown: whether answers say `unknown`.
        maps, corrections: whether there are heat maps, and whether mistakes can be corrected here.
        has_run: whether `/v1/run` has its figures.
        needs_token: whether all of `/v1` needs the token.
        colours: of the classes of masks, `#rrggbb`.
        coverage: share of new images whose prediction set is to hold the true class.
        provenance: where it comes from.
        version: of foveal.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    sha256: str
    input: tuple[int, int, int]
    knows_unknown: bool
    maps: bool
    corrections: bool
    has_run: bool
    needs_token: bool
    limits: Limits
    provenance: dict[str, Any]
    version: str
    colours: tuple[str, ...] = ()
    coverage: float = 0.9
    schema: Literal[1] = 1


class Drift(Struct, frozen=True):
    """The answer to `/v1/drift`: scores since the start of this process, beside those at training time.

    Attributes:
        images, unknown: how many were answered, and how many of them are none of the classes.
        window: images that are compared at once.
        windows, alarms: how many windows were full, and how many of them differed from the validation images.
        false_alarm_rate: the probability of an alarm for a window of images that are like the validation images.
        bounds: upper bounds of all but the last bin of the histograms.
        validation: scores of the validation images; null: the model does not have them.
        last_window: scores of the last full window.
        p_value: of the last full window.
        alarm: whether it differs.
    """

    images: int
    unknown: int
    window: int
    windows: int
    alarms: int
    false_alarm_rate: float
    bounds: tuple[float, ...]
    validation: tuple[int, ...] | None
    last_window: tuple[int, ...] | None
    p_value: float | None
    alarm: bool
    schema: Literal[1] = 1


class Stored(Struct, frozen=True):
    """The answer to `/v1/corrections`: how many there are, and where."""

    count: int
    folder: str
    schema: Literal[1] = 1


class ProblemDocument(Struct, frozen=True):
    """An error, RFC 9457: `code` is stable, `detail` and `hint` are for people."""

    type: str
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    code: str
    detail: str
    hint: str
