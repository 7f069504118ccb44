"""The Python API: estimators with the interface of scikit-learn, and `load`."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from foveal.clock import Clock
from foveal.config import (
    OUT_HELP,
    SegmentSettings,
    TrainConfig,
    TrainSettings,
    setting,
    settings_of,
    with_settings_documented,
)
from foveal.errors import DataError, FovealError, UnknownName, UsageError
from foveal.inference.bundle import Bundle, load_bundle, save_bundle
from foveal.inference.classifier import ClassificationPredictor
from foveal.inference.inputs import ImageInput, each_image
from foveal.inference.predictor import predictor_of
from foveal.inference.segmenter import SegmentationPredictor
from foveal.output_files import check_folder


class NotFitted(FovealError, ValueError, AttributeError):
    """An estimator was used before `fit`. Of the same kinds as `sklearn.exceptions.NotFittedError`."""


@dataclass(kw_only=True, eq=False)
class _Estimator(TrainSettings):
    """The parameters and methods that `ImageClassifier` and `Segmenter` share."""

    _TASK: ClassVar[str]

    out: str | None = setting(None, help=OUT_HELP)
    run_: Path = field(init=False, repr=False)
    summary_: dict[str, Any] = field(init=False, repr=False)

    def _train(
        self,
        data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        targets: Iterable[object] | None,
        column: str,
    ) -> None:
        """Train on data that contain their targets, or on paths, whose targets become this column of a table."""
        from foveal.flow import train

        settings = {name: value for name, value in self.get_params().items() if name != "out"}
        config = TrainConfig(**settings, task=self._TASK)
        clock = Clock(config.budget)
        if targets is None:
            if not isinstance(data, str | os.PathLike):
                raise UsageError(f"paths without {column}s", hint=f"fit(folder), or fit(paths, {column}s)")
            self.run_, self.summary_ = train(data, config, out=self.out, clock=clock)
            return
        if isinstance(data, str | os.PathLike):
            raise UsageError(
                f"{column}s for a single path", hint=f"fit(folder), or fit([path, ...], [{column}, ...])"
            )
        with tempfile.TemporaryDirectory(prefix="foveal-") as folder:
            table = _as_table(list(data), list(targets), Path(folder) / "data.jsonl", column)
            self.run_, self.summary_ = train(table, config, out=self.out, clock=clock)

    def evaluate(
        self, data: str | os.PathLike[str] | None = None, *, include_seen: bool = False
    ) -> dict[str, Any]:
        """Figures with intervals, on the run's test subset or on other data of the same kind.

        Images that the run was trained on are left out, with their near-duplicates, unless `include_seen`.
        """
        from foveal.tasks import find_task

        return find_task(self._bundle().manifest.task).evaluate(self.run_, data, include_seen=include_seen)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the bundle to a new or empty folder.

        Raises:
            UsageError: when the folder is not empty, not a folder, or can't be written to.
        """
        bundle = self._bundle()
        check_folder(Path(folder), empty=True)
        save_bundle(bundle, Path(folder))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters of the constructor, by name. `deep` is there for scikit-learn and has no effect."""
        return {name: getattr(self, name) for name in settings_of(type(self))}

    def set_params(self, **params: Any) -> Self:  # noqa: ANN401
        """Set parameters of the constructor by name. They are checked by `fit`.

        Raises:
            UnknownName: for a name that is not a parameter.
        """
        known = settings_of(type(self))
        for name, value in params.items():
            if name not in known:
                raise UnknownName("parameter", name, known)
            setattr(self, name, value)
        return self

    def _bundle(self) -> Bundle:
        raise NotImplementedError


@with_settings_documented
@dataclass(kw_only=True, eq=False)
class ImageClassifier(_Estimator):
    """An image classifier that is trained within a time budget, with the interface of scikit-learn.

    Args:
        {settings}

    Attributes:
        classes_: `(K,)` class names, sorted, as in scikit-learn.
        summary_: the content of `summary.json`.
        run_: the run folder.
    """

    _TASK = "classify"
    _predictor: ClassificationPredictor | None = field(default=None, init=False, repr=False)

    def fit(
        self,
        data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        labels: Iterable[object] | None = None,
    ) -> Self:
        """Train on a folder, a CSV or JSONL file, `sample:NAME`, or on paths and their labels.

        Raises:
            FovealError: see `foveal.errors`.
        """
        self._train(data, labels, "label")
        self._predictor = ClassificationPredictor.load(self.run_)
        return self

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The class names, sorted, `(K,)`."""
        return np.array(self._fitted().bundle.manifest.classes)

    def predict(self, images: ImageInput | Sequence[ImageInput]) -> NDArray[np.str_]:
        """The likeliest class of each image, `(N,)`. Threads may share a model.

        Args:
            images: a path, a folder, a glob, the content of an image file as bytes, a binary file object, a Pillow
                image, an array `(H, W, 3)`, or a list of these.

        Raises:
            UnreadableImage: at the first image that can't be read.
        """
        return np.asarray(self.classes_[self.predict_proba(images).argmax(axis=1)])

    def predict_proba(self, images: ImageInput | Sequence[ImageInput]) -> NDArray[np.float32]:
        """Calibrated probabilities, `(N, K)`, columns as in `classes_`."""
        return self._fitted().probabilities(each_image(images))

    def score(self, images: Sequence[ImageInput], labels: Sequence[object]) -> float:
        """Accuracy on these images."""
        return float((self.predict(images) == np.array([str(x) for x in labels])).mean())

    def _fitted(self) -> ClassificationPredictor:
        if self._predictor is None:
            raise NotFitted("this classifier is not fitted yet", hint="call fit(), or foveal.load(run)")
        return self._predictor

    def _bundle(self) -> Bundle:
        return self._fitted().bundle


