"""Leaf: what a network will cost before it runs, and what to do when that is too much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foveal.planner.planning import plan

__all__ = ["plan"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """`plan` is made of torch: it is imported when it is needed."""
    if name != "plan":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from foveal.planner.planning import plan

    return plan
