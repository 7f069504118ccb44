"""The only decoder: a file, any file, becomes an RGB image or a refusal with a reason code.

In this order: an allow-list of formats, the size limit (before any pixel is decoded), the first frame, a full
decode, EXIF orientation, then the colours: greys of more than 8 bits scaled by their depth, CMYK and palettes
converted, transparency composited over a given background.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from foveal.config import MAX_PIXELS
from foveal.data.images.reading import read_regular
from foveal.data.images.shards import content_of, in_shard
from foveal.errors import DataError, UnreadableImage

#: The formats that are opened, by Pillow's names (JPEG includes MPO, which phones write). Others are refused:
#: each parser adds risk.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "TGA")

#: Those among them that Pillow imports before it opens its first file.
_USUAL = ("JPEG", "PNG", "GIF", "BMP", "DIB", "PPM")

#: Version of what `decode` returns for a file: results that were cached under another are not used.
DECODING = 3

#: Modes that can be averaged before they are made RGB.
_EIGHT_BITS = ("L", "LA", "P", "PA", "RGB", "RGBA", "CMYK")

#: What shows through transparency by default.
WHITE = (255, 255, 255)

#: Reason codes of a refusal, and what they mean. They appear in `split.csv` and in predictions.
REASONS = {
    "missing": "no such file",
    "unreadable_file": "the system does not allow it to be read",
    "empty_file": "the file has no content",
    "too_large": "the file is larger than the limit, or than the memory that is left",
    "no_answer": "the system does not deliver its content: a file share that is gone, or a device",
    "changed": "the file changed while it was read, or since it was first read",
    "not_a_picture": "not an image format that foveal knows",
    "format_not_allowed": "an image in a format that foveal does not open",
    "too_many_pixels": "more pixels than the limit",
    "truncated": "the file ends too early",
    "broken": "its content can't be decoded",
    "not_a_file": "a link, a device or a sparse file inside a tar file",
    "unsafe_name": "a member of a tar file whose name leads out of it",
    "repeated_name": "a member of a tar file of the same name as an earlier one",
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


#: Who is inside `quiet`, in all threads. A lock that its owner may take again: a forgotten generator can leave
#: `quiet` in the middle of another call, when the garbage collector runs.
_quiet_lock, _quiet_users, _quiet_state = threading.RLock(), 0, ExitStack()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's warnings (bombs, odd metadata) from the terminal: foveal has its own words for them.

    Pillow's own limit of pixels is lifted inside, since foveal checks its own before any pixel is touched. Filters
    and limit are global, so threads share one state: the first to enter sets it, the last to leave restores what
    was there before.
    """
    global _quiet_users
    with _quiet_lock:
        _quiet_users += 1
        if _quiet_users == 1:
            _quiet_state.enter_context(_without_warnings_and_limit())
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_users -= 1
            if _quiet_users == 0:
                _quiet_state.close()


@contextmanager
def _without_warnings_and_limit() -> Iterator[None]:
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def read_file(path: str) -> bytes:
    """The content of a file, or of one image inside another file (see `shards`).

    Raises:
        UnreadableImage: `missing`, `unreadable_file`, `empty_file`, `too_large`, `changed` or `no_answer`; of a member
            of a tar file also `truncated`, `broken`, `not_a_file`, `unsafe_name` or `repeated_name`.
    """
    try:
        content = _member(path) if in_shard(path) else read_regular(path)
    except FileNotFoundError:
        content = _member(path)
    if not content:
        raise UnreadableImage(path, "empty_file", REASONS["empty_file"])
    return content


def _member(path: str) -> bytes:
    """One image inside another file."""
    try:
        content = content_of(path)
    except UnreadableImage:
        raise
    except DataError as error:
        raise UnreadableImage(path, "unreadable_file", str(error)) from None
    if content is None:
        raise UnreadableImage(path, "missing", REASONS["missing"])
    return content