@with_settings_documented
@dataclass(kw_only=True, eq=False)
class Segmenter(SegmentSettings, _Estimator):
    """A semantic segmenter, one class per pixel, that is trained within a time budget.

    Args:
        {settings}

    Attributes:
        classes_: `(K,)` class names; the values of a mask are indices into it.
        summary_: the content of `summary.json`.
        run_: the run folder.
    """

    _TASK = "segment"
    _predictor: SegmentationPredictor | None = field(default=None, init=False, repr=False)

    def fit(
        self,
        data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        masks: Sequence[str | os.PathLike[str]] | None = None,
    ) -> Self:
        """Train on a folder with `images/` and `masks/`, a CSV or JSONL file, `sample:NAME`, or on paths of images
        and of their masks.

        Raises:
            FovealError: see `foveal.errors`.
        """
        whole = None if masks is None else [os.path.abspath(os.fspath(m)) for m in masks]
        self._train(data, whole, "mask")
        self._predictor = SegmentationPredictor.load(self.run_)
        return self

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The class names, `(K,)`."""
        return np.array(self._bundle().manifest.classes)

    def predict(self, images: ImageInput | Sequence[ImageInput]) -> list[NDArray[np.uint8]]:
        """A mask `(H, W)` for each image, of its size: positions in `classes_`. Threads may share a model.

        Args:
            images: a path, a folder, a glob, the content of an image file as bytes, a binary file object, a Pillow
                image, an array `(H, W, 3)`, or a list of these.

        Raises:
            DataError: at the first image that can't be read.
        """
        masks = []
        for prediction in self._fitted().stream(each_image(images)):
            if prediction.mask is None:
                raise DataError(f"{prediction.path}: {prediction.error}", hint="leave it out")
            masks.append(prediction.mask)
        return masks

    def score(self, data: str | os.PathLike[str]) -> float:
        """Mean IoU on images with masks."""
        return float(self.evaluate(data, include_seen=True)["test"]["miou"])

    def _fitted(self) -> SegmentationPredictor:
        if self._predictor is None:
            raise NotFitted("this segmenter is not fitted yet", hint="call fit(), or foveal.load(run)")
        return self._predictor

    def _bundle(self) -> Bundle:
        return self._fitted().bundle


#: The estimator of each task, by the name in `bundle.json`.
_ESTIMATORS: dict[str, type[ImageClassifier | Segmenter]] = {
    estimator._TASK: estimator for estimator in (ImageClassifier, Segmenter)
}


def load(run: str | os.PathLike[str]) -> Any:  # noqa: ANN401
    """A trained `ImageClassifier` or `Segmenter` from a run folder, a bundle or `model:NAME`.

    For a task that was registered from outside the package, its predictor.

    Raises:
        BundleError: when there is no usable model in it.
        UnknownName: when its task has no predictor.
    """
    bundle = load_bundle(Path(run))
    task = bundle.manifest.task
    if task not in _ESTIMATORS:
        return predictor_of(bundle)
    model: Any = _ESTIMATORS[task]()
    model._predictor = predictor_of(bundle)
    model.run_ = Path(run)
    return model


def _as_table(
    paths: list[str | os.PathLike[str]], labels: list[object], table: Path, column: str = "label"
) -> Path:
    """Write paths and labels as JSON lines, which can hold every character of a file name."""
    if len(paths) != len(labels):
        raise UsageError(f"{len(paths)} paths and {len(labels)} {column}s", hint=f"give one {column} per path")
    rows = [{"path": os.path.abspath(os.fspath(p)), column: str(x)} for p, x in zip(paths, labels, strict=True)]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    table.write_text(text, encoding="utf-8", errors="surrogateescape")
    return table
