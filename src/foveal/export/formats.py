"""The formats of exported models: one file and one line each. Outside the package `register_format` adds one."""

from __future__ import annotations

from foveal.errors import known_name
from foveal.export.format import ExportFormat
from foveal.export.onnx_file import ONNX
from foveal.export.openvino_file import OPENVINO

#: By name.
FORMATS: dict[str, ExportFormat] = {format.name: format for format in (ONNX, OPENVINO)}


def register_format(format: ExportFormat) -> None:
    """Add a format; one of the same name is replaced."""
    FORMATS[format.name] = format


def find_format(name: str) -> ExportFormat:
    """A format by name.

    Raises:
        UnknownName: with the nearest known name.
    """
    return FORMATS[known_name("format", name, FORMATS)]
