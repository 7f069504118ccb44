"""The templates of this package's pages. Whatever they insert is escaped, and harmless to read."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from foveal.clock import format_duration
from foveal.evaluation.wording import interval, percent, readable, share_of_time, short, size_of
from foveal.harmless import one_line

if TYPE_CHECKING:
    import jinja2


@cache
def pages() -> jinja2.Environment:
    """For panels that need no more than figures. It is kept, so that they are compiled once in a process."""
    return page_environment(source_of)


def page_environment(load: Callable[[str], str | None]) -> jinja2.Environment:
    """An environment for HTML.

    Args:
        load: the name of a template → its source; None: there is none.
    """
    import jinja2

    @jinja2.pass_context
    def shown(context: jinja2.runtime.Context, text: str) -> str:
        """Paths relative to the folder of the data."""
        root: str = context["root"] if "root" in context else context["summary"]["data"]["root"]
        return one_line(text.replace(root + os.sep, ""))

    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=readable,
    )
    made.filters |= {
        "percent": percent,
        "interval": interval,
        "duration": format_duration,
        "shown": shown,
        "bytes": size_of,
        "short": short,
        "share_of_time": share_of_time,
    }
    return made


def source_of(name: str) -> str | None:
    """A template of this package, by the name of its file."""
    try:
        return resources.files("foveal.evaluation").joinpath(f"templates/{name}").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
