"""The Python door: an estimator in scikit-learn's manner, and `load`."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.clock import Clock
from foveal.config import TrainConfig
from foveal.errors import DataError, FovealError, UsageError
from foveal.ship import Bundle, Predictor, find_pictures, load_bundle, save_bundle
from foveal.ship.masks import MaskPredictor
from foveal.ship.predictor import Picture
from foveal.tasks import find_task


class NotFitted(FovealError, ValueError, AttributeError):
    """A model was asked before it was fitted (also scikit-learn's way to say so)."""


class _Estimator:
    """What a classifier and a segmenter have in common."""

    _PARAMETERS: tuple[str, ...]
    _TASK: str
    out: str | None
    run_: Path
    summary_: dict[str, Any]

    def _train(
        self,
        data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        answers: Iterable[object] | None,
        column: str,
    ) -> None:
        """A run from what names its own answers, or from paths with their answers in a table of this column."""
        from foveal.flow import train

        settings = {name: getattr(self, name) for name in self._PARAMETERS if name != "out"}
        config = TrainConfig(**settings, task=self._TASK)
        clock = Clock(config.budget)
        if answers is None:
            if not isinstance(data, str | os.PathLike):
                raise UsageError(f"paths without {column}s", hint=f"fit(folder), or fit(paths, {column}s)")
            self.run_, self.summary_ = train(data, config, out=self.out, clock=clock)
            return
        if isinstance(data, str | os.PathLike):
            raise UsageError(f"{column}s for one path", hint=f"fit(folder), or fit([path, ...], [{column}, ...])")
        with tempfile.TemporaryDirectory(prefix="foveal-") as folder:
            table = _as_table(list(data), list(answers), Path(folder) / "data.jsonl", column)
            self.run_, self.summary_ = train(table, config, out=self.out, clock=clock)

    def evaluate(self, data: str | os.PathLike[str] | None = None) -> dict[str, Any]:
        """Figures with intervals, on the run's test side or on other data of the same kind."""
        task = find_task(self._bundle().manifest.task)
        return task.evaluate(self.run_, data)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the bundle into a new folder.

        Raises:
            UsageError: when the folder has something in it.
        """
        target = Path(folder)
        if target.exists() and any(target.iterdir()):
            raise UsageError(f"{target} is not empty", hint="give a new folder")
        save_bundle(self._bundle(), target)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Settings by name."""
        return {name: getattr(self, name) for name in self._PARAMETERS}

    def set_params(self, **params: Any) -> Self:  # noqa: ANN401
        """Change settings by name.

        Raises:
            UsageError: at a name that is no setting.
        """
        for name, value in params.items():
            if name not in self._PARAMETERS:
                raise UsageError(f"{name!r} is no setting", hint=f"one of {', '.join(self._PARAMETERS)}")
            setattr(self, name, value)
        return self

    def _bundle(self) -> Bundle:
        raise NotImplementedError


class ImageClassifier(_Estimator):
    """A classifier of pictures, trained inside a time budget.

    Args:
        time: budget of `fit`, e.g. `90s`, `10m`.
        seed: of the split and everything random.
        backbone: `lite0`, or a timm model whose weights are on this machine.
        group_by: regular expression on paths; what it captures stays on one side of the split.
        test: whether pictures are held out to test on, or, where those lie elsewhere, all are learned from.
        strategy: pins a rung of the ladder.
        augment: how much pictures may change while a network is tuned: `auto`, `none`, `light`, `strong`.
        out: the run folder; by default one under `runs/`.

    Attributes:
        classes_: `(K,)` names, sorted, as in scikit-learn.
        summary_: what stands in `summary.json`.
        run_: the run folder.
    """

    def __init__(
        self,
        *,
        time: str = "10m",
        seed: int = 0,
        backbone: str = "lite0",
        group_by: str | None = None,
        test: bool = True,
        strategy: str | None = None,
        augment: str = "auto",
        out: str | None = None,
    ) -> None:
        self.time = time
        self.seed = seed
        self.backbone = backbone
        self.group_by = group_by
        self.test = test
        self.strategy = strategy
        self.augment = augment
        self.out = out
        self._predictor: Predictor | None = None

    _PARAMETERS = ("time", "seed", "backbone", "group_by", "test", "strategy", "augment", "out")
    _TASK = "classify"

    def fit(
        self,
        data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        labels: Iterable[object] | None = None,
    ) -> Self:
        """Train on a folder, a CSV, `sample:NAME`, or on paths with their labels.

        Raises:
            FovealError: see `foveal.errors`.
        """
        self._train(data, labels, "label")
        self._predictor = Predictor.load(self.run_)
        return self

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The names of the classes, sorted, `(K,)`."""
        return np.array(self._fitted().bundle.manifest.classes)

    def predict(self, pictures: Picture | Sequence[Picture]) -> NDArray[np.str_]:
        """The likeliest class of each picture, `(N,)`.

        Args:
            pictures: a path, a folder, a Pillow image, an array `(H, W, 3)`, or a list of these.

        Raises:
            UnreadableImage: at the first picture that can't be read.
        """
        return np.asarray(self.classes_[self.predict_proba(pictures).argmax(axis=1)])

    def predict_proba(self, pictures: Picture | Sequence[Picture]) -> NDArray[np.float32]:
        """Calibrated probabilities, `(N, K)`, columns as in `classes_`."""
        return self._fitted().probabilities(_each(pictures))

    def score(self, pictures: Sequence[Picture], labels: Sequence[object]) -> float:
        """Accuracy on these pictures."""
        return float((self.predict(pictures) == np.array([str(x) for x in labels])).mean())

    def _fitted(self) -> Predictor:
        if self._predictor is None:
            raise NotFitted("this classifier is not fitted yet", hint="call fit(), or foveal.load(run)")
        return self._predictor

    def _bundle(self) -> Bundle:
        return self._fitted().bundle


class Segmenter(_Estimator):
    """Says of each pixel what it is; trained inside a time budget.

    Args:
        time: budget of `fit`, e.g. `90s`, `10m`.
        seed: of the split and everything random.
        backbone: the encoder: `lite0`, or a timm model whose weights are on this machine.
        group_by: regular expression on paths; what it captures stays on one side of the split.
        test: whether pictures are held out to test on, or, where those lie elsewhere, all are learned from.
        strategy: pins a rung of the ladder.
        augment: `none` leaves mirroring out, too.
        classes: file with the names of the classes in masks; by default the one beside them.
        void: class or number in masks that says "nobody knows".
        out: the run folder; by default one under `runs/`.

    Attributes:
        classes_: `(K,)` names; a mask holds positions in them.
        summary_: what stands in `summary.json`.
        run_: the run folder.
    """

    _PARAMETERS = ("time", "seed", "backbone", "group_by", "test", "strategy", "augment", "classes", "void", "out")
    _TASK = "segment"

    def __init__(
        self,
        *,
        time: str = "10m",
        seed: int = 0,
        backbone: str = "lite0",
        group_by: str | None = None,
        test: bool = True,
        strategy: str | None = None,
        augment: str = "auto",
        classes: str | None = None,
        void: str | None = None,
        out: str | None = None,
    ) -> None:
        self.time = time
        self.seed = seed
        self.backbone = backbone
        self.group_by = group_by
        self.test = test
        self.strategy = strategy
        self.augment = augment
        self.classes = classes
        self.void = void
        self.out = out
        self._predictor: MaskPredictor | None = None

    def fit(
        self,
        data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        masks: Sequence[str | os.PathLike[str]] | None = None,
    ) -> Self:
        """Train on a folder with `images/` and `masks/`, a CSV, `sample:NAME`, or on paths with their masks'.

        Raises:
            FovealError: see `foveal.errors`.
        """
        whole = None if masks is None else [os.path.abspath(os.fspath(m)) for m in masks]
        self._train(data, whole, "mask")
        self._predictor = MaskPredictor.load(self.run_)
        return self

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The names of the classes, `(K,)`."""
        return np.array(self._bundle().manifest.classes)

    def predict(self, pictures: Picture | Sequence[Picture]) -> list[NDArray[np.uint8]]:
        """A mask `(H, W)` for each picture, of its size: positions in `classes_`.

        Args:
            pictures: a path, a folder, a Pillow image, an array `(H, W, 3)`, or a list of these.

        Raises:
            DataError: at the first picture that can't be read.
        """
        found = []
        for prediction in self._fitted().stream(_each(pictures)):
            if prediction.mask is None:
                raise DataError(f"{prediction.path}: {prediction.error}", hint="leave it out")
            found.append(prediction.mask)
        return found

    def score(self, data: str | os.PathLike[str]) -> float:
        """Mean IoU on pictures with masks."""
        return float(self.evaluate(data)["test"]["miou"])

    def _fitted(self) -> MaskPredictor:
        if self._predictor is None:
            raise NotFitted("this segmenter is not fitted yet", hint="call fit(), or foveal.load(run)")
        return self._predictor

    def _bundle(self) -> Bundle:
        return self._fitted().bundle


def load(run: str | os.PathLike[str]) -> Any:  # noqa: ANN401
    """A trained `ImageClassifier` or `Segmenter` from a run folder or a bundle.

    Raises:
        BundleError: when there is no usable model in it.
    """
    bundle = load_bundle(Path(run))
    model: ImageClassifier | Segmenter
    if bundle.manifest.legend is not None:
        model = Segmenter()
        model._predictor = MaskPredictor(bundle)
    else:
        model = ImageClassifier()
        model._predictor = Predictor(bundle)
    model.run_ = Path(run)
    return model


def _each(pictures: Picture | Sequence[Picture]) -> Iterable[Picture]:
    if isinstance(pictures, str | os.PathLike):
        return find_pictures([pictures])
    if isinstance(pictures, np.ndarray):
        if pictures.dtype.kind in "UO":  # names, not pixels
            return [p if isinstance(p, str | os.PathLike | Image.Image) else str(p) for p in pictures.ravel()]
        return pictures if pictures.ndim == 4 else [pictures]
    return pictures if isinstance(pictures, list | tuple) else [pictures]  # type: ignore[list-item]


def _as_table(
    paths: list[str | os.PathLike[str]], labels: list[object], table: Path, column: str = "label"
) -> Path:
    """As JSON lines, which keep every character of a name."""
    if len(paths) != len(labels):
        raise UsageError(f"{len(paths)} paths and {len(labels)} {column}s", hint=f"give one {column} a path")
    rows = [{"path": os.path.abspath(os.fspath(p)), column: str(x)} for p, x in zip(paths, labels, strict=True)]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    table.write_text(text, encoding="utf-8", errors="surrogateescape")
    return table
