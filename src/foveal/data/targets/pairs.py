"""Images with their masks in one box, both resized by the same geometry."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from foveal.config import MAX_PIXELS
from foveal.data.images.decode import decode, quiet, read_file
from foveal.data.images.pixels import Pixels, allocate, refuse_changed
from foveal.data.images.render import fitted, resized_to
from foveal.data.targets.mask_files import Mask, load_mask
from foveal.errors import UnreadableImage
from foveal.machine import cores
from foveal.memory_budget import MemoryBudget
from foveal.metrics.segmentation import VOID
from foveal.values import ImageRecord, LabelMap, Preprocess


def load_pairs(
    records: Sequence[ImageRecord],
    preprocess: Preprocess,
    label_map: LabelMap,
    *,
    max_pixels: int = MAX_PIXELS,
    memory: MemoryBudget = MemoryBudget(),
    on_each: Callable[[int], None] = lambda _: None,
) -> tuple[Pixels, Mask]:
    """All of these in their order, each in the upper left corner of the box.

    Args:
        records: with masks.
        preprocess: with `fit`; the rest of the box is filled with its background, and with `VOID`.
        label_map: of the masks.
        max_pixels: of an image.
        memory: the budget of the process; large arrays are then kept in a file.
        on_each: called after each pair.

    Returns:
        Images `(N, 3, H, W)`, 8 bits, not normalised, and masks `(N, H, W)`: positions in the classes, or
        `VOID`.

    Raises:
        DataError: naming the files that are gone or no longer what was read before.
    """
    height, width = preprocess.box
    pixels: Pixels = allocate((len(records), 3, height, width), np.uint8, memory.array)
    masks: Mask = allocate((len(records), height, width), np.uint8, memory.array)
    gone: list[str] = []

    def one(i: int) -> None:
        try:
            image, mask = open_pair(records[i], label_map, max_pixels=max_pixels)
        except UnreadableImage as refusal:
            gone.append(refusal.path)
            return
        size = w, h = fitted(image.size, preprocess, boxed=True)
        pixels[i] = np.array(preprocess.background, dtype=np.uint8)[:, None, None]
        pixels[i, :, :h, :w] = np.asarray(resized_to(size, image, preprocess)).transpose(2, 0, 1)
        masks[i] = _in_box(mask, preprocess)

    with quiet(), ThreadPoolExecutor(cores()) as pool:
        for _ in pool.map(one, range(len(records))):
            on_each(1)
    refuse_changed(gone)
    return pixels, masks


def _in_box(mask: Mask, preprocess: Preprocess) -> Mask:
    """A mask resized by `fit`, in the upper left corner of the box; the rest is ignored."""
    size = width, height = fitted(mask.shape[::-1], preprocess, boxed=True)
    result = np.full(preprocess.box, VOID, dtype=np.uint8)
    result[:height, :width] = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    return result


def open_pair(
    record: ImageRecord, label_map: LabelMap, *, max_pixels: int = MAX_PIXELS
) -> tuple[Image.Image, Mask]:
    """An image at its own size, RGB, and its mask `(H, W)`.

    Raises:
        UnreadableImage: also when a file is no longer what was read before.
    """
    assert record.mask is not None
    content = read_file(record.path)
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise UnreadableImage(record.path, "changed", "the file is no longer what was read before")
    image = decode(content, record.path, max_pixels=max_pixels)
    return image, load_mask(record.mask.path, label_map, record.mask.sha256, max_pixels=max_pixels)
