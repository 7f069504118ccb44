"""What the commands that serve pages share: the extra that they need, and their log."""

from __future__ import annotations

from foveal.errors import UsageError


def check_extra() -> None:
    """Raises `UsageError` where the packages of the extra are not installed."""
    from importlib.util import find_spec

    missing = [
        name for name in ("starlette", "uvicorn", "prometheus_client", "python_multipart") if not find_spec(name)
    ]
    if missing:
        raise UsageError(f"{missing[0]} is not installed", hint="pip install 'foveal[serve]'")


def log_requests() -> None:
    """A line on stderr for each request, and what uvicorn warns of."""
    import logging

    logging.basicConfig(format="%(message)s")
    logging.getLogger("foveal.serving").setLevel(logging.INFO)
