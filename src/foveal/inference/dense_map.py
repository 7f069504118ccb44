"""`foveal predict --map`: a classifier's predictions all over a large image, in one pass or in tiles."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.data.images.render import resampling_of
from foveal.errors import UsageError
from foveal.inference.bundle import Bundle, backbone_of, load_bundle, network_of
from foveal.inference.inputs import ImageInput, decode_input, name_of
from foveal.inference.pass_memory import largest_that_fits
from foveal.memory_budget import forward_pass_bytes
from foveal.models.backbones import load_network
from foveal.models.normalisation import Normalisation
from foveal.values import Preprocess

if TYPE_CHECKING:
    import torch

    from foveal.models.fcn_conversion.convert import FullyConvolutional

#: Windows that the classifier itself is run on, to say how near the map is to it.
CHECKED = 9
#: The longest side of a tile that is considered, pixels.
_LONGEST_TILE = 8192


@dataclass(frozen=True)
class DenseMap:
    """Predictions all over one image.

    Attributes:
        path: the file, or `<image N>`.
        image: RGB, as it was read.
        probabilities: `(K, h, w)`, calibrated, in the order of `classes`.
        outside: `(h, w)`, the probability of "none of the classes"; None when the bundle can't tell.
        window, stride: side of the square that each prediction is about, and the distance from one to the next:
            pixels of the image as it was read.
        left, top: where the first window begins, pixels of the image; negative where padding was put before it.
        seconds: what the map took, reading not included.
        tiles: in how many pieces it was computed.
        agreement: with the classifier itself on some of the windows, see `models.fcn_conversion.agreement`.
    """

    path: str
    image: Image.Image
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    outside: NDArray[np.float32] | None
    window: float
    stride: float
    left: float
    top: float
    seconds: float
    tiles: int
    agreement: dict[str, Any]


def classifier_of(bundle: Bundle) -> torch.nn.Module:
    """The whole classifier of a bundle in torch: normalised images `(N, C, size, size)` to logits `(N, K)`.

    Raises:
        BundleError: when the bundle was trained on other weights of its backbone.
    """
    if bundle.manifest.network is not None:
        return network_of(bundle)
    from foveal.models.linear_probe import linear_probe

    backbone = backbone_of(bundle)
    return linear_probe(load_network(backbone), bundle.head.weight, bundle.head.bias, backbone.dimension)


def to_fully_convolutional(
    model: torch.nn.Module | str | os.PathLike[str], *, size: int | None = None, channels: int | None = None
) -> FullyConvolutional:
    """Any classifier as a network that predicts at every place of a larger image, with the same weights.

    Args:
        model: a module that takes normalised images `(N, C, size, size)` and gives logits `(N, K)`; or a run
            folder, a bundle, `model:NAME`.
        size: of the training images, pixels; known for a run, 224 by default for a module.
        channels: of the input; known for a run, 3 by default for a module.

    Raises:
        UsageError: when a layer can't be converted, naming it.
        BundleError: when there is no usable model.
    """
    from foveal.models.fcn_conversion.convert import convert

    if isinstance(model, str | os.PathLike):
        bundle = load_bundle(os.fspath(model))
        preprocess = bundle.manifest.preprocess
        return convert(classifier_of(bundle), size=size or preprocess.size, channels=preprocess.channels)
    return convert(model, size=size or 224, channels=channels or 3)


class DenseMapPredictor:
    """A classifier's bundle, converted, at work on large images. Threads may share one: they take turns.

    Args:
        bundle: the model.
        window: pixels of the image that one prediction is about; by default the network's own input, which leaves
            the image at its size. With a larger one the network is given a smaller image.
        memory: bytes that a pass may take; by default half of what is left to this process.
    """

    def __init__(self, bundle: Bundle, *, window: int | None = None, memory: int | None = None) -> None:
        from foveal.models.fcn_conversion.convert import convert

        self.bundle = bundle
        self._preprocess = bundle.manifest.preprocess
        if window is not None and window < 1:
            raise UsageError(f"a window of {window} pixels", hint="at least one")
        self.window = window or self._preprocess.size
        self._classifier = classifier_of(bundle)
        self.network = convert(self._classifier, size=self._preprocess.size, channels=self._preprocess.channels)
        self._budget = forward_pass_bytes() if memory is None else memory
        self._computing = threading.Lock()

    @classmethod
    def load(
        cls, run: str | os.PathLike[str], *, window: int | None = None, memory: int | None = None
    ) -> DenseMapPredictor:
        """From a run folder, a bundle, or `model:NAME`."""
        return cls(load_bundle(os.fspath(run)), window=window, memory=memory)

    def __call__(self, image: ImageInput, on_each: Callable[[int], None] = lambda _: None) -> DenseMap:
        """The map of one image.

        Args:
            image: a path, or anything else that `predict` takes.
            on_each: told the number of predictions after each tile.

        Raises:
            UnreadableImage: with its reason code.
            UsageError: when memory requires tiles and a layer sees the whole image.
        """
        name = name_of(image)
        rgb = decode_input(image, name, background=self._preprocess.background)
        with self._computing:
            return self._map(rgb, name, on_each)

    def _map(self, rgb: Image.Image, name: str, on_each: Callable[[int], None]) -> DenseMap:
        import torch

        from foveal.models.fcn_conversion.agreement import compare_with_crops

        manifest = self.bundle.manifest
        scale = self.network.window / self.window
        canvas, (left, top) = self._canvas(rgb, scale)
        began = time.monotonic()
        with torch.inference_mode():
            x = _normalised(canvas, self._preprocess)
            views, tiles = self._views(x, on_each)
            seconds = time.monotonic() - began
            agreement = compare_with_crops(self._classifier, self.network, x, places=CHECKED, logits=views[0])
        logits = torch.stack(views).mean(dim=0)[0].float().numpy()
        k, h, w = logits.shape
        inside, outside = self.bundle.calibrated(logits.reshape(k, h * w).T)
        return DenseMap(
            path=name,
            image=rgb,
            classes=manifest.classes,
            probabilities=np.ascontiguousarray(inside.T.reshape(-1, h, w)),
            outside=outside.reshape(h, w) if manifest.outside else None,
            window=float(self.window),
            stride=self.network.stride / scale,
            left=-left / scale,
            top=-top / scale,
            seconds=seconds,
            tiles=tiles,
            agreement=agreement.to_dict(),
        )

    def _canvas(self, image: Image.Image, scale: float) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """The image at the network's scale, padded so that every pixel is in some window; and by how much."""
        preprocess = self._preprocess
        if preprocess.channels == 1:
            image = image.convert("L")
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        resized = image if size == image.size else image.resize(size, resampling_of(preprocess))
        pixels = np.asarray(resized).reshape(size[1], size[0], preprocess.channels)
        fill = np.array(preprocess.background[: preprocess.channels], dtype=np.uint8)
        if preprocess.resize == "digit" and np.median(pixels) > 127:  # ink on paper; in MNIST the ink is bright
            pixels, fill = 255 - pixels, np.zeros_like(fill)
        width, height = (self.network.covering(side) for side in size)
        left, top = (width - size[0]) // 2, (height - size[1]) // 2
        canvas = np.empty((height, width, preprocess.channels), dtype=np.uint8)
        canvas[:] = fill
        canvas[top : top + size[1], left : left + size[0]] = pixels
        return canvas, (left, top)

    def _views(self, x: torch.Tensor, on_each: Callable[[int], None]) -> tuple[list[torch.Tensor], int]:
        """Logits `(1, K, h, w)` of each of the bundle's views, and the number of tiles of one."""
        from foveal.models.fcn_conversion.tiling import predict_in_tiles

        tiles = 0

        def count(predictions: int) -> None:
            nonlocal tiles
            tiles += 1
            on_each(predictions)

        longest = self._longest_side(x)
        logits = []
        for view in self.bundle.manifest.views:
            given = x.flip(3) if view == "mirror" else x
            computed = predict_in_tiles(self.network, given, longest=longest, on_each=count)
            logits.append(computed.flip(3) if view == "mirror" else computed)
        return logits, tiles // len(logits)

    def _longest_side(self, x: torch.Tensor) -> int:
        """The longest side of a tile whose pass stays within the memory, as the planner predicts it."""
        from foveal.planner.prediction import prediction_bytes

        budget, network = self._budget, self.network
        channels, height, width = (int(n) for n in x.shape[1:])
        whole = max(height, width)
        if budget is None or prediction_bytes(network, (channels, height, width)) <= budget:
            return whole

        def fits(side: int) -> bool:
            return prediction_bytes(network, (channels, side, side)) <= budget

        return largest_that_fits(fits, network.window, min(whole, _LONGEST_TILE), within=network.stride)


def _normalised(canvas: NDArray[np.uint8], preprocess: Preprocess) -> torch.Tensor:
    """`(H, W, C)` in 8 bits to `(1, C, H, W)`, in the memory order in which convolutions are fast."""
    import torch

    pixels = torch.from_numpy(canvas).permute(2, 0, 1)[None]
    return Normalisation(preprocess)(pixels).contiguous(memory_format=torch.channels_last)
