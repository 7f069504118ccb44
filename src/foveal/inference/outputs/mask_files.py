"""Predicted masks as files: palette PNGs with the values of the user's own masks, overlays, and COCO's code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from foveal.files import dumps, write_json
from foveal.inference.outputs.colours import colours_of, painted
from foveal.inference.outputs.drawing import as_rgb, at_display_size, save_png, with_key
from foveal.inference.outputs.names import DIGESTS, OVERLAYS, Names, digests_of
from foveal.inference.outputs.output_format import OutputFormat, OutputOptions, Target, text_stream
from foveal.inference.outputs.rle import encode
from foveal.inference.outputs.table_json import is_json_of_predictions
from foveal.inference.segmenter import Mask, MaskPrediction
from foveal.output_files import check_file
from foveal.values import SCHEMA, LabelMap

_TASKS = ("segment",)


def _write_files(predictions: Iterable[MaskPrediction], target: Target, options: OutputOptions) -> int:
    """`NAME.png` and `overlays/NAME.png` of each image, and `predictions.json` of all; returns how many masks.

    NAME is the image's own, with a number where another file has it. What could not be read is an entry with its
    reason. When this is stopped, `predictions.json` has what there is.
    """
    assert isinstance(target, Path) and options.label_map is not None
    record = target / "predictions.json"
    check_file(
        record,
        is_ours=is_json_of_predictions,
        overwrite=options.overwrite,
        makes_folder=True,
        hint="give another folder, or --overwrite",
    )
    names = Names(target, options.inputs, overwrite=options.overwrite)
    rows: list[dict[str, Any]] = []
    document = {"schema": SCHEMA, "predictions": rows}
    try:
        for prediction in predictions:
            entry = _entry(prediction, options)
            if prediction.mask is not None and prediction.image is not None:
                files = _save(prediction.mask, prediction.image, target, names, prediction.path, options.label_map)
                entry |= {kind: str(path) for kind, path in files.items()}
                entry[DIGESTS] = digests_of(target, files.values())
                options.on_file(entry["mask"])
            rows.append(entry)
    except BaseException:  # a signal, too
        if rows:
            write_json(record, document)
        raise
    write_json(record, document)
    options.on_record(document)
    return sum(not row["error"] for row in rows)


def _save(
    mask: Mask, image: Image.Image, folder: Path, names: Names, path: str, label_map: LabelMap
) -> dict[str, Path]:
    """Write the two files of one image."""
    name = names.fresh(path, [".png"], also_in=[OVERLAYS])
    files = {"mask": folder / f"{name}.png", "overlay": folder / OVERLAYS / f"{name}.png"}
    save_png(as_palette(mask, label_map), files["mask"])
    save_png(overlay(image, mask, label_map), files["overlay"])
    return files


def _write_json(predictions: Iterable[MaskPrediction], target: Target, options: OutputOptions) -> int:
    """The same entries without any file of their own."""
    rows = [_entry(p, options) for p in predictions]
    with text_stream(target, options) as stream:
        stream.write(dumps({"schema": SCHEMA, "predictions": rows}, indent=1) + "\n")
    return len(rows)


MASK_FILES = OutputFormat(
    "masks", _write_files, _TASKS, streams=False, folder=True, note=", with overlays/ and predictions.json"
)
MASK_JSON = OutputFormat("json", _write_json, _TASKS, is_ours=is_json_of_predictions)


def _entry(prediction: MaskPrediction, options: OutputOptions) -> dict[str, Any]:
    assert options.label_map is not None
    if prediction.mask is None:
        options.on_error(prediction.path, prediction.error or "")
        return {"path": prediction.path, "error": prediction.error}
    return {
        "path": prediction.path,
        "size": list(prediction.mask.shape),
        "error": None,
        "seconds": prediction.seconds,
        "tiles": prediction.tiles,
        "segments": list(_segments(prediction.mask, options.label_map)),
    }


def _segments(mask: Mask, label_map: LabelMap) -> Iterator[dict[str, Any]]:
    """The classes that occur in a mask: name, value, share of the pixels, and where they are, run-length coded."""
    counts = np.bincount(mask.ravel(), minlength=len(label_map.classes)).tolist()
    for k, (name, value, n) in enumerate(zip(label_map.classes, label_map.values, counts, strict=True)):
        if n:
            yield {"label": name, "value": value, "share": n / mask.size, "rle": encode(mask == k)}


def as_palette(mask: Mask, label_map: LabelMap) -> Image.Image:
    """A palette PNG: its values are those of the masks that were trained on, its colours those of the classes.

    Values over 255, which no palette has, are written as positions.
    """
    values = label_map.values if max(label_map.values) < 256 else tuple(range(len(label_map.classes)))
    table = np.zeros(256, dtype=np.uint8)
    table[: len(values)] = values
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[list(values)] = colours_of(label_map)
    image = Image.fromarray(table[mask]).convert("P")
    image.putpalette(palette.ravel().tolist())
    return image


def overlay(image: Image.Image, mask: Mask, label_map: LabelMap) -> Image.Image:
    """The image in the colours of its classes, with a key below."""
    colours = colours_of(label_map)
    shares = np.bincount(mask.ravel(), minlength=len(label_map.classes)) / mask.size
    order = [k for k in np.argsort(-shares, kind="stable").tolist() if shares[k]]
    rows = [(f"{label_map.classes[k]}: {_percent(shares[k])}", as_rgb(colours[k])) for k in order]
    return with_key(painted(at_display_size(image), mask, colours), "share of the pixels", rows)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"
