"""A map of answers as pictures that a person can read: who won where, and where each class stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from foveal.files import replacing, write_json
from foveal.ship.maps import AnswerMap
from foveal.ship.naming import Names
from foveal.values import SCHEMA

#: Okabe and Ito's colours, which people who see few colours can tell apart, and two more.
_COLOURS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
    (120, 94, 240), (100, 220, 60),
)  # fmt: skip
_REST = (128, 128, 128)
#: Dark to bright, with about even steps of lightness (some points of matplotlib's inferno).
_HEAT = np.array([[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]], float)
#: Pictures longer than this are drawn smaller.
_LONGEST = 1600
#: Classes that get a picture of their own: those with the highest peaks.
_SHOWN = 8


def write_maps(found: AnswerMap, folder: Path, names: Names | None = None) -> dict[str, Any]:
    """Write the array, the pictures and what they mean; returns the latter, as `maps[]` of `--json`.

    Files: `NAME.npy` `(K, h, w)`, `NAME.png` (the likeliest class at each place), `NAME-CLASS.png` for the classes
    with the highest peaks, `NAME.json`; where the model can tell, `NAME-none.npy` `(h, w)`, the probability of
    none of the classes. NAME is the picture's own, as long as no other file or answer has it; `names` gives the
    names of several pictures.
    """
    name = (names or Names(folder)).fresh(found.path)
    files = {"array": folder / f"{name}.npy", "overlay": folder / f"{name}.png"}
    with replacing(files["array"]) as part, part.open("wb") as stream:
        np.save(stream, found.probabilities)
    if found.outside is not None:
        files["none"] = folder / f"{name}-none.npy"
        with replacing(files["none"]) as part, part.open("wb") as stream:
            np.save(stream, found.outside)
    _save(winners(found), files["overlay"])
    heat = {}
    peaks = found.probabilities.max(axis=(1, 2))
    for k in np.argsort(-peaks, kind="stable")[:_SHOWN].tolist():
        plain = re.sub(r"[^\w.-]+", "_", found.classes[k])
        target = folder / f"{name}-{plain}.png"
        _save(one_class(found, k), target)
        heat[found.classes[k]] = str(target)
    wins = _wins(found)
    record = {
        "schema": SCHEMA,
        "path": found.path,
        **{kind: str(file) for kind, file in files.items()},
        "heat": heat,
        "classes": list(found.classes),
        "shape": list(found.probabilities.shape),
        "window": found.window,
        "stride": found.stride,
        "left": found.left,
        "top": found.top,
        "share": {c: n / wins.sum() for c, n in zip(found.classes, wins.tolist(), strict=True) if n},
        "peak": {c: float(p) for c, p in zip(found.classes, peaks, strict=True)},
        "seconds": found.seconds,
        "tiles": found.tiles,
        "agreement": found.agreement,
    }
    write_json(folder / f"{name}.json", record)
    return record


def winners(found: AnswerMap) -> Image.Image:
    """The picture in the colours of the likeliest classes, the stronger the surer, with a legend.

    Where the model says "none of the classes" the colour fades.
    """
    best, wins = found.probabilities.argmax(axis=0), _wins(found)
    order = [k for k in np.argsort(-wins, kind="stable").tolist() if wins[k]]
    palette = np.tile(np.array(_REST, float), (len(found.classes), 1))
    palette[order[: len(_COLOURS)]] = np.array(_COLOURS, float)[: len(order)]
    surest = found.probabilities.max(axis=0)
    base = _drawn(found.picture)
    chance = 1.0 / len(found.classes)
    strength = 0.15 + 0.5 * np.clip((surest - chance) / (1.0 - chance), 0.0, 1.0)
    if found.outside is not None:
        strength = strength * (1.0 - found.outside)
    colour = _spread(found, palette[best].astype(np.float32), base.size, smooth=False)
    painted = _blend(base, colour, _spread(found, strength[..., None], base.size, smooth=False))
    rows = [(_words(found, k, wins), _as_rgb(palette[k])) for k in order[: len(_COLOURS)]]
    if len(order) > len(_COLOURS):
        rows.append((f"{len(order) - len(_COLOURS)} more", _REST))
    return with_legend(painted, f"likeliest class, window {found.window:.0f} px", rows)


def one_class(found: AnswerMap, k: int) -> Image.Image:
    """Where one class stands: its probability as heat over the grey picture, with a scale from 0 to 100 %."""
    base = _drawn(found.picture).convert("L").convert("RGB")
    p = _spread(found, found.probabilities[k][..., None], base.size, smooth=True)
    painted = _blend(base, _heat(p[..., 0]), 0.25 + 0.5 * p)
    steps = [(f"{100 * v:.0f} %", _as_rgb(_heat(np.array([v]))[0])) for v in (0.0, 0.25, 0.5, 0.75, 1.0)]
    peak = float(found.probabilities[k].max())
    return with_legend(painted, f"{found.classes[k]}: up to {100 * peak:.0f} %", steps)


def _wins(found: AnswerMap) -> NDArray[np.float64]:
    """At how many places each class is the likeliest; places that may be none of them count less."""
    inside = None if found.outside is None else (1.0 - found.outside).ravel()
    best = found.probabilities.argmax(axis=0).ravel()
    return np.bincount(best, weights=inside, minlength=len(found.classes)).astype(np.float64)


def _words(found: AnswerMap, k: int, wins: NDArray[np.float64]) -> str:
    return f"{found.classes[k]}: {100 * wins[k] / wins.sum():.0f} %"


def _drawn(picture: Image.Image) -> Image.Image:
    """The picture at the size it is drawn at: not too large, nor too small for a legend."""
    longest = max(picture.size)
    scale = _LONGEST / longest if longest > _LONGEST else max(1.0, 480 / longest)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS) if size != picture.size else picture


def _spread(
    found: AnswerMap, values: NDArray[np.floating[Any]], size: tuple[int, int], *, smooth: bool
) -> NDArray[np.float32]:
    """Values `(h, w, C)` at the centres of the windows, over all pixels `(H, W, C)` of the drawn picture.

    A pixel takes the value of the nearest centre, or a mixture of the four around it; beyond the outermost centres
    the outermost values go on.
    """
    result = values.astype(np.float32)
    for axis, (pixels, start) in enumerate(((size[1], found.top), (size[0], found.left))):
        drawn = pixels / (found.picture.height if axis == 0 else found.picture.width)
        centres = start + found.window / 2
        at = ((np.arange(pixels) + 0.5) / drawn - centres) / found.stride
        at = np.clip(at, 0, result.shape[axis] - 1)
        low = np.floor(at).astype(int) if smooth else np.rint(at).astype(int)
        high = np.minimum(low + 1, result.shape[axis] - 1)
        rest = (at - low if smooth else np.zeros(pixels)).astype(np.float32)
        shape = [1, 1, 1]
        shape[axis] = pixels
        rest = rest.reshape(shape)
        result = result.take(low, axis=axis) * (1 - rest) + result.take(high, axis=axis) * rest
    return result


def _blend(
    base: Image.Image, colour: NDArray[np.floating[Any]], strength: NDArray[np.floating[Any]]
) -> Image.Image:
    pixels = np.asarray(base, dtype=np.float32)
    return Image.fromarray(np.rint(pixels * (1 - strength) + colour * strength).astype(np.uint8))


def _heat(p: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Values in 0-1 to RGB 0-255."""
    at = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(p, at, _HEAT[:, i]) for i in range(3)], axis=-1).astype(np.float32)


