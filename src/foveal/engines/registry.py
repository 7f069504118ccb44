"""The engines that can compute a backbone's features: one file and one line each.

Outside the package `register_engine` adds one.
"""

from __future__ import annotations

from foveal.engines import openvino_engine, torch_engine
from foveal.engines.base import EngineSpec

#: The first that is available is the reference that the others are compared to.
ENGINES: list[EngineSpec] = [openvino_engine.FP32, openvino_engine.BF16, torch_engine.FP32]


def register_engine(engine: EngineSpec) -> None:
    """Add an engine, as the last one; one of the same name is replaced."""
    ENGINES[:] = [*(known for known in ENGINES if known.name != engine.name), engine]


def available_engines() -> list[EngineSpec]:
    """The engines that could be chosen on this machine, the reference first."""
    return [engine for engine in ENGINES if engine.is_available()]
