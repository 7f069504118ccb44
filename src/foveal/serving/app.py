"""The ASGI app of a model: routes and pages behind the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from foveal.serving.api import Api
from foveal.serving.guarded import guarded
from foveal.serving.pages import page_routes
from foveal.serving.service import Service

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def create_app(service: Service, token: str) -> ASGIApp:
    """The app.

    Args:
        service: the model.
        token: asked for by what writes, and by everything where `needs_token` says so.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.batcher.start()
        yield
        service.close()

    routes = [*Api(service).routes, *page_routes()]
    return guarded(routes, service.settings, token, service.measured.response, lifespan)
