"""What `summary.json` and evaluations contain, for type checkers. Keys that a task does not have are absent."""

from __future__ import annotations

from typing import TypedDict


class ClassFigures(TypedDict, total=False):
    """Figures of one class; those of masks have `iou`, `boundary_f1` and `share`, the share of the pixels."""

    label: str
    n: int
    recall: float | None
    precision: float | None
    iou: float | None
    boundary_f1: float | None
    share: float
    average_precision: float | None
    average_precision_ci95: list[float] | None
    f1: float | None
    threshold: float


class Selection(TypedDict):
    """Accuracy on the `n` images that the strategy was chosen by, and on the others, with its difference."""

    n: int
    accuracy: float
    other_n: int
    other_accuracy: float
    difference_ci95: list[float]


class Figures(TypedDict, total=False):
    """Figures on `n` images; `_ci95` is a 95 % interval, None where none can be given.

    `method` is what they are of: `subset`, the test subset; `cv`, every image in its turn, in `folds` folds, each by a
    model of about `fold_images` images, with variances `variance_effect` times those of independent images. Then
    `subset` holds the figures of the test subset.
    """

    n: int
    accuracy: float
    accuracy_ci95: list[float] | None
    balanced_accuracy: float
    macro_f1: float
    log_loss: float
    ece: float
    ece_ci95: list[float] | None
    reliability: list[dict[str, float]]
    miou: float
    miou_ci95: list[float] | None
    pixel_accuracy: float
    boundary_f1: float
    map: float
    map_ci95: list[float] | None
    micro_f1: float
    subset_accuracy: float
    hamming_loss: float
    per_class: list[ClassFigures]
    confusion: list[list[int]]
    classes_not_tested: list[str]
    method: str
    folds: int
    fold_images: int
    groups: int
    variance_effect: float
    selection: Selection | None
    subset: Figures


class LeftOut(TypedDict):
    """A file that was not used, and why."""

    path: str
    reason: str
    detail: str


class Evaluation(TypedDict):
    """What `evaluate` returns; `test_looks` counts the evaluations on these images, `seen` the training images."""

    data: str
    test: Figures
    test_looks: int
    seen: int
    left_out: list[LeftOut]


class DataFigures(TypedDict):
    """What was read; `no_time` counts those of the excluded images that there was no time for."""

    name: str
    root: str
    images: int
    classes: list[str]
    used: int
    excluded: int
    no_time: int


class CandidateFigures(TypedDict):
    """A strategy that was tried; `score` is that of the comparison, not of the test subset."""

    name: str
    seconds: float
    score: float | None
    ci95: list[float] | None


class StrategyFigures(TypedDict):
    """The strategy that was kept, and those that were tried."""

    name: str
    reason: str
    candidates: list[CandidateFigures]


class RefitFigures(TypedDict):
    """Whether the delivered model was refitted after the measurement; the images that it was fitted on; why."""

    done: bool
    images: int
    seconds: float
    reason: str


class CurvePoint(TypedDict):
    """Accuracy of heads that were fitted on so many images, on images that they had not seen."""

    images: int
    accuracy: float


class CurveForm(TypedDict):
    """What one functional form gives at twice the images, and its weight."""

    name: str
    weight: float
    accuracy: float


class Twice(TypedDict):
    """What twice the images are expected to give."""

    images: int
    accuracy: float
    ci95: list[float]
    forms: list[CurveForm]


class LearningCurve(TypedDict):
    """How accuracy grows with the images; `classes` are those of the largest point, the lowest recall first."""

    points: list[CurvePoint]
    images: int
    twice: Twice
    classes: list[ClassFigures]


class Prior(TypedDict):
    """The shares of classes that a linear head assumes, and the tau of its logit adjustment."""

    tau: float
    shares: dict[str, float]


class Summary(TypedDict):
    """The content of `summary.json`."""

    schema: int
    version: str
    task: str
    status: str
    model: str
    engine: str
    data: DataFigures
    split: dict[str, int]
    strategy: StrategyFigures
    test: Figures
    test_looks: int
    refit: RefitFigures
    learning_curve: LearningCurve | None
    prior: Prior | None
    time: dict[str, float]
    memory: dict[str, int | None]
