"""Skipped where the extra is missing; one server for all tests of a file that only ask."""

import importlib.util

import pytest

import pictures

EXTRA = ("starlette", "uvicorn", "prometheus_client", "python_multipart", "httpx")
MISSING = [name for name in EXTRA if importlib.util.find_spec(name) is None]

collect_ignore_glob = ["test_*.py"] if MISSING else []


@pytest.fixture(scope="module")
def served(trained):
    """A server with the usual settings."""
    from served import serving

    with serving(trained[0], map_deadline="2m") as running:
        yield running


@pytest.fixture(scope="session")
def png():
    """A small encoded image."""
    return pictures.encoded(pictures.draw(1))


@pytest.fixture(scope="session")
def ants(photos):
    """Encoded images of one class, by name."""
    return {path.name: path.read_bytes() for path in sorted((photos / "ant").iterdir())[:6]}
