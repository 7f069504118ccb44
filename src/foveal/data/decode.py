"""One decoding path for the whole product: a file, any file, becomes an RGB picture or a stated refusal.

Order of events: an allow-list of formats, the size limit (before any pixel is touched), the
first frame, a full decode, EXIF orientation, then the colours: deep greys scaled by their depth,
CMYK and palettes converted, transparency laid over a stated background.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from foveal.config import MAX_PIXELS
from foveal.data.idx import member
from foveal.errors import DataError, UnreadableImage

#: Formats that are opened, by Pillow's names (JPEG includes MPO, the phones' variety). Others are
#: refused: fewer parsers, fewer surprises.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "TGA")

#: Of what `decode` makes of a file: what was remembered of another is not used.
DECODING = 2

#: Modes that can be averaged before they are made RGB.
_EIGHT_BITS = ("L", "LA", "P", "PA", "RGB", "RGBA", "CMYK")

#: What shows through transparency where nothing else is said.
WHITE = (255, 255, 255)

#: Reason codes of a refusal, and what they mean. They stand in `split.csv` and in predictions.
REASONS = {
    "missing": "no such file",
    "unreadable_file": "the system refuses to read it",
    "empty_file": "the file has no content",
    "not_a_picture": "no format that foveal knows",
    "format_not_allowed": "a picture, in a format that foveal does not open",
    "too_many_pixels": "more pixels than the limit",
    "truncated": "the file ends too early",
    "broken": "the decoder gave up on its content",
}

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_SIGNATURES = {
    b"\n\x05\x01": "PCX",
    b"\x01\xda": "SGI",
    b"%PDF": "PDF",
    b"%!PS": "EPS",
    b"8BPS": "PSD",
    b"<svg": "SVG",
    b"gimp xcf": "XCF",
    b"SIMPLE  =": "FITS",
    b"\x00\x00\x00\x18ftypheic": "HEIC",
    b"\x00\x00\x00\x24ftypheic": "HEIC",
    b"\x00\x00\x00\x1cftypheic": "HEIC",
}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's warnings (bombs, odd metadata) from the terminal: foveal has its own words for them.

    Pillow's own limit of pixels is lifted inside, since foveal checks its own before any pixel is touched.
    Enter it once, on the main thread, around a whole stage: filters and limit are global.
    """
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def read_file(path: str) -> bytes:
    """The content of a file, or of one picture of an IDX file (see `idx`).

    Raises:
        UnreadableImage: `missing`, `unreadable_file` or `empty_file`.
    """
    try:
        if not os.path.isfile(path):
            if (content := member(path)) is not None:
                return content
            code = "unreadable_file" if os.path.exists(path) else "missing"
            raise UnreadableImage(path, code, "not a regular file" if code != "missing" else REASONS[code])
        with open(path, "rb") as handle:
            content = handle.read()
    except UnreadableImage:
        raise
    except (OSError, ValueError, DataError) as error:
        raise UnreadableImage(path, "unreadable_file", str(error)) from None
    if not content:
        raise UnreadableImage(path, "empty_file", REASONS["empty_file"])
    return content


