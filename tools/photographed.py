"""Make pictures such as a person brings: a character on paper or on a board, scanned or taken with a phone.

What is drawn is known, so that what reads it can be measured. `photograph` takes a mask of ink and gives
a picture: any size, uneven light, paper grain, perspective, blur, JPEG.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Grey = NDArray[np.uint8]
Array = NDArray[Any]


def photograph(ink: Grey, chance: np.random.Generator, *, harsh: float = 1.0, largest: int = 700) -> Image.Image:
    """A picture of ink on a ground.

    Args:
        ink: `(H, W)`, 255 where the pen was.
        chance: draws everything.
        harsh: 0 is a clean scan, 1 a poor photo.
        largest: pixels that the ink's long side stays under.
    """
    side = int(chance.integers(60, largest))
    mask = _enlarged(ink, side)
    mask = _placed(mask, chance, harsh)
    height, width = mask.shape
    dark_ground = chance.random() < 0.3
    paper = chance.uniform(205, 250, 3) if not dark_ground else chance.uniform(10, 60, 3)
    pen = chance.uniform(5, 80, 3) if not dark_ground else chance.uniform(190, 250, 3)
    light = _light(height, width, chance, harsh)
    picture = (paper + (pen - paper) * mask[:, :, None]) * light[:, :, None]
    picture += _grain(height, width, chance, harsh)[:, :, None]
    result = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    result = result.filter(ImageFilter.GaussianBlur(chance.uniform(0, 0.004 * side * harsh)))
    if chance.random() < 0.2:
        result = result.convert("L").convert("RGB")
    buffer = io.BytesIO()
    result.save(buffer, "JPEG", quality=int(chance.integers(45, 95)))
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def letter(text: str, chance: np.random.Generator, font: str, *, size: int = 96) -> Grey:
    """Printed characters as ink, a little turned."""
    picture = Image.new("L", (size * (1 + len(text)), size * 2), 0)
    drawing = ImageDraw.Draw(picture)
    drawing.text((size // 2, size // 3), text, fill=255, font=ImageFont.truetype(font, size))
    turned = picture.rotate(float(chance.uniform(-10, 10)), resample=Image.Resampling.BICUBIC)
    return np.asarray(turned.crop(turned.getbbox()))


def scribble(chance: np.random.Generator, *, size: int = 120) -> Grey:
    """A few random strokes."""
    picture = Image.new("L", (size, size), 0)
    drawing = ImageDraw.Draw(picture)
    for _ in range(int(chance.integers(2, 7))):
        points = chance.uniform(5, size - 5, (int(chance.integers(2, 7)), 2))
        drawing.line(
            [tuple(p) for p in points.tolist()], fill=255, width=int(chance.integers(3, 10)), joint="curve"
        )
    return np.asarray(picture)


def thing(chance: np.random.Generator) -> Image.Image:
    """Something that is no writing: soft shapes over each other and over a texture, half of them like a face."""
    side = int(chance.integers(80, 240))
    coarse = chance.integers(0, 256, (int(chance.integers(2, 9)), int(chance.integers(2, 9)), 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    drawing = ImageDraw.Draw(picture)

    def shape(x: float, y: float, w: float, h: float) -> None:
        colour = tuple(int(v) for v in chance.integers(0, 256, 3))
        drawing.ellipse([side * (x - w), side * (y - h), side * (x + w), side * (y + h)], fill=colour)

    if chance.random() < 0.5:
        x, y, r = chance.uniform(0.35, 0.65), chance.uniform(0.4, 0.6), chance.uniform(0.2, 0.4)
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
        for _ in range(int(chance.integers(2, 12))):
            shape(*chance.uniform(0, 1, 2), *chance.uniform(0.03, 0.4, 2))
    picture = picture.filter(ImageFilter.GaussianBlur(float(chance.uniform(0, 4))))
    grain = _grain(side, side, chance, 1.5)[:, :, None]
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


def side_by_side(some: list[Grey]) -> Grey:
    """Several characters in a row."""
    return np.concatenate([np.pad(s, ((0, 0), (0, 2))) for s in some], axis=1)


def _enlarged(ink: Grey, side: int) -> Array:
    scale = side / max(ink.shape)
    shape = (max(2, round(ink.shape[1] * scale)), max(2, round(ink.shape[0] * scale)))
    big = np.asarray(Image.fromarray(ink).resize(shape, Image.Resampling.BICUBIC), dtype=np.float32)
    return np.clip((big / 255 - 0.35) / 0.3, 0, 1)


def _placed(mask: Array, chance: np.random.Generator, harsh: float) -> Array:
    """Somewhere on a larger sheet, seen at an angle."""
    room = [round(v) for v in chance.uniform(0.08, 0.8, 4) * max(mask.shape)]
    sheet = Image.fromarray(
        np.round(255 * np.pad(mask, ((room[0], room[1]), (room[2], room[3])))).astype(np.uint8)
    )
    w, h = sheet.size
    corners = np.array([(0, 0), (0, h), (w, h), (w, 0)], dtype=float)
    moved = corners + chance.uniform(-0.07, 0.07, (4, 2)) * harsh * np.array([w, h])
    turned = sheet.transform(
        sheet.size, Image.Transform.PERSPECTIVE, _perspective(corners, moved), Image.Resampling.BICUBIC
    )
    return np.asarray(turned, dtype=np.float32) / 255


def _perspective(target: NDArray[Any], source: NDArray[Any]) -> list[float]:
    """The eight numbers with which Pillow maps the target's corners to the source's."""
    rows = []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    found: list[float] = np.linalg.solve(np.array(rows), source.reshape(-1)).tolist()
    return found


def _light(height: int, width: int, chance: np.random.Generator, harsh: float) -> Array:
    """A lamp at one side, and perhaps the shadow of a hand."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = chance.uniform(0, 2 * np.pi)
    light = 1 - harsh * chance.uniform(0, 0.3) * (1 + np.cos(angle) * x + np.sin(angle) * y) / 2
    if chance.random() < 0.4 * harsh:
        cx, cy, r = chance.uniform(-1, 1), chance.uniform(-1, 1), chance.uniform(0.4, 1.0)
        light -= 0.25 * harsh * np.exp(-(((x - cx) ** 2 + (y - cy) ** 2) / r**2))
    result: Array = np.clip(light, 0.25, 1.0).astype(np.float32)
    return result


def _grain(height: int, width: int, chance: np.random.Generator, harsh: float) -> Array:
    fine = chance.normal(0, 1 + 5 * harsh * chance.random(), (height, width))
    small = chance.normal(0, 4 * harsh * chance.random(), (height // 8 + 2, width // 8 + 2)).astype(np.float32)
    coarse = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    result: Array = (fine + coarse).astype(np.float32)
    return result