def _as_rgb(colour: NDArray[np.floating[Any]]) -> tuple[int, int, int]:
    r, g, b = (int(v) for v in colour)
    return r, g, b


def with_legend(picture: Image.Image, title: str, rows: list[tuple[str, tuple[int, int, int]]]) -> Image.Image:
    """The picture with a strip below it that says what the colours mean."""
    size = max(14, picture.width // 45)
    font = ImageFont.load_default(size)
    line, gap = round(1.6 * size), size
    placed, x, y = [], gap, 2 * line
    for words, colour in rows:
        width = line + int(font.getlength(words)) + 2 * gap
        if x + width > picture.width and x > gap:
            x, y = gap, y + line
        placed.append((x, y, words, colour))
        x += width
    result = Image.new("RGB", (picture.width, picture.height + y + line + gap // 2), (255, 255, 255))
    result.paste(picture)
    draw = ImageDraw.Draw(result)
    draw.text((gap, picture.height + gap // 2), title, fill=(0, 0, 0), font=font)
    for x, y, words, colour in placed:
        top = picture.height + y - line // 2
        draw.rectangle((x, top, x + size, top + size), fill=colour, outline=(80, 80, 80))
        draw.text((x + line, top - size // 6), words, fill=(0, 0, 0), font=font)
    return result


def _save(picture: Image.Image, target: Path) -> None:
    with replacing(target) as part, part.open("wb") as stream:
        picture.save(stream, "PNG")
