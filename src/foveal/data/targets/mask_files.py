"""Mask files, decoded: values or colours as stored, and class positions by a label map."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.config import MAX_PIXELS
from foveal.data.images.decode import open_image, read_file
from foveal.data.targets.label_map import code_of
from foveal.errors import UnreadableImage
from foveal.metrics.segmentation import VOID
from foveal.values import LabelMap, MaskRecord

Mask = NDArray[np.uint8]
#: Values, or colours as 0xRRGGBB, `(H, W)`.
Raw = NDArray[np.int32]

#: Formats that change values at edges.
_LOSSY = ("JPEG", "MPO")


def read_mask_record(path: str, size: tuple[int, int], *, max_pixels: int = MAX_PIXELS) -> MaskRecord:
    """Read and count one mask.

    Args:
        path: its file.
        size: width and height of the image, which the mask must have, too.
        max_pixels: larger ones are refused.

    Raises:
        UnreadableImage: `mask_size` when it has another size, `mask_lossy` when it was saved as a JPEG, `mask_…`
            with the reason code of the decoder otherwise.
    """
    content = read_mask_file(path)
    raw, by_colour, palette = decode_mask(content, path, max_pixels=max_pixels)
    height, width = raw.shape
    if (width, height) != size:
        detail = f"the mask has {width} × {height} pixels, the image {size[0]} × {size[1]}"
        raise UnreadableImage(path, "mask_size", detail)
    values, counts = np.unique(raw, return_counts=True)
    pairs = tuple(zip(values.tolist(), counts.tolist(), strict=True))
    used = tuple((v, palette[v]) for v, _ in pairs if v in palette)
    return MaskRecord(path, hashlib.sha256(content).hexdigest(), by_colour, pairs, used)


def read_mask_file(path: str) -> bytes:
    """Its content.

    Raises:
        UnreadableImage: `mask_…`.
    """
    try:
        return read_file(path)
    except UnreadableImage as refusal:
        raise UnreadableImage(path, f"mask_{refusal.code}", refusal.detail) from None


def decode_mask(content: bytes, path: str, *, max_pixels: int = MAX_PIXELS) -> tuple[Raw, bool, dict[int, int]]:
    """Values or colours `(H, W)`, whether they are colours, and the file's palette (value → colour) if any.

    An RGB mask of greys only is read as values, with the greys as the palette.

    Raises:
        UnreadableImage: `mask_…`.
    """
    try:
        opened = open_image(content, path, max_pixels=max_pixels)
        lossy = opened.format in _LOSSY
        opened.load()
    except UnreadableImage as refusal:
        raise UnreadableImage(path, f"mask_{refusal.code}", refusal.detail) from None
    except Exception as error:  # decoders of hostile files raise whatever they like
        raise UnreadableImage(path, "mask_broken", " ".join(str(error).split())[:200]) from None
    if lossy:
        raise UnreadableImage(path, "mask_lossy", "JPEG changes the values at edges: save masks as PNG")
    if opened.mode == "P":
        return np.asarray(opened).astype(np.int32), False, _palette(opened)
    if opened.mode in ("1", "L", "I", "I;16", "I;16B", "I;16L"):
        return np.asarray(opened).astype(np.int32), False, {}
    if opened.mode == "LA":
        return np.asarray(opened)[..., 0].astype(np.int32), False, {}
    rgb = np.asarray(opened.convert("RGB")).astype(np.int32)
    if (rgb == rgb[..., :1]).all():
        return rgb[..., 0], False, {v: v << 16 | v << 8 | v for v in range(256)}
    return rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2], True, {}


def _palette(opened: Image.Image) -> dict[int, int]:
    flat = opened.getpalette("RGB") or []
    rows = np.array(flat, dtype=np.int64).reshape(-1, 3)
    return {i: int(r << 16 | g << 8 | b) for i, (r, g, b) in enumerate(rows.tolist())}


def load_mask(path: str, label_map: LabelMap, sha256: str | None = None, *, max_pixels: int = MAX_PIXELS) -> Mask:
    """A mask as positions in the classes, `(H, W)`, 255 (`VOID`) where pixels are ignored.

    Raises:
        UnreadableImage: `mask_…`; `mask_changed` when the content is no longer what `sha256` says.
    """
    content = read_mask_file(path)
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise UnreadableImage(path, "mask_changed", "the file is no longer what was read before")
    raw, by_colour, palette = decode_mask(content, path, max_pixels=max_pixels)
    values, inverse = np.unique(raw, return_inverse=True)
    known = lookup(label_map, values.tolist(), by_colour, palette)
    table = np.array([known.get(v, VOID) for v in values.tolist()], dtype=np.uint8)
    return table[inverse].reshape(raw.shape)


def lookup(
    label_map: LabelMap, used: Sequence[int], by_colour: bool, palette: Mapping[int, int]
) -> dict[int, int]:
    """Value or colour in a file to a position in the classes, or `VOID`; unknown ones are missing.

    Where the label map has the palette's colour of each value that occurs, the colours decide, and the values may
    be anything.
    """
    colours = {code_of(c): i for i, c in enumerate(label_map.colours)}
    colours |= {code_of(c): VOID for c in label_map.void_colours}
    if by_colour:
        return colours
    if colours and all(palette.get(v) in colours for v in used):
        return {v: colours[palette[v]] for v in used}
    return {v: i for i, v in enumerate(label_map.values)} | dict.fromkeys(label_map.void, VOID)
