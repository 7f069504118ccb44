"""OpenVINO: a graph and its weights, the fastest on CPUs of Intel and AMD."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from foveal.engines.openvino_files import ProgramFile, save_program
from foveal.export.format import INPUT, ExportFormat, Images, Traced

FILE = "model.xml"


def write(traced: Traced, folder: Path) -> None:
    """See `ExportFormat.write`. Weights stay in single precision."""
    save_program(traced.program, folder / FILE, input=INPUT, outputs=traced.outputs, metadata=traced.metadata)


def open_file(folder: Path) -> _OpenVinoModel:
    """See `ExportFormat.open`."""
    return _OpenVinoModel(folder / FILE)


class _OpenVinoModel:
    def __init__(self, file: Path) -> None:
        self._file = ProgramFile(file)

    def __call__(self, images: Images) -> Mapping[str, NDArray[Any]]:
        return self._file(images)


OPENVINO = ExportFormat("openvino", (FILE, "model.bin"), write, open_file, graph=FILE)
