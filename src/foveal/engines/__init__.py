"""Leaf: a network compiled to a callable, and the probe that chooses which."""

from foveal.engines.base import Engine
from foveal.engines.probe import choose_engine

__all__ = ["Engine", "choose_engine"]
