"""Whole models in OpenVINO's format, with names and metadata, for use outside foveal."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foveal.engines.base import Pixels
from foveal.engines.openvino_runtime import compile_model, convert_program, core, import_openvino

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def save_program(
    program: ExportedProgram, file: Path, *, input: str, outputs: Sequence[str], metadata: Mapping[str, str]
) -> None:
    """Convert a traced program with one input, and write it: FILE.xml and FILE.bin.

    Args:
        program: as `torch.export` gives it.
        file: ending in `.xml`.
        input, outputs: names of the tensors, in order.
        metadata: kept in the model's `rt_info`, under `foveal`.

    Raises:
        OSError: when it can't be written.
    """
    model = convert_program(program)
    model.inputs[0].get_tensor().set_names({input})
    for output, name in zip(model.outputs, outputs, strict=True):
        output.get_tensor().set_names({name})
    for name, text in metadata.items():
        model.set_rt_info(text, ["foveal", name])
    save(model, file)


def save(model: Any, file: Path) -> None:  # noqa: ANN401
    """Write a model; weights keep their precision.

    Raises:
        OSError: when it can't be written.
    """
    try:
        import_openvino().save_model(model, file, compress_to_fp16=False)
    except RuntimeError as error:  # OpenVINO's word for a full disk is "iostream error"
        raise OSError(errno.EIO, f"the converted model: {error}") from None


class ProgramFile:
    """A file that `save_program` wrote, on the CPU.

    Args:
        file: ending in `.xml`.
        precision: `fp32` or `bf16`.
    """

    def __init__(self, file: Path, *, precision: str = "fp32") -> None:
        self._compiled = compile_model(core().read_model(file), precision)
        self._outputs = [next(iter(output.names)) for output in self._compiled.outputs]

    def __call__(self, images: Pixels) -> dict[str, NDArray[Any]]:
        """`(N, H, W, 3)`, 8 bits, to the outputs by name."""
        computed = self._compiled(np.ascontiguousarray(images))
        return {name: np.array(computed[i]) for i, name in enumerate(self._outputs)}
