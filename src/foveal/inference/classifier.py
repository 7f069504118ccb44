"""A classifier's bundle at work: images in, labels with probabilities out, in constant memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.config import MAX_PIXELS
from foveal.data.images.render import render_views, shrink_limit
from foveal.decisions import Decisions
from foveal.engines import Engine, choose_engine
from foveal.engines.base import Pixels
from foveal.engines.deferred import DeferredEngine
from foveal.engines.network import network_engine
from foveal.errors import UnreadableImage, UsageError
from foveal.features.pipeline import batches
from foveal.files import digest_of
from foveal.inference.bundle import Bundle, backbone_of, load_bundle, network_of
from foveal.inference.inputs import ImageInput, decode_input, name_of
from foveal.metrics.calibration import in_sets

Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """Prediction for one image.

    Attributes:
        path: the file, or `<image N>`.
        label, probability: the likeliest class, calibrated; None when there is an `error`.
        topk: the likeliest classes with their probabilities.
        set: the classes that hold the true one as often as the bundle's `coverage` says (conformal prediction).
        unknown: whether the image is none of the classes; None: this bundle can't tell.
        p_value: share of images like the training images that are at least as unusual; None: not known.
        error: reason code and words, when the image could not be read.
    """

    path: str
    label: str | None = None
    probability: float | None = None
    topk: tuple[tuple[str, float], ...] = ()
    set: tuple[str, ...] = ()
    unknown: bool | None = None
    p_value: float | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As `predict --json` prints it."""
        return {**asdict(self), "topk": [{"label": c, "probability": p} for c, p in self.topk]}


