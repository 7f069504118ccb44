"""Where backbones come from: one file and one line in `SOURCES` each. No torch before it is needed.

Outside the package `register_source` adds one.
"""

from __future__ import annotations

from foveal.models.other_names import timm_name
from foveal.models.sources.base import BackboneSource
from foveal.models.sources.packaged import PackagedSource
from foveal.models.sources.timm_cache import TimmCache

__all__ = ["SOURCES", "BackboneSource", "register_source", "source_of"]

SOURCES: list[BackboneSource] = [PackagedSource(), TimmCache()]


def register_source(source: BackboneSource) -> None:
    """Add a source; it is asked before those that ship."""
    SOURCES.insert(0, source)


def source_of(name: str) -> tuple[BackboneSource, str]:
    """The first source that has a backbone of this name, and how that source spells it.

    Raises:
        UnknownName: when none has; with the nearest name.
    """
    for source in SOURCES:
        if source.has(name):
            return source, name
    meant = timm_name("backbone", name, [known for source in SOURCES for known in source.names()])
    return next(source for source in SOURCES if source.has(meant)), meant
