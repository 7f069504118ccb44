"""The RUN that a command line names."""

from __future__ import annotations

from foveal.cli.console import Terminal


def run_named(run: str, terminal: Terminal) -> str:
    """The path that RUN stands for; which run `latest` is, is said on stderr.

    Raises:
        UnknownName, BundleError: see `model_path`.
    """
    from foveal.models.shipped import LATEST, model_path

    path = str(model_path(run))
    if run == LATEST and path != run:
        terminal.say(f"{LATEST}: {path}")
    return path
