"""Predicted labels as one JSON object, its list written item by item."""

from __future__ import annotations

from collections.abc import Iterable

from foveal.files import dumps
from foveal.inference.classifier import Prediction
from foveal.inference.outputs.output_format import OutputFormat, OutputOptions, Target, text_stream
from foveal.values import SCHEMA


def _write(predictions: Iterable[Prediction], target: Target, options: OutputOptions) -> int:
    count = 0
    with text_stream(target) as stream:
        stream.write(f'{{"schema": {SCHEMA}, "predictions": [')
        for count, prediction in enumerate(predictions, 1):
            stream.write((",\n" if count > 1 else "\n") + dumps(prediction.to_dict()))
        stream.write("\n]}\n")
    return count


JSON = OutputFormat("json", _write, suffixes=(".json",))
