"""ONNX: one file, run by ONNX Runtime on computers, phones and in browsers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.errors import UsageError
from foveal.export.format import FREE, INPUT, ExportFormat, Images, Traced

FILE = "model.onnx"
#: Of 2023: ONNX Runtime 1.16 and its JavaScript version know it.
OPSET = 19


def write(traced: Traced, folder: Path) -> None:
    """See `ExportFormat.write`."""
    _require("onnx", "onnxscript")
    import onnx
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported: Any = torch.onnx.export(
            traced.program,
            input_names=[INPUT],
            output_names=list(traced.outputs),
            opset_version=OPSET,
            verbose=False,
        )
    model = exported.model_proto
    _name_dimensions(model)
    onnx.helper.set_model_props(model, dict(traced.metadata))
    model.producer_name, model.producer_version = "foveal", traced.metadata.get("foveal", "")
    onnx.save_model(model, str(folder / FILE))


def _name_dimensions(model: Any) -> None:  # noqa: ANN401
    """Words for the dimensions that are free: torch numbers them."""
    given = model.graph.input[0].type.tensor_type.shape.dim
    names = {given[i].dim_param: word for i, word in FREE.items() if given[i].dim_param}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in names:
                dimension.dim_param = names[dimension.dim_param]


def open_file(folder: Path) -> _OnnxModel:
    """See `ExportFormat.open`."""
    _require("onnxruntime")
    return _OnnxModel(folder / FILE)


class _OnnxModel:
    def __init__(self, file: Path) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, images: Images) -> Mapping[str, NDArray[Any]]:
        computed = self._session.run(self._outputs, {INPUT: np.ascontiguousarray(images)})
        return dict(zip(self._outputs, computed, strict=True))


def _require(*packages: str) -> None:
    """Raises `UsageError` where a package of the extra is missing."""
    from importlib.util import find_spec

    for package in packages:
        if find_spec(package) is None:
            raise UsageError(
                f"exporting to ONNX needs {package}, which is not installed", hint="pip install 'foveal[export]'"
            )


ONNX = ExportFormat("onnx", (FILE,), write, open_file)
