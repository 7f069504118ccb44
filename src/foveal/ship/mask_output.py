"""Masks as files: palette PNGs with the numbers of the user's own masks, overlays to look at, and COCO's code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from foveal.files import replacing, write_json
from foveal.measure.painting import colours_of, painted
from foveal.ship.masks import Mask, MaskPrediction
from foveal.ship.naming import Names
from foveal.ship.overlay import with_legend
from foveal.ship.rle import encode
from foveal.values import SCHEMA, Legend

#: Overlays are drawn at this long side at least and at most, pixels.
_SMALLEST, _LARGEST = 480, 1600


def write_masks(
    predictions: Iterable[MaskPrediction], legend: Legend, folder: Path, names: Names | None = None
) -> Iterator[dict[str, Any]]:
    """Write `NAME.png` and `overlays/NAME.png` of each, and `predictions.json` of all; yields its entries.

    What could not be read is an entry with its reason.

    Args:
        predictions: in the order of the entries.
        legend: of the classes.
        folder: where to.
        names: of the files; by default the pictures' own, with a number where one is taken.
    """
    rows: list[dict[str, Any]] = []
    names = names or Names(folder)
    for prediction in predictions:
        row = _entry(prediction, legend)
        if prediction.mask is not None and prediction.picture is not None:
            name = names.fresh(prediction.path)
            files = {"mask": folder / f"{name}.png", "overlay": folder / "overlays" / f"{name}.png"}
            _save(as_palette(prediction.mask, legend), files["mask"])
            _save(overlay(prediction.picture, prediction.mask, legend), files["overlay"])
            row |= {kind: str(path) for kind, path in files.items()}
        rows.append(row)
        yield row
    write_json(folder / "predictions.json", {"schema": SCHEMA, "predictions": rows})


def entries(predictions: Iterable[MaskPrediction], legend: Legend) -> Iterator[dict[str, Any]]:
    """The same entries without any file."""
    return (_entry(p, legend) for p in predictions)


def _entry(prediction: MaskPrediction, legend: Legend) -> dict[str, Any]:
    mask = prediction.mask
    if mask is None:
        return {"path": prediction.path, "error": prediction.error}
    found = np.bincount(mask.ravel(), minlength=len(legend.classes))
    return {
        "path": prediction.path,
        "size": list(mask.shape),
        "error": None,
        "seconds": prediction.seconds,
        "tiles": prediction.tiles,
        "segments": [
            {"label": name, "value": value, "share": n / mask.size, "rle": encode(mask == k)}
            for k, (name, value, n) in enumerate(zip(legend.classes, legend.values, found.tolist(), strict=True))
            if n
        ],
    }


def as_palette(mask: Mask, legend: Legend) -> Image.Image:
    """A palette PNG: its numbers are those of the masks that were learned from, its colours the classes'.

    Numbers over 255, which no palette has, are written as positions.
    """
    values = legend.values if max(legend.values) < 256 else tuple(range(len(legend.classes)))
    table = np.zeros(256, dtype=np.uint8)
    table[: len(values)] = values
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[list(values)] = colours_of(legend)
    picture = Image.fromarray(table[mask]).convert("P")
    picture.putpalette(palette.ravel().tolist())
    return picture


def overlay(picture: Image.Image, mask: Mask, legend: Legend) -> Image.Image:
    """The photograph in the colours of its classes, with a strip below that says what they mean."""
    longest = max(picture.size)
    scale = _LARGEST / longest if longest > _LARGEST else max(1.0, _SMALLEST / longest)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    colours = colours_of(legend)
    shares = np.bincount(mask.ravel(), minlength=len(legend.classes)) / mask.size
    order = [k for k in np.argsort(-shares, kind="stable").tolist() if shares[k]]
    rows = [(f"{legend.classes[k]}: {_percent(shares[k])}", _rgb(colours[k])) for k in order]
    drawn = picture.resize(size, Image.Resampling.LANCZOS) if size != picture.size else picture
    return with_legend(painted(drawn, mask, colours), "share of the pixels", rows)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"


def _rgb(colour: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> tuple[int, int, int]:
    r, g, b = colour.tolist()
    return r, g, b


def _save(picture: Image.Image, target: Path) -> None:
    with replacing(target) as part, part.open("wb") as stream:
        picture.save(stream, "PNG")
