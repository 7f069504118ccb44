"""Pictures with their masks, in one box: each pair rendered by the same geometry, from the one decoding path."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from foveal.config import MAX_PIXELS
from foveal.data.decode import decode, quiet, read_file
from foveal.data.mask_files import Mask, load_mask
from foveal.data.pixels import Pixels, refuse_changed, room_for
from foveal.data.render import fitted, resized_to
from foveal.errors import UnreadableImage
from foveal.machine import cores
from foveal.metrics.segmentation import VOID
from foveal.values import ImageRecord, Legend, Preprocess


def load_pairs(
    records: Sequence[ImageRecord],
    preprocess: Preprocess,
    legend: Legend,
    *,
    max_pixels: int = MAX_PIXELS,
    memory: int | None = None,
    on_each: Callable[[int], None] = lambda _: None,
) -> tuple[Pixels, Mask]:
    """All of these in their order, each in the upper left corner of the box.

    Args:
        records: with masks.
        preprocess: with `fit`; the rest of the box is filled with its background, and with void.
        legend: of the masks.
        max_pixels: of a picture.
        memory: bytes that the process was told to stay within; large arrays then lie in a file.
        on_each: told of each pair.

    Returns:
        Pictures `(N, 3, H, W)`, 8 bits, not normalised, and masks `(N, H, W)`: positions in the classes, 255 where
        nobody knows.

    Raises:
        DataError: naming the files that are gone or no longer what was read before.
    """
    height, width = preprocess.box
    pixels: Pixels = room_for((len(records), 3, height, width), np.uint8, memory)
    masks: Mask = room_for((len(records), height, width), np.uint8, memory)
    gone: list[str] = []

    def one(i: int) -> None:
        try:
            picture, mask = open_pair(records[i], legend, max_pixels=max_pixels)
        except UnreadableImage as refusal:
            gone.append(refusal.path)
            return
        size = w, h = fitted(picture.size, preprocess, boxed=True)
        pixels[i] = np.array(preprocess.background, dtype=np.uint8)[:, None, None]
        pixels[i, :, :h, :w] = np.asarray(resized_to(size, picture, preprocess)).transpose(2, 0, 1)
        masks[i] = VOID
        masks[i, :h, :w] = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))

    with quiet(), ThreadPoolExecutor(cores()) as pool:
        for _ in pool.map(one, range(len(records))):
            on_each(1)
    refuse_changed(gone)
    return pixels, masks


def open_pair(record: ImageRecord, legend: Legend, *, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, Mask]:
    """A picture at its own size, RGB, and its mask `(H, W)`.

    Raises:
        UnreadableImage: also when a file is no longer what was read before.
    """
    assert record.mask is not None
    content = read_file(record.path)
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise UnreadableImage(record.path, "changed", "the file is no longer what was read before")
    picture = decode(content, record.path, max_pixels=max_pixels)
    return picture, load_mask(record.mask.path, legend, record.mask.sha256)
