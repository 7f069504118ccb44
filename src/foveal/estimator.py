"""The Python API: estimators with the interface of scikit-learn, and `load`."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self, TypeGuard, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.clock import Clock
from foveal.config import (
    OUT_HELP,
    ClassifySettings,
    SegmentSettings,
    TrainConfig,
    TrainSettings,
    setting,
    settings_of,
    with_settings_documented,
)
from foveal.data.images.array_batches import SupportsArray, is_array
from foveal.data.sources.datasets import materialise
from foveal.data.sources.in_memory import check_counts, keep_images, keep_masks, write_table
from foveal.data.sources.tables import holds_lists
from foveal.data.wording import count_of
from foveal.devices import require_device, using_device
from foveal.errors import BundleError, DataError, FovealError, UnknownName, UsageError
from foveal.figures import Evaluation, Summary
from foveal.files import read_json
from foveal.inference.bundle import Bundle, load_bundle, save_bundle
from foveal.inference.class_labels import KIND, ClassLabels, kind_of, label_column, names_of
from foveal.inference.classifier import ClassificationPredictor
from foveal.inference.inputs import ImageDataset, ImageInput, Images, each_image, each_item
from foveal.inference.label_columns import LabelColumns, LabelRows, are_label_rows, label_rows
from foveal.inference.multi_label import MultiLabelPredictor
from foveal.inference.segmenter import SegmentationPredictor
from foveal.output_files import check_folder
from foveal.run_folder import Run
from foveal.sklearn_base import BaseEstimator, ClassifierMixin, NotFittedError, Tags

if TYPE_CHECKING:
    import torch

    from foveal.evaluation.run_samples import Sample

PathLike = str | os.PathLike[str]
#: What `fit` takes: a path or `sample:NAME`, a data set as torchvision has them, or images.
TrainingData = PathLike | ImageDataset | Iterable[ImageInput] | SupportsArray
#: Labels or masks, one for each image.
Targets = Iterable[object] | SupportsArray

#: Parameters that are no settings of a run.
_OWN = ("out", "verbose")
_OUT_HELP = f"{OUT_HELP} A further fit takes OUT-2, then OUT-3, and so on."
#: What a pickled estimator holds instead of its predictor.
_FILES = "_bundle_files"


class NotFitted(FovealError, NotFittedError):
    """An estimator was used before `fit`. A `sklearn.exceptions.NotFittedError` as well."""


@dataclass(kw_only=True, eq=False, repr=False)
class _Estimator(BaseEstimator, TrainSettings):
    """The parameters and methods that `ImageClassifier` and `Segmenter` share."""

    _TASKS: ClassVar[tuple[str, ...]]
    _COLUMN: ClassVar[str]

    out: PathLike | None = setting(None, help=_OUT_HELP)  # noqa: RUF009  (a field)
    verbose: bool = setting(False, help="Show progress, and messages on stderr.")
    run_: Path = field(init=False, repr=False)
    summary_: Summary = field(init=False, repr=False)
    _in_memory: bool = field(init=False, repr=False)
    _kept_samples: Sequence[Sample] | None = field(init=False, repr=False)
    _grey: bool = field(init=False, repr=False)

    def evaluate(
        self, X: TrainingData | None = None, y: Targets | None = None, *, include_seen: bool = False
    ) -> Evaluation:
        """Figures with intervals, on the run's test subset or on other data.

        Args:
            X: as for `fit`; by default the run's test subset, where its images are files.
            y: as for `fit`.
            include_seen: count images that the run was trained on as well; they are left out otherwise, with their
                near-duplicates.

        Raises:
            UsageError: without X, when the estimator was fitted on images in memory: they were not kept.
            DataError: when there is nothing to evaluate on.
        """
        from foveal.tasks import find_task

        bundle = self._bundle()
        evaluate = find_task(bundle.manifest.task).evaluate
        if X is None:
            if self._in_memory:
                raise UsageError(
                    "the test subset was in memory, and is gone",
                    hint="its figures are in summary_['test']; or give others: evaluate(images, labels)",
                )
            with using_device(self.device):
                return cast(Evaluation, evaluate(self.run_, None))
        with using_device(self.device), _temporary_folder() as folder:
            run = self.run_
            if not run.is_dir():  # a model of the package, or an estimator that came from elsewhere
                run = folder / "bundle"
                save_bundle(bundle, run)
            return cast(Evaluation, evaluate(run, self._source(X, y, folder), include_seen=include_seen))

    def _with_seen(self, X: TrainingData, y: Targets | None) -> Evaluation:
        """Figures on all images, as `score` of scikit-learn has them, with a warning where the run has seen some.

        Cross-validation gives X and y, and scores its own training images on purpose: it is not warned.
        """
        found = self.evaluate(X, y, include_seen=True)
        if y is None and (seen := found["seen"]):
            warnings.warn(
                f"{seen} of {count_of(found['test']['n'], 'image')} were trained on, or nearly: this score says little "
                "about new images; evaluate(...) leaves them out",
                stacklevel=3,
            )
        return found

    def save(self, folder: PathLike) -> None:
        """Write the bundle, two files without pickle, to a new or empty folder.

        Raises:
            UsageError: when the folder is not empty, not a folder, or can't be written to.
        """
        bundle = self._bundle()
        check_folder(Path(folder), empty=True)
        save_bundle(bundle, Path(folder))

    def torch_module(self) -> torch.nn.Module:
        """The model as a module in torch, in evaluation mode, with its preprocessing inside: to go on in torch.

        It takes 8-bit images `(N, H, W, 3)` and gives a tuple of tensors, whose names are its `outputs`: calibrated
        `probabilities` `(N, K)` and more, or `masks` `(N, H, W)`. Its `network` is the network alone, and
        `pretrained_cfg` says what that wants of its input, by the names that timm uses.

        Raises:
            UsageError: when the preprocessing is more than resizing.
        """
        from foveal.export.whole import whole

        return whole(self._bundle())

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """The parameters of the constructor, by name. `deep` has no effect: none of them is an estimator."""
        return super().get_params(deep)

    def set_params(self, **params: object) -> Self:
        """Set parameters of the constructor by name. They are checked by `fit`.

        Raises:
            UnknownName: for a name that is not a parameter.
        """
        known = self.get_params()
        for name in params:
            if name not in known:
                raise UnknownName("parameter", name, known)
        return super().set_params(**params)

    def _train(self, X: TrainingData, y: Targets | None, task: str) -> Bundle:
        """Train in a new run folder. The estimator is changed only if that succeeds."""
        from foveal.evaluation.run_samples import samples_of

        settings = {name: getattr(self, name) for name in settings_of(type(self)) if name not in _OWN}
        config = TrainConfig(**{**settings, "time": str(self.time)}, task=task)
        require_device(config.device)  # before images in memory are written to files
        clock = Clock(config.budget)
        with _temporary_folder() as folder:
            run, summary = self._run(self._source(X, y, folder), config, clock)
            in_memory = any((folder / "images").iterdir())
            kept = samples_of(run, summary["data"]["classes"]) if in_memory else None  # their files are removed
        bundle = load_bundle(run)
        self.run_, self.summary_, self._in_memory = run, cast(Summary, summary), in_memory
        self._kept_samples = kept
        self._grey = is_array(X) and getattr(X, "ndim", 0) == 3
        return bundle

    def _run(self, source: PathLike, config: TrainConfig, clock: Clock) -> Run:
        from foveal.cli.notebook_display import verbose_progress
        from foveal.flow import train

        out, is_new = _claimed(Path(self.out)) if self.out else (None, False)
        try:
            with verbose_progress(clock) if self.verbose else nullcontext() as progress:
                return train(source, config, out=str(out) if out else None, clock=clock, progress=progress)
        finally:
            if out and is_new:
                with suppress(OSError):  # it is not empty: there is a run in it
                    out.rmdir()

    def _source(self, X: TrainingData, y: Targets | None, folder: Path) -> PathLike:
        """X and y as DATA of `flow.train`: a path, or a table that is written into the folder."""
        name, column = type(self).__name__, self._COLUMN
        if isinstance(X, str | os.PathLike):
            if y is not None:
                raise UsageError(
                    f"{column}s for a single path", hint=f"fit(folder), or fit([path, ...], [{column}, ...])"
                )
            return X
        if y is None:
            if not _is_pairs(X):
                raise UsageError(
                    f"{name} requires y to be passed, but the target y is None: images without {column}s",
                    hint=f"fit(folder), fit(images, {column}s), or a data set of pairs (image, {column})",
                )
            return self._table_of_pairs(X, folder)
        annotations = self._annotations(y, folder / "annotations")
        return write_table(keep_images(X, folder / "images"), annotations, column, folder)

    def _annotations(self, y: Targets, folder: Path) -> list[str]:
        """What the column of a table says of each image."""
        raise NotImplementedError

    def _table_of_pairs(self, pairs: ImageDataset | Iterable[object], folder: Path) -> PathLike:
        """A data set of pairs as DATA of `flow.train`."""
        raise NotImplementedError

    def _bundle(self) -> Bundle:
        """The fitted model."""
        raise NotImplementedError

    def _use(self, bundle: Bundle) -> None:
        """Predict with this model from now on."""
        raise NotImplementedError

    def _loaded_from(self, run: Path, bundle: Bundle) -> Self:
        self.run_, self._in_memory, self._grey = run, False, False
        self._use(bundle)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return "_predictor" in vars(self)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = tags.input_tags.string = True
        tags.non_deterministic = True  # how far a run gets depends on the machine
        return tags

    def __getstate__(self) -> dict[str, object]:
        """For pickle, joblib and deepcopy: the bundle as the content of its files, without the compiled network."""
        state = dict(super().__getstate__())
        if state.pop("_predictor", None) is not None:
            with _temporary_folder() as folder:
                save_bundle(self._bundle(), folder / "bundle")
                state[_FILES] = {f.name: f.read_bytes() for f in (folder / "bundle").iterdir()}
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        state = dict(state)
        files = cast("dict[str, bytes] | None", state.pop(_FILES, None))
        super().__setstate__(state)
        if files is not None:
            with _temporary_folder() as folder:
                for name, content in files.items():
                    (folder / "images" / name).write_bytes(content)
                self._use(load_bundle(folder / "images"))

    def _repr_html_inner(self) -> str:
        shown = super()._repr_html_inner()
        return shown + self._figures_html() if self.__sklearn_is_fitted__() else shown

    def _repr_mimebundle_(self, **options: object) -> dict[str, str]:
        forms = super()._repr_mimebundle_(**options)
        if "text/html" in forms:
            forms["text/html"] = self._repr_html_inner()
        return forms

    def _figures_html(self) -> str:
        """Figures and images of the run; empty for a model without its run, or of a run that was damaged since."""
        from foveal.evaluation.estimator_page import estimator_html
        from foveal.evaluation.run_samples import samples_of
        from foveal.tasks import find_task

        try:
            summary = vars(self).get("summary_") or read_json(self.run_ / "summary.json")
            headline = find_task(summary["task"]).headline(summary["test"], summary["test_looks"])
            if (samples := vars(self).get("_kept_samples")) is None:
                samples = samples_of(self.run_, summary["data"]["classes"])
        except (FovealError, OSError, KeyError, ValueError):
            return ""
        return estimator_html(summary, headline, self.run_, samples)


@with_settings_documented
@dataclass(kw_only=True, eq=False, repr=False)
class ImageClassifier(ClassifierMixin, _Estimator, ClassifySettings):
    """An image classifier that is trained within a time budget: a classifier of scikit-learn.

    Args:
        {settings}

    Attributes:
        classes_: `(K,)` classes in the type of y, sorted, as in scikit-learn.
        summary_: the content of `summary.json`.
        run_: the run folder.
    """

    _TASKS = ("classify", "multi-label")
    _COLUMN = "label"
    _predictor: ClassificationPredictor = field(init=False, repr=False)
    _labels: ClassLabels | LabelColumns = field(init=False, repr=False)

    def fit(self, X: TrainingData, y: Targets | None = None) -> Self:
        """Train on images with labels.

        Args:
            X: a folder, a CSV or JSONL file, `sample:NAME`, or a data set of torchvision: these contain labels. Or
                images: an array or a tensor `(N, H, W)`, `(N, H, W, C)` or `(N, C, H, W)`, C being 1, 3 or 4, of 8 or
                16 bits, or floats from 0 to 1; or a list of paths, Pillow images, arrays, tensors and bytes. Images
                in memory are written to a temporary folder while this runs.
            y: `(N,)` labels of the images: text, integers or truth values; None where X contains them. For any number
                of labels for each image N lists of text or integers, or a matrix `(N, L)` of 0 and 1, as scikit-learn
                has it; a table holds lists, too.

        Raises:
            FovealError: see `foveal.errors`; a `ValueError` as well for X or y of a wrong form.
        """
        if y is not None and are_label_rows(y):
            return self._fit_label_sets(X, label_rows(y))
        column = None if y is None else label_column(y)
        if column is not None and isinstance(X, Sized) and not isinstance(X, str):
            check_counts(len(X), len(column), self._COLUMN)
        if column is not None and len(set(names_of(column))) == 1:
            raise UsageError("y has 1 class only: training needs two classes", hint="add images of another class")
        several = column is None and isinstance(X, str | os.PathLike) and holds_lists(X, self.label_separator)
        bundle = self._train(X, column, self._TASKS[several])
        if column is None:
            self._use(bundle)
            return self
        manifest = bundle.manifest
        if kind_of(column) != "str":  # the bundle has the names of the classes, and says of what type they are
            typed = replace(manifest, provenance={**manifest.provenance, KIND: kind_of(column)})
            bundle = replace(bundle, manifest=typed)
            save_bundle(bundle, self.run_ / "model")
        self._use(bundle)
        self._labels = ClassLabels.of_column(column, manifest.classes)
        return self

    def _fit_label_sets(self, X: TrainingData, rows: LabelRows) -> Self:
        if isinstance(X, Sized) and not isinstance(X, str):
            check_counts(len(X), len(rows), self._COLUMN)
        rows.check()
        bundle = self._train(X, rows.texts(), self._TASKS[1])
        bundle = replace(bundle, manifest=rows.noted(bundle.manifest))
        save_bundle(bundle, self.run_ / "model")
        self._use(bundle)
        return self

    @property
    def classes_(self) -> NDArray[np.generic]:
        """The classes, sorted, `(K,)`: in the type of y; text where a folder or a table names them.

        Of a matrix y they are the positions of its columns.
        """
        self._fitted()
        return self._labels.values

    def predict(self, X: Images) -> NDArray[np.generic]:
        """The likeliest class of each image, `(N,)`, in the type of y. Threads may share a model.

        After a training on several labels for each image a matrix `(N, K)`, 1 where an image has the label of
        `classes_`: its probability reaches the label's own threshold.

        Args:
            X: a path, a folder, a glob, the content of an image file as bytes, a binary file object, a Pillow image,
                an array or a tensor `(H, W)`, `(H, W, C)` or `(C, H, W)`; several of these in anything to loop over;
                an array of several, as for `fit`; a data set of torchvision. See `data.images.array_batches` for what
                counts as one image.

        Raises:
            UnreadableImage: at the first image that can't be read.
            UsageError: for what is not an image.
        """
        probabilities = self.predict_proba(X)
        return self._labels.predicted(probabilities)

    def predict_proba(self, X: Images) -> NDArray[np.float32]:
        """Calibrated probabilities, `(N, K)`, columns as in `classes_`. See `predict`.

        They sum to 1 unless images have several labels.
        """
        with using_device(self.device):
            probabilities = self._fitted().probabilities(each_image(X, grey=self._grey))
        return self._labels.arranged(probabilities)

    def score(
        self,
        X: TrainingData,
        y: Targets | None = None,
        sample_weight: Sequence[float] | NDArray[np.floating | np.integer] | None = None,
    ) -> float:
        """Accuracy on images with labels, also on those that it was trained on; `evaluate` leaves these out.

        Of several labels for each image the share of images that have all of them right, as in scikit-learn.

        Warns of such images where X contains the labels: the figure then says little about new images.

        Args:
            X: images, or what contains labels, as for `fit`.
            y: labels of the images; None where X contains them.
            sample_weight: weights of the images, if y is given.
        """
        if y is None:
            self._fitted()
            return float(cast("dict[str, float]", self._with_seen(X, y)["test"])[self._labels.figure])
        predicted = self.predict(X)
        return float(np.average(self._labels.right(y, predicted), weights=sample_weight))

    def _fitted(self) -> ClassificationPredictor:
        if not self.__sklearn_is_fitted__():
            raise NotFitted("this ImageClassifier is not fitted yet", hint="call fit(), or foveal.load(run)")
        return self._predictor

    def _annotations(self, y: Targets, folder: Path) -> list[str]:
        return label_rows(y).texts() if are_label_rows(y) else names_of(label_column(y))

    def _table_of_pairs(self, pairs: ImageDataset | Iterable[object], folder: Path) -> PathLike:
        return materialise(pairs)

    def _bundle(self) -> Bundle:
        return self._fitted().bundle

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False  # folders, tables and data sets contain it
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = True
        return tags

    def _use(self, bundle: Bundle) -> None:
        several = bundle.manifest.task == self._TASKS[1]
        self._predictor = MultiLabelPredictor(bundle) if several else ClassificationPredictor(bundle)
        self._labels = (LabelColumns if several else ClassLabels).of_manifest(bundle.manifest)


@with_settings_documented
@dataclass(kw_only=True, eq=False, repr=False)
class Segmenter(_Estimator, SegmentSettings):
    """A semantic segmenter, one class per pixel, that is trained within a time budget.

    Args:
        {settings}

    Attributes:
        classes_: `(K,)` class names; the values of a mask are indices into it.
        summary_: the content of `summary.json`.
        run_: the run folder.
    """

    _TASKS = ("segment",)
    _COLUMN = "mask"
    _predictor: SegmentationPredictor = field(init=False, repr=False)

    def fit(self, X: TrainingData, y: Targets | None = None) -> Self:
        """Train on images with masks.

        Args:
            X: a folder with `images/` and `masks/`, a CSV or JSONL file, `sample:NAME`, or a data set of torchvision:
                these contain masks. Or images, as for `ImageClassifier.fit`.
            y: masks of the images: paths, Pillow images, arrays `(H, W)` or one array `(N, H, W)` of integers from 0
                to 255; None where X contains them.

        Raises:
            FovealError: see `foveal.errors`; a `ValueError` as well for X or y of a wrong form.
        """
        self._use(self._train(X, y, self._TASKS[0]))
        return self

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The class names, `(K,)`."""
        return np.array(self._bundle().manifest.classes)

    def predict(self, X: Images) -> list[NDArray[np.uint8]]:
        """A mask `(H, W)` for each image, of its size: positions in `classes_`. Threads may share a model.

        Args:
            X: as for `ImageClassifier.predict`.

        Raises:
            DataError: at the first image that can't be read.
            UsageError: for what is not an image.
        """
        masks = []
        with using_device(self.device):
            for prediction in self._fitted().stream(each_image(X, grey=self._grey)):
                if prediction.mask is None:
                    raise DataError(f"{prediction.path}: {prediction.error}", hint="leave it out")
                masks.append(prediction.mask)
        return masks

    def score(self, X: TrainingData, y: Targets | None = None) -> float:
        """Mean IoU on images with masks, as for `fit`; also on those that it was trained on; see `evaluate`."""
        return self._with_seen(X, y)["test"]["miou"]

    def _fitted(self) -> SegmentationPredictor:
        if not self.__sklearn_is_fitted__():
            raise NotFitted("this Segmenter is not fitted yet", hint="call fit(), or foveal.load(run)")
        return self._predictor

    def _annotations(self, y: Targets, folder: Path) -> list[str]:
        return keep_masks(y, folder)

    def _table_of_pairs(self, pairs: ImageDataset | Iterable[object], folder: Path) -> PathLike:
        images, masks = zip(*each_item(pairs), strict=True)
        return self._source(images, masks, folder)

    def _bundle(self) -> Bundle:
        return self._fitted().bundle

    def _use(self, bundle: Bundle) -> None:
        self._predictor = SegmentationPredictor(bundle)


