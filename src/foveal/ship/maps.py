"""`foveal predict --map`: a bundle's answers all over a large picture, in one pass; in tiles where memory asks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.data.decode import decode, read_file
from foveal.errors import BundleError, UsageError
from foveal.machine import memory_limit
from foveal.models.backbones import find_backbone, load_network
from foveal.ship.bundle import Bundle, load_bundle
from foveal.values import Preprocess

if TYPE_CHECKING:
    import torch

    from foveal.models.fully_convolutional import FullyConvolutional

#: How much of the memory that is left a map may take.
SHARE = 0.5
#: Windows that the network itself is asked about, to say how near the map is to it.
CHECKED = 9
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class AnswerMap:
    """Answers all over one picture.

    Attributes:
        path: the picture.
        picture: it, RGB, as it was read.
        probabilities: `(K, h, w)`, calibrated, in the order of `classes`.
        outside: `(h, w)`, the probability of "none of the classes"; None when the bundle can't tell.
        window, stride: side of the square that each answer is about, and the way from one to the next: pixels of
            the picture as it was read.
        left, top: where the first window begins, pixels of the picture; negative where padding was put before it.
        seconds: what the map took, reading apart.
        tiles: in how many pieces it was computed.
        agreement: against the network's own answers for some of the windows, see `models.agreement`.
    """

    path: str
    picture: Image.Image
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
    """The whole classifier of a bundle in torch: normalised pictures `(N, C, size, size)` to logits `(N, K)`.

    Raises:
        BundleError: when the bundle was trained on other weights of its backbone.
    """
    manifest = bundle.manifest
    if manifest.network is not None:
        from foveal.models.networks import with_weights

        return with_weights(manifest.network, bundle.tensors)
    from foveal.models.frozen import frozen

    backbone = find_backbone(manifest.backbone or "")
    if backbone.weights_sha256 != manifest.backbone_sha256:
        raise BundleError(
            f"this bundle was trained on other weights of {manifest.backbone}",
            hint="install the version of foveal that trained it, or train again",
        )
    return frozen(load_network(backbone), (bundle.head.weight, bundle.head.bias), backbone.dimension)


def to_fully_convolutional(
    model: torch.nn.Module | str | os.PathLike[str], *, size: int | None = None, channels: int | None = None
) -> FullyConvolutional:
    """Any classifier as one that answers at every place of a larger picture, with the same weights.

    Args:
        model: a module that takes normalised pictures `(N, C, size, size)` and gives logits `(N, K)`; or a run
            folder, a bundle, `model:NAME`.
        size: of the training pictures, pixels; a run knows its own, a module is taken to want 224.
        channels: of the input; a run knows its own, a module is taken to want 3.

    Raises:
        UsageError: when a layer can't be converted, naming it.
        BundleError: when there is no usable model.
    """
    from foveal.models.fully_convolutional import convert

    if isinstance(model, str | os.PathLike):
        bundle = load_bundle(os.fspath(model))
        preprocess = bundle.manifest.preprocess
        return convert(classifier_of(bundle), size=size or preprocess.size, channels=preprocess.channels)
    return convert(model, size=size or 224, channels=channels or 3)


class Mapper:
    """A bundle, converted, at work on large pictures.

    Args:
        bundle: the model.
        window: pixels of the picture that one answer sees; by default the network's own input, which leaves the
            picture at its size. A larger one makes the picture smaller before the network looks.
        memory: bytes that a pass may take; by default half of what is left to this process.
    """

    def __init__(self, bundle: Bundle, *, window: int | None = None, memory: int | None = None) -> None:
        from foveal.models.fully_convolutional import convert

        self.bundle = bundle
        self.preprocess = bundle.manifest.preprocess
        if window is not None and window < 1:
            raise UsageError(f"a window of {window} pixels", hint="at least one")
        self.window = window or self.preprocess.size
        self._classifier = classifier_of(bundle)
        self.network = convert(self._classifier, size=self.preprocess.size, channels=self.preprocess.channels)
        limit = memory_limit()
        self._budget = memory if memory is not None else int(SHARE * limit) if limit else None

    @classmethod
    def load(cls, run: str | os.PathLike[str], *, window: int | None = None, memory: int | None = None) -> Mapper:
        """From a run folder, a bundle, or `model:NAME`."""
        return cls(load_bundle(os.fspath(run)), window=window, memory=memory)

    def __call__(self, path: str, on_each: Callable[[int], None] = lambda _: None) -> AnswerMap:
        """The map of one picture.

        Raises:
            UnreadableImage: with its reason code.
            UsageError: when memory asks for tiles and a layer sees the whole picture.
        """
        import torch

        from foveal.models.agreement import compare_with_crops

        manifest = self.bundle.manifest
        picture = decode(read_file(path), path, background=self.preprocess.background)
        scale = self.network.window / self.window
        canvas, (left, top) = self._canvas(picture, scale)
        began = time.monotonic()
        with torch.inference_mode():
            x = _normalised(canvas, self.preprocess)
            views, tiles = self._views(x, on_each)
            seconds = time.monotonic() - began
            agreement = compare_with_crops(self._classifier, self.network, x, places=CHECKED, answers=views[0])
        logits = torch.stack(views).mean(dim=0)[0].float().numpy()
        k, h, w = logits.shape
        inside, outside = self.bundle.calibrated(logits.reshape(k, h * w).T)
        return AnswerMap(
            path=path,
            picture=picture,
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

    def _canvas(self, picture: Image.Image, scale: float) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """The picture at the network's scale, padded so that every pixel is in some window; and by how much."""
        if self.preprocess.channels == 1:
            picture = picture.convert("L")
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        sampling = _FILTERS[self.preprocess.interpolation]
        resized = picture if size == picture.size else picture.resize(size, sampling)
        pixels = np.asarray(resized).reshape(size[1], size[0], self.preprocess.channels)
        fill = np.array(self.preprocess.background[: self.preprocess.channels], dtype=np.uint8)
        if self.preprocess.resize == "digit" and np.median(pixels) > 127:  # ink on paper; MNIST has it bright
            pixels, fill = 255 - pixels, np.zeros_like(fill)
        wide, high = (self.network.covering(side) for side in size)
        left, top = (wide - size[0]) // 2, (high - size[1]) // 2
        canvas = np.empty((high, wide, self.preprocess.channels), dtype=np.uint8)
        canvas[:] = fill
        canvas[top : top + size[1], left : left + size[0]] = pixels
        return canvas, (left, top)

    def _views(self, x: torch.Tensor, on_each: Callable[[int], None]) -> tuple[list[torch.Tensor], int]:
        """Logits `(1, K, h, w)` of each of the bundle's views, and the number of tiles of one."""
        from foveal.models.tiling import answer_in_tiles

        done: list[int] = []

        def count(answers: int) -> None:
            done.append(answers)
            on_each(answers)

        most = self._longest_side(x)
        found = []
        for view in self.bundle.manifest.views:
            seen = x.flip(3) if view == "mirror" else x
            answers = answer_in_tiles(self.network, seen, most=most, on_each=count)
            found.append(answers.flip(3) if view == "mirror" else answers)
        return found, len(done) // len(found)

    def _longest_side(self, x: torch.Tensor) -> int:
        """The longest side of a tile whose pass stays within the budget, as the planner foresees it."""
        from foveal.planner.prediction import prediction_bytes

        channels, height, width = (int(n) for n in x.shape[1:])
        if self._budget is None or prediction_bytes(self.network, (channels, height, width)) <= self._budget:
            return max(height, width)
        low, high = self.network.window, min(max(height, width), 8192)
        while high - low > self.network.stride:
            side = (low + high) // 2
            fits = prediction_bytes(self.network, (channels, side, side)) <= self._budget
            low, high = (side, high) if fits else (low, side)
        return low


def _normalised(canvas: NDArray[np.uint8], preprocess: Preprocess) -> torch.Tensor:
    """`(H, W, C)` in 8 bits to `(1, C, H, W)`, in the memory order in which convolutions are fast."""
    import torch

    pixels = torch.from_numpy(canvas).permute(2, 0, 1)[None].float()
    mean, std = (
        torch.tensor(v[: preprocess.channels]).view(1, -1, 1, 1) for v in (preprocess.mean, preprocess.std)
    )
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
