"""A bundle at work: pictures in, answers out, in constant memory."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.config import MAX_PIXELS
from foveal.data.decode import finish, read_file
from foveal.data.idx import is_idx, read_idx
from foveal.data.pixels import render_file
from foveal.data.render import render, shrink_limit
from foveal.engines import Engine, choose_engine
from foveal.engines.base import Pixels
from foveal.errors import BundleError, UnreadableImage, UsageError
from foveal.features.pipeline import batches
from foveal.models.backbones import find_backbone
from foveal.ship.bundle import Bundle, load_bundle
from foveal.values import Decisions

#: What `predict` takes: a file, a folder or a glob by name; an open picture; an array `(H, W)` or `(H, W, 3)`.
Picture = str | os.PathLike[str] | Image.Image | NDArray[Any]


@dataclass(frozen=True)
class Prediction:
    """One answer.

    Attributes:
        path: the file, or `<picture N>`.
        label, probability: the likeliest class, calibrated; None when there is an `error`.
        topk: the likeliest classes with their probabilities.
        set: the classes that hold the truth together in nine cases of ten (conformal prediction).
        unknown: whether the picture is none of the classes; None: this bundle can't tell.
        error: reason code and words, when the picture could not be read.
    """

    path: str
    label: str | None = None
    probability: float | None = None
    topk: tuple[tuple[str, float], ...] = ()
    set: tuple[str, ...] = ()
    unknown: bool | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As `predict --json` prints it."""
        return {**asdict(self), "topk": [{"label": c, "probability": p} for c, p in self.topk]}


class Predictor:
    """A bundle with its engine, ready to answer."""

    def __init__(self, bundle: Bundle, *, precision: str | None = None, max_pixels: int = MAX_PIXELS) -> None:
        self.bundle = bundle
        self._precision = precision
        self._max_pixels = max_pixels
        self._engine: Engine | None = None

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, precision: str | None = None) -> Predictor:
        """From a run folder, a bundle, or `model:NAME`.

        Raises:
            BundleError: when there is no usable model in it.
        """
        return cls(load_bundle(os.fspath(path)), precision=precision)

    def stream(self, pictures: Iterable[Picture], *, topk: int = 5) -> Iterator[Prediction]:
        """Answers in the order of the pictures; a picture that can't be read becomes an answer with `error`.

        Raises:
            UsageError: when `topk` is not positive.
        """
        if topk < 1:
            raise UsageError(f"topk is {topk}", hint="ask for at least one class")
        for batch in batches(enumerate(pictures), self._read, self._ready(), self.bundle.manifest.views):
            for (number, picture), found in batch:
                name = os.fspath(picture) if isinstance(picture, str | os.PathLike) else f"<picture {number}>"
                if isinstance(found, UnreadableImage):
                    yield Prediction(name, error=f"{found.code}: {found.detail}")
                else:
                    yield self._answer(name, *self.bundle.probabilities(found[:, None, :]), topk)

    def probabilities(self, pictures: Iterable[Picture]) -> NDArray[np.float32]:
        """`(N, K)`, columns as in the bundle's classes.

        Raises:
            UnreadableImage: at the first picture that can't be read.
        """
        rows = []
        for batch in batches(enumerate(pictures), self._read, self._ready(), self.bundle.manifest.views):
            for _, found in batch:
                if isinstance(found, UnreadableImage):
                    raise found
                rows.append(self.bundle.probabilities(found[:, None, :])[0][0])
        return np.stack(rows) if rows else np.zeros((0, len(self.bundle.manifest.classes)), dtype=np.float32)

    def _answer(self, name: str, rows: NDArray[np.float32], outside: NDArray[np.float32], topk: int) -> Prediction:
        classes, row = self.bundle.manifest.classes, rows[0]
        order = np.argsort(-row, kind="stable")
        best = int(order[0])
        likely = tuple((classes[i], float(row[i])) for i in order[:topk].tolist())
        inside = tuple(classes[i] for i in order.tolist() if row[i] >= self.bundle.manifest.set_threshold)
        unknown = (
            bool(outside[0] >= self.bundle.manifest.unknown_threshold) if self.bundle.manifest.outside else None
        )
        return Prediction(name, classes[best], float(row[best]), likely, inside or (classes[best],), unknown)

    def _read(self, numbered: tuple[int, Picture]) -> Pixels:
        number, picture = numbered
        preprocess = self.bundle.manifest.preprocess
        if isinstance(picture, str | os.PathLike):
            name = os.fspath(picture)
            return render_file(read_file(name), name, preprocess, max_pixels=self._max_pixels)
        opened = picture if isinstance(picture, Image.Image) else from_array(picture)
        rgb = finish(
            opened,
            f"<picture {number}>",
            shrink_to=shrink_limit(preprocess),
            background=preprocess.background,
        )
        return render(rgb, preprocess)

    def _ready(self) -> Engine:
        """The engine, compiled at the first use."""
        if self._engine is None:
            manifest = self.bundle.manifest
            self._engine = self._network() if manifest.network is not None else self._trunk()
        return self._engine

    def _network(self) -> Engine:
        from foveal.engines.torch_engine import TorchEngine
        from foveal.models.networks import with_weights

        manifest = self.bundle.manifest
        assert manifest.network is not None
        return TorchEngine(with_weights(manifest.network, self.bundle.tensors), manifest.preprocess)

    def _trunk(self) -> Engine:
        manifest = self.bundle.manifest
        backbone = find_backbone(manifest.backbone or "")
        if backbone.weights_sha256 != manifest.backbone_sha256:
            raise BundleError(
                f"this bundle was trained on other weights of {manifest.backbone}",
                hint="install the version of foveal that trained it, or train again",
            )
        stages = self.bundle.head.weight.shape[1] > backbone.dimension
        return choose_engine(
            backbone, manifest.preprocess, self._noise, Decisions(), precision=self._precision, stages=stages
        )

    def _noise(self) -> Pixels:
        """Something to measure engines on when no picture is at hand yet."""
        size = self.bundle.manifest.preprocess.size
        return np.random.default_rng(0).integers(0, 256, (32, size, size, 3), dtype=np.uint8)


