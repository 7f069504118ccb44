"""A segmenter's bundle at work: images of any size in, a class for each of their pixels out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.config import MAX_PIXELS
from foveal.data.images.decode import quiet
from foveal.data.images.render import fitted, resized_to
from foveal.engines.base import Pixels
from foveal.errors import BundleError, UnreadableImage, UsageError
from foveal.inference.bundle import Bundle, load_bundle
from foveal.inference.inputs import ImageInput, decode_input, name_of
from foveal.inference.pass_memory import largest_that_fits
from foveal.inference.sized_engines import COMPILE_AFTER, SizedEngines
from foveal.memory_budget import forward_pass_bytes

Mask = NDArray[np.uint8]
Logits = NDArray[np.float32]

#: Images of up to so many pixels take one pass without asking how much memory it needs.
_SMALL = 1_500_000


@dataclass(frozen=True)
class MaskPrediction:
    """What a segmenter says of one image.

    Attributes:
        path: the file, or `<image N>`.
        mask: positions in the classes, `(H, W)` as the image; None when there is an `error`.
        image: RGB, as it was read.
        seconds: what the prediction took, reading not included.
        tiles: in how many pieces it was computed.
        error: reason code and words, when the image could not be read.
    """

    path: str
    mask: Mask | None = None
    image: Image.Image | None = None
    seconds: float = 0.0
    tiles: int = 1
    error: str | None = None


class SegmentationPredictor:
    """A bundle with an engine for each size of image that it meets. Any number of threads may share one.

    Args:
        bundle: the model.
        precision: pins `fp32` or `bf16`.
        memory: bytes that a pass may take; by default half of what is left to this process.
        max_pixels: larger images are refused.
        compile_after: seconds of torch for images of one size until the network is compiled for it.
        engine: NAME-PRECISION of the engine to use from the first image on, as `engine_name` gave it.

    Raises:
        BundleError: when the bundle does not predict masks.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        precision: str | None = None,
        memory: int | None = None,
        max_pixels: int = MAX_PIXELS,
        compile_after: float = COMPILE_AFTER,
        engine: str | None = None,
    ) -> None:
        if bundle.manifest.label_map is None or bundle.manifest.network is None:
            raise BundleError("this model predicts labels, not masks", hint="train with --task segment")
        self.bundle, self.label_map = bundle, bundle.manifest.label_map
        self._preprocess = bundle.manifest.preprocess
        self._max_pixels = max_pixels
        self._engines = SizedEngines(bundle, precision=precision, compile_after=compile_after, engine=engine)
        self._tiles = _TilePlan(self._engines, memory)

    @classmethod
    def load(
        cls, run: str | os.PathLike[str], *, precision: str | None = None, memory: int | None = None
    ) -> SegmentationPredictor:
        """From a run folder or a bundle.

        Raises:
            BundleError: when there is no usable model in it, or one of another task.
        """
        return cls(load_bundle(os.fspath(run)), precision=precision, memory=memory)

    @property
    def engine_name(self) -> str:
        """The engine that was chosen last, with its precision."""
        return self._engines.name

    @property
    def engine_reason(self) -> str:
        """Why it was chosen."""
        return self._engines.reason

    def stream(self, images: Iterable[ImageInput], *, topk: int = 1) -> Iterator[MaskPrediction]:
        """Predictions in the order of the images; for one that can't be read, a prediction with `error`.

        Args:
            images: taken as they are needed.
            topk: ignored: a mask holds the likeliest class of each pixel.
        """
        with quiet():
            for number, image in enumerate(images):
                name = name_of(image, number)
                try:
                    rgb = self._read(image, name)
                except UnreadableImage as refusal:
                    yield MaskPrediction(name, error=f"{refusal.code}: {refusal.detail}")
                    continue
                try:
                    prediction = self.predict_mask(rgb, name)
                except UsageError as refusal:  # too large for one pass, and not to be cut into tiles
                    prediction = MaskPrediction(name, error=f"too_large: {refusal.message}")
                yield prediction

    def make_graphs(self, images: Iterable[ImageInput]) -> None:
        """See `MakesGraphs`: for the size of the first image that can be read."""
        predictor = SegmentationPredictor(self.bundle, max_pixels=self._max_pixels, compile_after=0.0)
        for prediction in predictor.stream(images):
            if prediction.error is None:
                return

    def predict_mask(self, rgb: Image.Image, name: str = "<image>") -> MaskPrediction:
        """The mask of one decoded image.

        Raises:
            UsageError: when the image is too large for one pass, and tiles would change the prediction.
        """
        began = time.monotonic()
        logits, tiles = self._logits(rgb)
        return MaskPrediction(name, _likeliest(logits, rgb.size), rgb, time.monotonic() - began, tiles)

    def logits(self, rgb: Image.Image) -> tuple[Logits, int]:
        """Logits `(K, H, W)` at the image's own size, and in how many pieces they were computed."""
        logits, tiles = self._logits(rgb)
        return np.stack([_enlarged(plane, rgb.size) for plane in logits]), tiles

    def _logits(self, rgb: Image.Image) -> tuple[Logits, int]:
        """Logits at the size in which the network is given an image."""
        size = fitted(rgb.size, self._preprocess)
        pixels = np.asarray(resized_to(size, rgb, self._preprocess))
        (height, width), (canvas_height, canvas_width) = pixels.shape[:2], self._canvas(size)
        canvas = pixels
        if (canvas_height, canvas_width) != (height, width):
            canvas = np.empty((canvas_height, canvas_width, 3), dtype=np.uint8)
            canvas[:] = np.array(self._preprocess.background, dtype=np.uint8)
            canvas[:height, :width] = pixels
        logits, tiles = self._whole_or_tiled(canvas)
        return logits[:, :height, :width], tiles

    def _canvas(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width that the network is given: the whole box, as in training; by `scale`, the image's."""
        return (size[1], size[0]) if self._preprocess.scale else self._preprocess.box

    def _whole_or_tiled(self, canvas: Pixels) -> tuple[Logits, int]:
        """In one pass, where memory suffices for it; and in how many pieces."""
        height, width = canvas.shape[:2]
        longest = self._tiles.longest_side(height, width)
        if max(height, width) <= longest:
            return self._views(canvas), 1
        from foveal.models.fcn_conversion.tiling import pixel_spans

        stride, halo = self._tiles.stride(), self._tiles.halo()
        result, count = np.empty((len(self.label_map.classes), height, width), dtype=np.float32), 0
        for down in pixel_spans(height, longest, stride=stride, halo=halo):
            for across in pixel_spans(width, longest, stride=stride, halo=halo):
                tile = self._views(canvas[down.start : down.stop, across.start : across.stop])
                h, w = down.last - down.first, across.last - across.first
                wanted = tile[:, down.skipped : down.skipped + h, across.skipped : across.skipped + w]
                result[:, down.first : down.last, across.first : across.last] = wanted
                count += 1
        return result, count

    def _views(self, canvas: Pixels) -> Logits:
        """The mean prediction over the bundle's views."""
        views = self.bundle.manifest.views
        computed = self._engines(np.stack([canvas[:, ::-1] if v == "mirror" else canvas for v in views]))
        turned = [p[:, :, ::-1] if v == "mirror" else p for p, v in zip(computed, views, strict=True)]
        return turned[0] if len(turned) == 1 else _averaged(turned)

    def _read(self, image: ImageInput, name: str) -> Image.Image:
        return decode_input(image, name, max_pixels=self._max_pixels, background=self._preprocess.background)


class _TilePlan:
    """Tiles small enough for a pass to stay within the memory, as the planner predicts it."""

    def __init__(self, engines: SizedEngines, memory: int | None) -> None:
        self._engines, self._memory = engines, memory
        self._halo: int | None = None
        self._whole: set[tuple[int, int]] = set()  # sizes that need no tiles

    def longest_side(self, height: int, width: int) -> int:
        """The longest side of a tile; the image's own where it needs no tiles."""
        whole = max(height, width)
        if (self._memory is None and height * width <= _SMALL) or (height, width) in self._whole:
            return whole
        from foveal.planner.prediction import prediction_bytes

        budget = forward_pass_bytes() if self._memory is None else self._memory
        if budget is None:
            return whole
        stride = self.stride()
        with self._engines.exclusive() as network:
            if prediction_bytes(network, (3, height, width)) <= budget:
                self._whole.add((height, width))
                return whole

            def fits(strides: int) -> bool:
                side = strides * stride
                return prediction_bytes(network, (3, min(side, height), min(side, width))) <= budget

            return stride * largest_that_fits(fits, 1, -(-whole // stride))

    def stride(self) -> int:
        """A shift of the image by a multiple of it shifts the prediction."""
        with self._engines.exclusive() as network:
            return int(getattr(network, "stride", 1))

    def halo(self) -> int:
        """How far to either side a prediction depends on the image, pixels; measured once.

        Raises:
            UsageError: when it depends on the whole image.
        """
        from foveal.models.fcn_conversion.tiling import reach

        with self._engines.exclusive() as network:
            if self._halo is None:
                self._halo = reach(network, self.stride())
        if self._halo is None:
            raise UsageError(
                "this image is too large for one pass, and tiles would change the prediction: a layer of the "
                "network sees the whole image",
                hint="allow more memory, or train with another decoder",
            )
        return self._halo


def _averaged(views: Sequence[Logits]) -> Logits:
    """Logarithms of the mean of the views' probabilities."""
    shares = [np.exp(v - v.max(axis=0)) for v in views]
    averaged: Logits = np.log(np.mean([s / s.sum(axis=0) for s in shares], axis=0) + 1e-12).astype(np.float32)
    return averaged


def _likeliest(logits: Logits, size: tuple[int, int]) -> Mask:
    """The class with the largest logit at a width and height, `(H, W)`.

    Class by class: that is much faster than `argmax` over rows, and only one class at a time is enlarged.
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
