"""Engines for one test."""

import pytest

from foveal.engines.registry import ENGINES


@pytest.fixture
def registered():
    """Replaces the registered engines; the test's end restores them."""
    before = list(ENGINES)

    def replace(*engines):
        ENGINES[:] = engines

    yield replace
    ENGINES[:] = before
