"""What drawn predictions share: colours that can be told apart, a size to look at, a key below the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from foveal.files import replacing

#: Okabe and Ito's colours, which colour-blind people can tell apart, and two more.
PALETTE = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
    (120, 94, 240), (100, 220, 60),
)  # fmt: skip
#: Images are drawn at this long side at least and at most, pixels.
_SMALLEST, _LARGEST = 480, 1600


def at_display_size(image: Image.Image) -> Image.Image:
    """The image, RGB, at the size at which it is drawn: not too large, nor too small for a key."""
    longest = max(image.size)
    scale = _LARGEST / longest if longest > _LARGEST else max(1.0, _SMALLEST / longest)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS) if size != image.size else image


def with_key(image: Image.Image, title: str, rows: list[tuple[str, tuple[int, int, int]]]) -> Image.Image:
    """The image with a strip below it that says what the colours mean: a text and a colour a row."""
    size = max(14, image.width // 45)
    font = ImageFont.load_default(size)
    line, gap = round(1.6 * size), size
    placed, x, y = [], gap, 2 * line
    for words, colour in rows:
        width = line + int(font.getlength(words)) + 2 * gap
        if x + width > image.width and x > gap:
            x, y = gap, y + line
        placed.append((x, y, words, colour))
        x += width
    result = Image.new("RGB", (image.width, image.height + y + line + gap // 2), (255, 255, 255))
    result.paste(image)
    draw = ImageDraw.Draw(result)
    draw.text((gap, image.height + gap // 2), title, fill=(0, 0, 0), font=font)
    for x, y, words, colour in placed:
        top = image.height + y - line // 2
        draw.rectangle((x, top, x + size, top + size), fill=colour, outline=(80, 80, 80))
        draw.text((x + line, top - size // 6), words, fill=(0, 0, 0), font=font)
    return result


def as_rgb(colour: NDArray[np.generic]) -> tuple[int, int, int]:
    """A colour as Pillow takes it."""
    r, g, b = (int(v) for v in colour)
    return r, g, b


def save_png(image: Image.Image, target: Path) -> None:
    """Write a PNG, whole or not at all."""
    with replacing(target) as part, part.open("wb") as stream:
        image.save(stream, "PNG")
