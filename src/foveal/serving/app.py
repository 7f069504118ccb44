"""The ASGI app of a model: routes and pages behind the guard."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from foveal.errors import FovealError
from foveal.harmless import one_line
from foveal.serving.api import Api
from foveal.serving.guard import Guard
from foveal.serving.pages import page_routes
from foveal.serving.problems import Problem
from foveal.serving.service import Service

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger("foveal.serving")

_NO_ROUTE = {
    404: ("not_found", "there is nothing at this path"),
    405: ("method_not_allowed", "this path does not take this method"),
}


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

    app = Starlette(
        routes=[*Api(service).routes, *page_routes()],
        exception_handlers={Problem: _refused, HTTPException: _no_route},
        middleware=[Middleware(_Faults)],
        lifespan=lifespan,
    )
    return Guard(app, service.settings, token, service.measured.response)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _no_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code, detail = _NO_ROUTE.get(error.status_code, ("bad_request", "the request can't be understood"))
    hint = "see /docs for what there is"
    return Problem(error.status_code, code, detail, hint=hint, headers=error.headers).response()


class _Faults:
    """Answers 500 for a fault of ours: its traceback goes to the log, not to the client, and the connection lives."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            _log.error("%s %s failed", scope["method"], one_line(scope["path"][:200]), exc_info=error)
            await _fault(error).response()(scope, receive, send)


def _fault(error: Exception) -> Problem:
    if isinstance(error, FovealError):
        return Problem(500, "model", one_line(error.message), hint=error.hint or "see the log of the server")
    return Problem(500, "internal", "an internal error", hint="see the log of the server")
