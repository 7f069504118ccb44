"""A bundle → what predicts with it, by its task. A predictor of another task is registered here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

from foveal.errors import UnknownName, UsageError
from foveal.inference.bundle import Bundle, load_bundle
from foveal.inference.classifier import ClassificationPredictor
from foveal.inference.inputs import ImageInput
from foveal.inference.multi_label import MultiLabelPredictor
from foveal.inference.segmenter import SegmentationPredictor

#: What an engine may compute in.
PRECISIONS = ("fp32", "bf16")


class Predictor(Protocol):
    """What predicts with a bundle. Any number of threads may share one."""

    @property
    def bundle(self) -> Bundle:
        """The model."""
        ...

    def stream(self, images: Iterable[ImageInput], *, topk: int = ...) -> Iterator[Any]:
        """Predictions in the order of the images; what can't be read becomes a prediction with an `error`.

        Args:
            images: taken as they are needed.
            topk: how many classes a prediction lists, for tasks whose predictions list any.
        """
        ...


@runtime_checkable
class MakesGraphs(Protocol):
    """A predictor that converts its network for a CPU, once, so that later predictions go without torch."""

    def make_graphs(self, images: Iterable[ImageInput]) -> None:
        """Convert it now, into the cache, rather than at the first prediction.

        Args:
            images: some that it was trained on: the converted network is compared with torch on them.
        """
        ...


class MakePredictor(Protocol):
    """Makes the predictor of a bundle; see `load_predictor` for the arguments."""

    def __call__(self, bundle: Bundle, *, precision: str | None, memory: int | None) -> Predictor:
        """See `load_predictor`."""
        ...


def _classification(bundle: Bundle, *, precision: str | None, memory: int | None) -> Predictor:
    return ClassificationPredictor(bundle, precision=precision)  # its batches are small: memory is no concern


def _multi_label(bundle: Bundle, *, precision: str | None, memory: int | None) -> Predictor:
    return MultiLabelPredictor(bundle, precision=precision)


def _segmentation(bundle: Bundle, *, precision: str | None, memory: int | None) -> Predictor:
    return SegmentationPredictor(bundle, precision=precision, memory=memory)


#: By the task in `bundle.json`.
PREDICTORS: dict[str, MakePredictor] = {
    "classify": _classification,
    "multi-label": _multi_label,
    "segment": _segmentation,
}


def register_predictor(task: str, make: MakePredictor) -> None:
    """Predict with bundles of a task by what `make` makes of them."""
    PREDICTORS[task] = make


def check_precision(precision: str | None) -> None:
    """Refuse a precision that no engine has.

    Raises:
        UsageError: naming those that there are.
    """
    if precision not in (None, *PRECISIONS):
        raise UsageError(f"invalid precision {precision!r}", hint=" or ".join(PRECISIONS))


def predictor_of(bundle: Bundle, *, precision: str | None = None, memory: int | None = None) -> Predictor:
    """The predictor of a bundle that was read already; the arguments are those of `load_predictor`.

    Raises:
        UnknownName: when no predictor is registered for its task.
    """
    task = bundle.manifest.task
    if task not in PREDICTORS:
        raise UnknownName("task", task, PREDICTORS)
    return PREDICTORS[task](bundle, precision=precision, memory=memory)


def load_predictor(
    run: str | os.PathLike[str], *, precision: str | None = None, memory: int | None = None
) -> Predictor:
    """What predicts with a run, a bundle or `model:NAME`.

    Args:
        run: the folder, or the name.
        precision: pins `fp32` or `bf16`.
        memory: bytes that one pass of a network on a whole image may take; by default half of what is left.

    Raises:
        BundleError: when there is no usable model in it.
        UnknownName: when no predictor is registered for its task.
    """
    return predictor_of(load_bundle(os.fspath(run)), precision=precision, memory=memory)
