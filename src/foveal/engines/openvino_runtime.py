"""OpenVINO's runtime. The only place that imports it: see `import_openvino` for why."""

from __future__ import annotations

import logging
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.export import ExportedProgram

#: Our names of precisions → OpenVINO's.
_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
#: The tools that convert models. They take as long to import as the rest, and a prediction needs none.
_CONVERTER = "openvino.tools.ovc"


@cache
def import_openvino() -> Any:  # noqa: ANN401
    """OpenVINO without its telemetry, which would otherwise contact its server when imported."""
    # Python's own way to say "not installed"; OpenVINO then uses its stub, and does without its converter.
    absent: dict[str, Any] = {name: None for name in ("openvino_telemetry", _CONVERTER) if name not in sys.modules}
    sys.modules.update(absent)
    import openvino

    if _CONVERTER in absent:
        del sys.modules[_CONVERTER]
        openvino.convert_model = _convert_model
    return openvino


def _convert_model(*given: Any, **options: Any) -> Any:  # noqa: ANN401
    """`openvino.convert_model`, imported when it is called."""
    from openvino.tools.ovc import convert_model

    return convert_model(*given, **options)


def convert_program(program: ExportedProgram) -> Any:  # noqa: ANN401
    """OpenVINO's model of a program that `torch.export` traced.

    The converter silences all warnings of the process while it works, and leaves it so when it fails.
    """
    root = logging.getLogger()
    level, filters, handlers = root.level, list(root.filters), list(root.handlers)
    try:
        return import_openvino().convert_model(program)
    finally:
        root.setLevel(level)
        root.filters[:], root.handlers[:] = filters, handlers


@cache
def core() -> Any:  # noqa: ANN401
    """OpenVINO's runtime, one for the process."""
    return import_openvino().Core()


def version() -> str:
    """OpenVINO's version, short."""
    return str(import_openvino().__version__).partition("-")[0]


def has_bf16() -> bool:
    """Whether this processor has instructions for bfloat16."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def compile_model(model: Any, precision: str) -> Any:  # noqa: ANN401
    """A model for the CPU; two processes may share the cores."""
    return core().compile_model(model, "CPU", _options(precision))


def import_compiled(content: bytes, precision: str) -> Any:  # noqa: ANN401
    """What a compiled model wrote by `export_model`, ready to run.

    Raises:
        RuntimeError: when OpenVINO does not take it.
    """
    return core().import_model(content, "CPU", _options(precision))


def _options(precision: str) -> dict[str, Any]:
    """One stream over all cores, whose threads are not pinned: another process may have the same idea."""
    return {
        "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
        "ENABLE_CPU_PINNING": False,
    }


def read(path: Path) -> Any:  # noqa: ANN401
    """A model file as OpenVINO's model."""
    return core().read_model(path)
