"""A bundle that answers with masks, at work: pictures of any size in, a class for each of their pixels out."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.config import MAX_PIXELS
from foveal.data.decode import decode, finish, quiet, read_file
from foveal.data.render import fitted, resized_to
from foveal.engines import Engine
from foveal.engines.base import Pixels
from foveal.engines.network import is_ready, network_engine
from foveal.errors import BundleError, UnreadableImage, UsageError
from foveal.files import digest_of
from foveal.machine import memory_limit
from foveal.ship.bundle import Bundle, load_bundle
from foveal.ship.predictor import Picture, from_array

if TYPE_CHECKING:
    import torch

Mask = NDArray[np.uint8]
Logits = NDArray[np.float32]
Shape = tuple[int, int, int]

#: Seconds that torch may take for pictures of one size until the network is compiled for it. Compiling takes about
#: as long (5 to 12 s), so both together are at most twice what the better of the two would have been.
_WORTH_COMPILING = 8.0
#: Pictures of up to so many pixels are answered in one pass without asking what it takes.
_NO_MATTER = 1_500_000
#: How much of the memory that is left a pass may take.
_SHARE = 0.5


@dataclass(frozen=True)
class MaskPrediction:
    """One answer.

    Attributes:
        path: the file, or `<picture N>`.
        mask: positions in the classes, `(H, W)` as the picture; None when there is an `error`.
        picture: it, RGB, as it was read.
        seconds: what the answer took, reading apart.
        tiles: in how many pieces it was computed.
        error: reason code and words, when the picture could not be read.
    """

    path: str
    mask: Mask | None = None
    picture: Image.Image | None = None
    seconds: float = 0.0
    tiles: int = 1
    error: str | None = None


class MaskPredictor:
    """A bundle with an engine for each size of picture that it meets.

    Args:
        bundle: the model.
        precision: pins `f32` or `bf16`.
        memory: bytes that a pass may take; by default half of what is left to this process.
        max_pixels: larger pictures are refused.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        precision: str | None = None,
        memory: int | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if bundle.manifest.legend is None or bundle.manifest.network is None:
            raise BundleError("this model answers with labels, not masks", hint="train with --task segment")
        self.bundle, self.legend = bundle, bundle.manifest.legend
        self.preprocess = bundle.manifest.preprocess
        self._precision, self._memory, self._max_pixels = precision, memory, max_pixels
        self._sha = digest_of([bundle.manifest.weights_sha256, bundle.manifest.network])
        self._compiled: dict[Shape, Engine] = {}
        self._by_torch: defaultdict[Shape, float] = defaultdict(float)  # seconds
        self._module: torch.nn.Module | None = None
        self._plain: Engine | None = None
        self._halo: int | None = None
        self._longest: dict[tuple[int, int], int] = {}  # of tiles, by sizes that needed no tiles
        self.engine_name, self.engine_reason = "torch-f32", "too few pictures of one size to compile for"

    @classmethod
    def load(
        cls, run: str | os.PathLike[str], *, precision: str | None = None, memory: int | None = None
    ) -> MaskPredictor:
        """From a run folder or a bundle.

        Raises:
            BundleError: when there is no usable model in it, or one of another task.
        """
        return cls(load_bundle(os.fspath(run)), precision=precision, memory=memory)

    def stream(self, pictures: Iterable[Picture]) -> Iterator[MaskPrediction]:
        """Answers in the order of the pictures; a picture that can't be read becomes an answer with `error`."""
        with quiet():
            for number, picture in enumerate(pictures):
                name = os.fspath(picture) if isinstance(picture, str | os.PathLike) else f"<picture {number}>"
                try:
                    rgb = self._read(picture, name)
                    found = self.answer(rgb, name)
                except UnreadableImage as refusal:
                    found = MaskPrediction(name, error=f"{refusal.code}: {refusal.detail}")
                except UsageError as refusal:  # too large for one pass, and not to be had in tiles
                    found = MaskPrediction(name, error=f"too_large: {refusal.message}")
                yield found

    def answer(self, rgb: Image.Image, name: str = "<picture>") -> MaskPrediction:
        """The mask of one decoded picture."""
        began = time.monotonic()
        found, tiles = self._seen(rgb)
        return MaskPrediction(name, _likeliest(found, rgb.size), rgb, time.monotonic() - began, tiles)

    def logits(self, rgb: Image.Image) -> tuple[Logits, int]:
        """Logits `(K, H, W)` at the picture's own size, and in how many pieces they were computed."""
        found, tiles = self._seen(rgb)
        return np.stack([_enlarged(plane, rgb.size) for plane in found]), tiles

    def _seen(self, rgb: Image.Image) -> tuple[Logits, int]:
        """Logits at the size that the network looks at a picture in."""
        size = fitted(rgb.size, self.preprocess)
        pixels = np.asarray(resized_to(size, rgb, self.preprocess))
        (height, width), (tall, wide) = pixels.shape[:2], self._canvas(size)
        canvas = pixels
        if (tall, wide) != (height, width):
            canvas = np.empty((tall, wide, 3), dtype=np.uint8)
            canvas[:] = np.array(self.preprocess.background, dtype=np.uint8)
            canvas[:height, :width] = pixels
        found, tiles = self._whole_or_tiled(canvas)
        return found[:, :height, :width], tiles

    def module(self) -> torch.nn.Module:
        """The network in torch, ready to answer."""
        if self._module is None:
            from foveal.models.networks import with_weights

            assert self.bundle.manifest.network is not None
            self._module = with_weights(self.bundle.manifest.network, self.bundle.tensors)
        return self._module

    def _canvas(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width that the network is given: as it learned, the whole box; by `scale`, what there is."""
        return (size[1], size[0]) if self.preprocess.scale else self.preprocess.box

    def _whole_or_tiled(self, canvas: Pixels) -> tuple[Logits, int]:
        """In one pass, where memory suffices for it; and in how many pieces."""
        height, width = canvas.shape[:2]
        if self._memory is None and height * width <= _NO_MATTER:
            return self._views(canvas), 1
        most = self._longest_side(height, width)
        if max(height, width) <= most:
            return self._views(canvas), 1
        from foveal.models.mask_tiling import pieces

        stride, halo = self._stride(), self._reach()
        result, count = np.empty((len(self.legend.classes), height, width), dtype=np.float32), 0
        for down in pieces(height, most, halo, stride):
            for across in pieces(width, most, halo, stride):
                tile = self._views(canvas[down.start : down.stop, across.start : across.stop])
                top, left = down.first - down.start, across.first - across.start
                rows, columns = slice(down.first, down.last), slice(across.first, across.last)
                result[:, rows, columns] = tile[
                    :, top : top + down.last - down.first, left : left + across.last - across.first
                ]
                count += 1
        return result, count

    def _stride(self) -> int:
        """Shifts of the picture by multiples of this shift the answers, too."""
        return int(getattr(self.module(), "stride", 1))

    def _reach(self) -> int:
        """How far an answer sees; measured once.

        Raises:
            UsageError: when it sees the whole picture.
        """
        if self._halo is None:
            from foveal.models.mask_tiling import reach

            self._halo = reach(self.module(), self._stride())
        if self._halo is None:
            raise UsageError(
                "this picture is too large for one pass, and tiles would change the answer: a layer of the "
                "network sees the whole picture",
                hint="allow more memory, or train with another decoder",
            )
        return self._halo

    def _longest_side(self, height: int, width: int) -> int:
        """The longest side of a tile whose pass stays within the budget, as the planner foresees it."""
        from foveal.planner.prediction import prediction_bytes

        limit = memory_limit()
        budget = self._memory if self._memory is not None else int(_SHARE * limit) if limit else None
        whole = max(height, width)
        if budget is None or self._longest.get((height, width)) == whole:
            return whole
        if prediction_bytes(self.module(), (3, height, width)) <= budget:
            self._longest[height, width] = whole
            return whole
        stride, low, high = self._stride(), 1, -(-whole // self._stride())
        while high - low > 1:
            middle = (low + high) // 2
            side = middle * stride
            fits = prediction_bytes(self.module(), (3, min(side, height), min(side, width))) <= budget
            low, high = (middle, high) if fits else (low, middle)
        return low * stride

    def _views(self, canvas: Pixels) -> Logits:
        views = self.bundle.manifest.views
        seen = np.stack([canvas[:, ::-1] if v == "mirror" else canvas for v in views])
        found = self._answered(seen)
        turned = [f[:, :, ::-1] if v == "mirror" else f for f, v in zip(found, views, strict=True)]
        return turned[0] if len(turned) == 1 else _averaged(turned)

    def _answered(self, seen: Pixels) -> Logits:
        """Views of one size by the engine compiled for it, or by torch until that is worth it."""
        shape: Shape = (seen.shape[1], seen.shape[2], seen.shape[3])
        if shape not in self._compiled and self._compiles(shape):
            engine, self.engine_reason = network_engine(
                self.module, self._sha, self.preprocess, shape, lambda: seen[:1], precision=self._precision
            )
            self.engine_name = f"{engine.name}-{engine.precision}"
            self._compiled[shape] = engine
        if shape in self._compiled:
            return self._compiled[shape](seen)
        if self._plain is None:
            from foveal.engines.torch_engine import TorchEngine

            self._plain = TorchEngine(self.module(), self.preprocess)
        began = time.monotonic()
        found = self._plain(seen)
        self._by_torch[shape] += time.monotonic() - began
        return found

    def _compiles(self, shape: Shape) -> bool:
        """Torch answers in fp32 only."""
        worth = self._precision == "bf16" or self._by_torch[shape] >= _WORTH_COMPILING
        return worth or is_ready(self._sha, self.preprocess, shape)

    def _read(self, picture: Picture, name: str) -> Image.Image:
        background = self.preprocess.background
        if isinstance(picture, str | os.PathLike):
            return decode(read_file(name), name, max_pixels=self._max_pixels, background=background)
        opened = picture if isinstance(picture, Image.Image) else from_array(picture)
        return finish(opened, name, background=background)


def _averaged(views: Sequence[Logits]) -> Logits:
    """Logarithms of the mean of the views' probabilities."""
    shares = [np.exp(v - v.max(axis=0)) for v in views]
    averaged: Logits = np.log(np.mean([s / s.sum(axis=0) for s in shares], axis=0) + 1e-12).astype(np.float32)
    return averaged


def _likeliest(logits: Logits, size: tuple[int, int]) -> Mask:
    """The class with the largest logit at a width and height, `(H, W)`.

    Class by class: that is much sooner than `argmax` over rows, and one class after the other is enlarged.
    """
    best = np.array(_enlarged(logits[0], size))
    mask = np.zeros(best.shape, dtype=np.uint8)
    for k in range(1, len(logits)):
        plane = _enlarged(logits[k], size)
        mask[plane > best] = k
        np.maximum(best, plane, out=best)
    return mask


def _enlarged(plane: Logits, size: tuple[int, int]) -> Logits:
    """One class's logits `(h, w)` at another width and height, bilinear."""
    if plane.shape[::-1] == size:
        return plane
    return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))