Model = TypeVar("Model", ImageClassifier, Segmenter)

#: The estimator of each task, by the name in `bundle.json`.
_ESTIMATORS: dict[str, type[ImageClassifier | Segmenter]] = {
    task: estimator for estimator in (ImageClassifier, Segmenter) for task in estimator._TASKS
}


@overload
def load(run: PathLike) -> ImageClassifier | Segmenter: ...
@overload
def load(run: PathLike, kind: type[Model]) -> Model: ...
def load(run: PathLike, kind: type[Model] | None = None) -> ImageClassifier | Segmenter:
    """A trained `ImageClassifier` or `Segmenter` from a run folder, a bundle or `model:NAME`.

    Args:
        run: the folder, or the name.
        kind: the estimator that it has to be; `load(run, ImageClassifier)` also tells type checkers.

    Raises:
        BundleError: when there is no usable model in it, or one of another kind.
    """
    bundle = load_bundle(Path(run))
    task = bundle.manifest.task
    if task not in _ESTIMATORS:
        raise BundleError(
            f"{run}: there is no estimator for its task, {task!r}",
            hint="foveal.inference.predictor.load_predictor(run) predicts with it",
        )
    found = _ESTIMATORS[task]
    if kind is not None and not issubclass(kind, found):
        raise BundleError(
            f"{run}: its model is of the kind {found.__name__}, not {kind.__name__}", hint="load(run)"
        )
    return (kind or found)()._loaded_from(Path(run), bundle)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder for one call, with the folders that `_Estimator._source` fills."""
    with tempfile.TemporaryDirectory(prefix="foveal-") as name:
        folder = Path(name)
        for inner in ("images", "annotations"):
            (folder / inner).mkdir()
        yield folder


def _claimed(out: Path) -> tuple[Path, bool]:
    """A folder for a run, and whether it was made here: `out`; if that is not empty, `out-2`, `out-3` and so on.

    Several processes may ask at once, as those of `GridSearchCV(n_jobs=2)` do.
    """
    for number in count(1):
        path = out if number == 1 else out.with_name(f"{out.name}-{number}")
        try:
            path.mkdir(parents=True)
            return path, True
        except FileExistsError:
            if number == 1 and not (path.is_dir() and any(path.iterdir())):
                break  # an empty folder; or a file, which is refused where the run begins
        except OSError:
            break  # said where the run begins
    return out, False


def _is_pairs(data: object) -> TypeGuard[ImageDataset | Iterable[object]]:
    """Whether data can be pairs of an image and its label or mask."""
    if is_array(data) or isinstance(data, bytes | Image.Image | Mapping) or data is None:
        return False
    if isinstance(data, list | tuple):
        return bool(data) and all(isinstance(item, tuple | list) and len(item) == 2 for item in data)
    return isinstance(data, Iterable | ImageDataset)
