"""Predicted labels as one JSON object, its list written item by item."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from foveal.files import dumps
from foveal.inference.classifier import Prediction
from foveal.inference.outputs.output_format import OutputFormat, OutputOptions, Target, text_stream
from foveal.values import SCHEMA

_BEGINNING = re.compile(rb'\{\s*"schema": \d+,\s*"predictions": \[')


def _write(predictions: Iterable[Prediction], target: Target, options: OutputOptions) -> int:
    count = 0
    with text_stream(target, options) as stream:
        stream.write(f'{{"schema": {SCHEMA}, "predictions": [')
        for count, prediction in enumerate(predictions, 1):
            stream.write((",\n" if count > 1 else "\n") + dumps(prediction.to_dict()))
        stream.write("\n]}\n")
    return count


def is_json_of_predictions(path: Path) -> bool:
    """Whether a file begins as the JSON of predictions, of labels or of masks."""
    with path.open("rb") as stream:
        return _BEGINNING.match(stream.read(100)) is not None


JSON = OutputFormat(
    "json", _write, ("classify", "multi-label"), suffixes=(".json",), is_ours=is_json_of_predictions
)
