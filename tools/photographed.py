"""Make images such as users have: a character on paper or on a board, scanned or photographed with a phone.

What is drawn is known, so that recognition can be measured. `photograph` turns a mask of ink into an image:
any size, uneven light, paper grain, perspective, blur, JPEG.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Grey = NDArray[np.uint8]
Array = NDArray[Any]


def photograph(ink: Grey, rng: np.random.Generator, *, harsh: float = 1.0, largest: int = 700) -> Image.Image:
    """An image of ink on a background.

    Args:
        ink: `(H, W)`, 255 where the pen was.
        rng: source of all random numbers.
        harsh: 0 is a clean scan, 1 a poor photo.
        largest: upper limit of the ink's long side, pixels.
    """
    side = int(rng.integers(60, largest))
    mask = _enlarged(ink, side)
    mask = _placed(mask, rng, harsh)
    height, width = mask.shape
    dark_background = rng.random() < 0.3
    paper = rng.uniform(205, 250, 3) if not dark_background else rng.uniform(10, 60, 3)
    pen = rng.uniform(5, 80, 3) if not dark_background else rng.uniform(190, 250, 3)
    light = _light(height, width, rng, harsh)
    image = (paper + (pen - paper) * mask[:, :, None]) * light[:, :, None]
    image += _grain(height, width, rng, harsh)[:, :, None]
    result = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    result = result.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.004 * side * harsh)))
    if rng.random() < 0.2:
        result = result.convert("L").convert("RGB")
    buffer = io.BytesIO()
    result.save(buffer, "JPEG", quality=int(rng.integers(45, 95)))
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def letter(text: str, rng: np.random.Generator, font: str, *, size: int = 96) -> Grey:
    """Printed characters as ink, slightly rotated."""
    image = Image.new("L", (size * (1 + len(text)), size * 2), 0)
    drawing = ImageDraw.Draw(image)
    drawing.text((size // 2, size // 3), text, fill=255, font=ImageFont.truetype(font, size))
    rotated = image.rotate(float(rng.uniform(-10, 10)), resample=Image.Resampling.BICUBIC)
    return np.asarray(rotated.crop(rotated.getbbox()))


def scribble(rng: np.random.Generator, *, size: int = 120) -> Grey:
    """A few random strokes."""
    image = Image.new("L", (size, size), 0)
    drawing = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 7))):
        points = rng.uniform(5, size - 5, (int(rng.integers(2, 7)), 2))
        drawing.line([tuple(p) for p in points.tolist()], fill=255, width=int(rng.integers(3, 10)), joint="curve")
    return np.asarray(image)


def thing(rng: np.random.Generator) -> Image.Image:
    """Anything but writing: soft overlapping shapes on a texture, half of the images like a face."""
    side = int(rng.integers(80, 240))
    coarse = rng.integers(0, 256, (int(rng.integers(2, 9)), int(rng.integers(2, 9)), 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    drawing = ImageDraw.Draw(image)

    def shape(x: float, y: float, w: float, h: float) -> None:
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        drawing.ellipse([side * (x - w), side * (y - h), side * (x + w), side * (y + h)], fill=colour)

    if rng.random() < 0.5:
        x, y, r = rng.uniform(0.35, 0.65), rng.uniform(0.4, 0.6), rng.uniform(0.2, 0.4)
        shape(x, y - 0.35 * r, 1.05 * r, 1.1 * r)  # hair, head, eyes, nose, mouth, shoulders
        shape(x, y, 0.8 * r, r)
        for dx, dy, w, h in (
            (-0.35, -0.2, 0.13, 0.08),
            (0.35, -0.2, 0.13, 0.08),
            (0, 0.1, 0.1, 0.2),
            (0, 0.5, 0.3, 0.1),
        ):
            shape(x + dx * r, y + dy * r, w * r, h * r)
        shape(x, y + 1.8 * r, 1.6 * r, 0.8 * r)
    else:
        for _ in range(int(rng.integers(2, 12))):
            shape(*rng.uniform(0, 1, 2), *rng.uniform(0.03, 0.4, 2))
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 4))))
    grain = _grain(side, side, rng, 1.5)[:, :, None]
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def side_by_side(some: list[Grey]) -> Grey:
    """Several characters in a row."""
    return np.concatenate([np.pad(s, ((0, 0), (0, 2))) for s in some], axis=1)


def _enlarged(ink: Grey, side: int) -> Array:
    scale = side / max(ink.shape)
    shape = (max(2, round(ink.shape[1] * scale)), max(2, round(ink.shape[0] * scale)))
    big = np.asarray(Image.fromarray(ink).resize(shape, Image.Resampling.BICUBIC), dtype=np.float32)
    return np.clip((big / 255 - 0.35) / 0.3, 0, 1)


def _placed(mask: Array, rng: np.random.Generator, harsh: float) -> Array:
    """At a random position on a larger sheet, in perspective."""
    margins = [round(v) for v in rng.uniform(0.08, 0.8, 4) * max(mask.shape)]
    sheet = Image.fromarray(
        np.round(255 * np.pad(mask, ((margins[0], margins[1]), (margins[2], margins[3])))).astype(np.uint8)
    )
    w, h = sheet.size
    corners = np.array([(0, 0), (0, h), (w, h), (w, 0)], dtype=float)
    moved = corners + rng.uniform(-0.07, 0.07, (4, 2)) * harsh * np.array([w, h])
    warped = sheet.transform(
        sheet.size, Image.Transform.PERSPECTIVE, _perspective(corners, moved), Image.Resampling.BICUBIC
    )
    return np.asarray(warped, dtype=np.float32) / 255


def _perspective(target: NDArray[Any], source: NDArray[Any]) -> list[float]:
    """The eight coefficients with which Pillow maps the target's corners to the source's."""
    rows = []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    coefficients: list[float] = np.linalg.solve(np.array(rows), source.reshape(-1)).tolist()
    return coefficients


def _light(height: int, width: int, rng: np.random.Generator, harsh: float) -> Array:
    """Light from one side, and in some images the shadow of a hand."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 - harsh * rng.uniform(0, 0.3) * (1 + np.cos(angle) * x + np.sin(angle) * y) / 2
    if rng.random() < 0.4 * harsh:
        cx, cy, r = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.4, 1.0)
        light -= 0.25 * harsh * np.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / r**2))
    result: Array = np.clip(light, 0.25, 1.0).astype(np.float32)
    return result


def _grain(height: int, width: int, rng: np.random.Generator, harsh: float) -> Array:
    fine = rng.normal(0, 1 + 5 * harsh * rng.random(), (height, width))
    small = rng.normal(0, 4 * harsh * rng.random(), (height // 8 + 2, width // 8 + 2)).astype(np.float32)
    coarse = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    result: Array = (fine + coarse).astype(np.float32)
    return result