def open_image(content: bytes, path: str, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open without decoding, with format and size checked.

    Raises:
        UnreadableImage: `not_a_picture`, `format_not_allowed`, `too_many_pixels` or `broken`.
    """
    try:
        image = _opened(content)
        width, height = image.size
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
        raise UnreadableImage(path, "broken", f"an image of {width} × {height} pixels")
    return image


def _opened(content: bytes) -> Image.Image:
    """Opened by the few usual parsers, if possible: to import those of all formats takes longer than to predict."""
    try:
        return Image.open(io.BytesIO(content), formats=_USUAL)
    except UnidentifiedImageError:
        return Image.open(io.BytesIO(content), formats=_openable())


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
    """A fully decoded RGB image, upright.

    Args:
        content: the file's bytes.
        path: its name, for the message of a refusal.
        shrink_to: when given, the image may come back smaller, its short side never below this
            many pixels: JPEGs are decoded at a half, a quarter or an eighth (the data are still
            read to the end), and all other 8-bit images are averaged down by a whole number.
        max_pixels: larger images are refused.
        background: what shows through transparency, RGB.

    Raises:
        UnreadableImage: with one of the codes of `REASONS`.
    """
    image = open_image(content, path, max_pixels=max_pixels)
    return finish(image, path, shrink_to=shrink_to, background=background)


def finish(
    image: Image.Image,
    path: str,
    *,
    shrink_to: int | None = None,
    background: tuple[int, int, int] = WHITE,
) -> Image.Image:
    """Decode an opened image: its first frame, upright, in RGB.

    Raises:
        UnreadableImage: `truncated` or `broken`.
    """
    try:
        if shrink_to is not None and image.format in ("JPEG", "MPO"):
            _draft(image, shrink_to)
        image.load()
        turn = orientation_of(image)
        if shrink_to is not None:
            image = _averaged(image, shrink_to)
        return to_rgb(image if turn == 1 else image.transpose(_TURNS[turn]), background)
    except UnreadableImage:
        raise
    except EOFError as error:
        raise UnreadableImage(path, "truncated", _words(error)) from None
    except Exception as error:  # decoders of hostile files raise whatever they like
        words = _words(error)
        code = "truncated" if "truncated" in words.lower() else "broken"
        raise UnreadableImage(path, code, words) from None


def to_rgb(image: Image.Image, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """Any of Pillow's modes as RGB, values scaled (never clipped) to 0-255."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return Image.fromarray(_deep_grey(image), "L").convert("RGB")
    if image.mode in ("RGBa", "La"):
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        canvas = Image.new("RGBA", with_alpha.size, (*background, 255))
        canvas.alpha_composite(with_alpha)
        return canvas.convert("RGB")
    return image.convert("RGB")


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1-8; 1 where there is none or where the metadata are broken."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken metadata never cost an image
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def exif_of(image: Image.Image) -> tuple[str | None, str | None]:
    """Camera (maker and model) and time of taking (`YYYY:MM:DD HH:MM:SS`), where EXIF has them."""
    try:
        tags = image.getexif()
        if not tags:
            return None, None
        camera = " ".join(str(tags.get(t, "")).strip("\0 ") for t in (ExifTags.Base.Make, ExifTags.Base.Model))
        details = tags.get_ifd(ExifTags.IFD.Exif)
        taken = details.get(ExifTags.Base.DateTimeOriginal) or tags.get(ExifTags.Base.DateTime)
    except Exception:  # broken metadata never cost an image
        return None, None
    return camera.strip() or None, str(taken).strip("\0 ") if taken else None


def has_several_frames(image: Image.Image) -> bool:
    """Whether a file holds more images than its first: an animation, or pages. To be asked after decoding.

    The second image that some phones add to a JPEG, a preview or a depth map, does not count.
    """
    try:
        return image.format not in ("JPEG", "MPO") and bool(getattr(image, "is_animated", False))
    except Exception:  # what follows the first image may be broken
        return False


def _draft(image: Image.Image, short_side: int) -> None:
    width, height = image.size
    scale = short_side / min(width, height)
    if scale < 1 and isinstance(image, ImageFile.ImageFile):
        image.draft("RGB", (int(np.ceil(width * scale)), int(np.ceil(height * scale))))


def _averaged(image: Image.Image, short_side: int) -> Image.Image:
    """Averaged down before colours and transparency are converted, which costs a third less for posters."""
    factor = min(image.size) // short_side
    if factor < 2 or image.mode not in _EIGHT_BITS:
        return image
    if image.mode in ("P", "PA") or "transparency" in image.info:
        clear = image.mode == "PA" or "transparency" in image.info
        image = image.convert("RGBA" if clear else "RGB")
    return image.reduce(factor)


def _deep_grey(image: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Greys of more than 8 bits, scaled by their depth: 16-bit by 65535, floats by 1 if they fit."""
    values = np.asarray(image).astype(np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if image.mode == "F":
        full = 1.0 if high <= 1.0 else 255.0 if high <= 255.0 else 65535.0 if high <= 65535.0 else high
    elif image.mode == "I":
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
            return UnreadableImage(
                path, "format_not_allowed", f"{name} is not supported; convert it to PNG or JPEG"
            )
    return UnreadableImage(path, "not_a_picture", "not an image format that foveal knows, or a broken header")


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200]
