"""Leaf: a network compiled to a callable. The registry of engines, and the probe that chooses one."""

from foveal.engines.base import Engine, EngineSpec
from foveal.engines.probe import choose_engine
from foveal.engines.registry import register_engine

__all__ = ["Engine", "EngineSpec", "choose_engine", "register_engine"]