def from_array(values: NDArray[Any]) -> Image.Image:
    """An array as a picture: 8-bit as it is, floats in 0-1 scaled."""
    array = np.asarray(values)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if 0 in array.shape or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise UsageError(
            f"an array of shape {array.shape} is no picture", hint="give (H, W), (H, W, 3) or (H, W, 4)"
        )
    if array.dtype.kind == "f":
        array = np.clip(array, 0.0, 1.0) * 255.0
    elif array.dtype == np.uint16:
        array = array / 257.0
    return Image.fromarray(np.rint(array).astype(np.uint8))


def find_pictures(patterns: Sequence[str | os.PathLike[str]]) -> Iterator[str]:
    """Files named by paths, folders (all that lies below, hidden things aside) and globs, as they are found.

    A name that is none of these is handed on, so that it becomes an answer that says so.

    Raises:
        UsageError: at once, when a glob matches nothing.
    """
    names = [os.fspath(p) for p in patterns]
    for name in names:
        if _is_glob(name) and next(glob.iglob(name, recursive=True), None) is None:
            raise UsageError(f"{name}: no file matches", hint="quote the pattern and check the folder")
    return _found(names)


def _found(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        for match in sorted(glob.iglob(name, recursive=True)) if _is_glob(name) else (name,):
            yield from _below(match) if os.path.isdir(match) else _inside(match)


def _inside(file: str) -> Iterator[str]:
    """A file, or each picture of an IDX file."""
    if is_idx(file) and os.path.isfile(file):
        yield from (f"{file}#{i}" for i in range(len(read_idx(file))))
    else:
        yield file


def _is_glob(name: str) -> bool:
    return glob.has_magic(name) and not os.path.exists(name)


def _below(folder: str) -> Iterator[str]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(f for f in files if not f.startswith(".")):
            yield os.path.join(here, name)