def open_picture(content: bytes, path: str, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open without decoding, with format and size checked.

    Raises:
        UnreadableImage: `not_a_picture`, `format_not_allowed`, `too_many_pixels` or `broken`.
    """
    try:
        picture = Image.open(io.BytesIO(content), formats=_openable())
        width, height = picture.size
    except Image.DecompressionBombError as error:
        raise UnreadableImage(path, "too_many_pixels", str(error)) from None
    except UnidentifiedImageError:
        raise _unknown(content, path) from None
    except Exception as error:
        raise UnreadableImage(path, "broken", _words(error)) from None
    if width * height > max_pixels:
        detail = f"{width} × {height} = {width * height / 1e6:.0f} Mpx, over the limit of {max_pixels / 1e6:g} Mpx"
        raise UnreadableImage(path, "too_many_pixels", detail)
    if width < 1 or height < 1:
        raise UnreadableImage(path, "broken", f"a picture of {width} × {height} pixels")
    return picture


@cache
def _openable() -> tuple[str, ...]:
    """The allowed formats that this build of Pillow has."""
    Image.init()
    return tuple(f for f in FORMATS if f in Image.OPEN)


def decode(
    content: bytes,
    path: str,
    *,
    shrink_to: int | None = None,
    max_pixels: int = MAX_PIXELS,
    background: tuple[int, int, int] = WHITE,
) -> Image.Image:
    """A fully decoded RGB picture, upright.

    Args:
        content: the file's bytes.
        path: its name, for the message of a refusal.
        shrink_to: when given, the picture may come back smaller, its short side never below this
            many pixels: JPEGs are decoded at a half, a quarter or an eighth (the data are still
            read to the end), and all else of 8 bits is averaged down by a whole number.
        max_pixels: larger pictures are refused.
        background: what shows through transparency, RGB.

    Raises:
        UnreadableImage: with one of the codes of `REASONS`.
    """
    picture = open_picture(content, path, max_pixels=max_pixels)
    return finish(picture, path, shrink_to=shrink_to, background=background)


def finish(
    picture: Image.Image,
    path: str,
    *,
    shrink_to: int | None = None,
    background: tuple[int, int, int] = WHITE,
) -> Image.Image:
    """Decode an opened picture: its first frame, upright, in RGB.

    Raises:
        UnreadableImage: `truncated` or `broken`.
    """
    try:
        if shrink_to is not None and picture.format in ("JPEG", "MPO"):
            _draft(picture, shrink_to)
        picture.load()
        turn = orientation_of(picture)
        if shrink_to is not None:
            picture = _averaged(picture, shrink_to)
        return to_rgb(picture if turn == 1 else picture.transpose(_TURNS[turn]), background)
    except UnreadableImage:
        raise
    except EOFError as error:
        raise UnreadableImage(path, "truncated", _words(error)) from None
    except Exception as error:  # decoders of hostile files raise whatever they like
        words = _words(error)
        code = "truncated" if "truncated" in words.lower() else "broken"
        raise UnreadableImage(path, code, words) from None


def to_rgb(picture: Image.Image, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """Any of Pillow's modes as RGB, values scaled (never clipped) to 0-255."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
        return Image.fromarray(_deep_grey(picture), "L").convert("RGB")
    if picture.mode in ("RGBa", "La"):
        picture = picture.convert("RGBA" if picture.mode == "RGBa" else "LA")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        with_alpha = picture.convert("RGBA")
        canvas = Image.new("RGBA", with_alpha.size, (*background, 255))
        canvas.alpha_composite(with_alpha)
        return canvas.convert("RGB")
    return picture.convert("RGB")


def orientation_of(picture: Image.Image) -> int:
    """The EXIF orientation, 1-8; 1 where there is none or where the metadata are broken."""
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken metadata never cost a picture
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def exif_of(picture: Image.Image) -> tuple[str | None, str | None]:
    """Camera (maker and model) and time of taking (`YYYY:MM:DD HH:MM:SS`), where EXIF has them."""
    try:
        tags = picture.getexif()
        if not tags:
            return None, None
        camera = " ".join(str(tags.get(t, "")).strip("\0 ") for t in (ExifTags.Base.Make, ExifTags.Base.Model))
        details = tags.get_ifd(ExifTags.IFD.Exif)
        taken = details.get(ExifTags.Base.DateTimeOriginal) or tags.get(ExifTags.Base.DateTime)
    except Exception:  # broken metadata never cost a picture
        return None, None
    return camera.strip() or None, str(taken).strip("\0 ") if taken else None


def _draft(picture: Image.Image, short_side: int) -> None:
    width, height = picture.size
    scale = short_side / min(width, height)
    if scale < 1 and isinstance(picture, ImageFile.ImageFile):
        picture.draft("RGB", (int(np.ceil(width * scale)), int(np.ceil(height * scale))))


def _averaged(picture: Image.Image, short_side: int) -> Image.Image:
    """As many pixels as are needed, before colours and transparency are settled: posters cost a third less so."""
    factor = min(picture.size) // short_side
    if factor < 2 or picture.mode not in _EIGHT_BITS:
        return picture
    if picture.mode in ("P", "PA") or "transparency" in picture.info:
        clear = picture.mode == "PA" or "transparency" in picture.info
        picture = picture.convert("RGBA" if clear else "RGB")
    return picture.reduce(factor)


def _deep_grey(picture: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Greys of more than 8 bits, scaled by their depth: 16-bit by 65535, floats by 1 if they fit."""
    values = np.asarray(picture).astype(np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if picture.mode == "F":
        full = 1.0 if high <= 1.0 else 255.0 if high <= 255.0 else 65535.0 if high <= 65535.0 else high
    elif picture.mode == "I":
        # 32-bit mode also carries 16-bit files: its depth is the smallest that holds the values.
        full = 65535.0 if high <= 65535.0 else float(2**31 - 1)
    else:
        full = 65535.0
    if low < 0:
        values, full = values - low, max(full, high) - low
    return np.asarray(np.rint(values * (255.0 / full)), dtype=np.uint8)


def _unknown(content: bytes, path: str) -> UnreadableImage:
    head = content[:512].lstrip()
    for signature, name in _SIGNATURES.items():
        if head.startswith(signature) or (name == "SVG" and b"<svg" in head):
            return UnreadableImage(path, "format_not_allowed", f"{name} is not opened; convert it to PNG or JPEG")
    return UnreadableImage(path, "not_a_picture", "no format that foveal knows, or a broken header")


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200]