class ClassificationPredictor:
    """A bundle with its engine, which is compiled at the first use. Any number of threads may share one.

    Args:
        bundle: the model.
        precision: pins `fp32` or `bf16`.
        max_pixels: larger images are refused.
    """

    def __init__(self, bundle: Bundle, *, precision: str | None = None, max_pixels: int = MAX_PIXELS) -> None:
        self.bundle = bundle
        self._precision = precision
        self._max_pixels = max_pixels
        self._compiling = threading.Lock()
        self._engine: Engine | None = None

    @classmethod
    def load(cls, run: str | os.PathLike[str], *, precision: str | None = None) -> ClassificationPredictor:
        """From a run folder, a bundle, or `model:NAME`.

        Raises:
            BundleError: when there is no usable model in it.
        """
        return cls(load_bundle(os.fspath(run)), precision=precision)

    def stream(self, images: Iterable[ImageInput], *, topk: int = 5) -> Iterator[Prediction]:
        """Predictions in the order of the images; for one that can't be read, a prediction with `error`.

        Args:
            images: taken as they are needed.
            topk: how many classes each prediction lists.

        Raises:
            UsageError: when `topk` is not positive, or something is not an image.
        """
        if topk < 1:
            raise UsageError(f"topk is {topk}", hint="ask for at least one class")
        for name, row in self._scored(images):
            if isinstance(row, UnreadableImage):
                yield self._failed(name, f"{row.code}: {row.detail}")
            else:
                yield self._prediction(name, *row, topk)

    def rows(self, images: Iterable[ImageInput]) -> Iterator[Probabilities | UnreadableImage]:
        """Calibrated probabilities `(K,)` of each image in turn, or why it could not be read."""
        for _, row in self._scored(images):
            yield row if isinstance(row, UnreadableImage) else row[0]

    def probabilities(self, images: Iterable[ImageInput]) -> Probabilities:
        """`(N, K)`, columns as in the bundle's classes.

        Raises:
            UnreadableImage: at the first image that can't be read.
        """
        rows = []
        for row in self.rows(images):
            if isinstance(row, UnreadableImage):
                raise row
            rows.append(row)
        return np.stack(rows) if rows else np.zeros((0, len(self.bundle.manifest.classes)), dtype=np.float32)

    def warm_up(self) -> int:
        """Compile the engine now, not at the first image.

        Returns:
            How many images it computes best at once.
        """
        return self._ready().batch_size

    def prepare(self, image: ImageInput, name: str, *, max_pixels: int | None = None) -> Pixels:
        """An image as the engine takes it, `(V, size, size, C)`: the part of a prediction that needs no engine.

        Args:
            image: as `stream` takes it.
            name: for messages.
            max_pixels: larger images are refused; None: the predictor's own limit.

        Raises:
            UnreadableImage: with its reason code.
        """
        preprocess, views = self.bundle.manifest.preprocess, self.bundle.manifest.views
        rgb = decode_input(
            image,
            name,
            shrink_to=shrink_limit(preprocess),
            max_pixels=self._max_pixels if max_pixels is None else max_pixels,
            background=preprocess.background,
        )
        return render_views(rgb, preprocess, views)

    def predict_prepared(
        self, names: Sequence[str], prepared: Sequence[Pixels], *, topk: int = 5
    ) -> list[Prediction]:
        """Predictions for images that were prepared, computed as one batch.

        Args:
            names: of the images.
            prepared: what `prepare` returned for each.
            topk: how many classes each prediction lists.
        """
        engine = self._ready()
        views = [engine.submit(np.stack(images)) for images in zip(*prepared, strict=True)]
        computed = np.stack([view.result() for view in views])
        rows = zip(*self.bundle.probabilities(computed), self.bundle.p_values(computed), strict=True)
        return [self._prediction(name, *row, topk) for name, row in zip(names, rows, strict=True)]

    def make_graphs(self, images: Iterable[ImageInput]) -> None:
        """See `MakesGraphs`; a bundle with a backbone has its graph already."""
        if self.bundle.manifest.network is not None:
            for _ in self.rows(images):
                pass

    def _scored(
        self, images: Iterable[ImageInput]
    ) -> Iterator[tuple[str, tuple[Probabilities, np.float32, np.float64] | UnreadableImage]]:
        """Name, the probabilities `(K,)` of the classes and of none of them, and the p-value."""
        for batch in batches(enumerate(images), self._read, self._ready()):
            for (number, image), computed in batch:
                name = name_of(image, number)
                if isinstance(computed, UnreadableImage):
                    yield name, computed
                else:
                    views = computed[:, None, :]
                    inside, outside = self.bundle.probabilities(views)
                    yield name, (inside[0], outside[0], self.bundle.p_values(views)[0])

    def _failed(self, name: str, error: str) -> Prediction:
        return Prediction(name, error=error)

    def _prediction(
        self, name: str, row: Probabilities, outside: np.float32, p_value: np.float64, topk: int
    ) -> Prediction:
        manifest = self.bundle.manifest
        classes = manifest.classes
        order = np.argsort(-row, kind="stable").tolist()
        best = order[0]
        likeliest = tuple((classes[i], float(row[i])) for i in order[:topk])
        members = in_sets(row[None], manifest.set_threshold)[0]
        inside = tuple(classes[i] for i in order if members[i])
        unknown, known_p = None, None
        if manifest.outside:
            unknown = bool(outside >= manifest.unknown_threshold)
        elif manifest.unknown is not None and not np.isnan(p_value):
            unknown, known_p = bool(p_value <= manifest.unknown.rate), float(p_value)
        return Prediction(name, classes[best], float(row[best]), likeliest, inside, unknown, known_p)

    def _read(self, numbered: tuple[int, ImageInput]) -> Pixels:
        number, image = numbered
        return self.prepare(image, name_of(image, number))

    def _ready(self) -> Engine:
        """The engine, compiled once."""
        with self._compiling:
            if self._engine is None:
                self._engine = self._backbone() if self.bundle.manifest.network is None else self._network()
            return self._engine

    def _network(self) -> Engine:
        """Compiled from a graph that is made at the first prediction: torch is not imported after that."""
        manifest = self.bundle.manifest
        preprocess, network = manifest.preprocess, cache(lambda: network_of(self.bundle))
        content = digest_of([manifest.weights_sha256, manifest.network])
        shape = (*preprocess.box, preprocess.channels)

        def choose(pixels: Pixels) -> Engine:
            return network_engine(
                network, content, preprocess, shape, lambda: _varied(pixels), precision=self._precision
            )[0]

        return DeferredEngine(choose)

    def _backbone(self) -> Engine:
        backbone, preprocess = backbone_of(self.bundle), self.bundle.manifest.preprocess
        stages = self.bundle.head.weight.shape[1] > backbone.dimension
        return choose_engine(
            backbone, preprocess, self._noise, Decisions(), precision=self._precision, stages=stages
        )

    def _noise(self) -> Pixels:
        """Pixels to measure engines on before the first image."""
        size = self.bundle.manifest.preprocess.size
        return np.random.default_rng(0).integers(0, 256, (32, size, size, 3), dtype=np.uint8)


def _varied(pixels: Pixels) -> Pixels:
    """Images `(N, H, W, C)`, and as many that are turned, darker and with less contrast: a single image would say
    little about how alike two engines are."""
    half = pixels // 2
    return np.concatenate([pixels, pixels[:, ::-1], pixels[:, :, ::-1], half, half + 64, 255 - pixels])
