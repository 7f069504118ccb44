"""Routes behind the guard, and their refusals and faults as problem documents: what all servers of foveal share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from foveal.errors import FovealError
from foveal.harmless import one_line
from foveal.serving.guard import Guard, OnResponse
from foveal.serving.problems import Problem
from foveal.serving.settings import ServeSettings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger("foveal.serving")

_NO_ROUTE = {
    404: ("not_found", "there is nothing at this path"),
    405: ("method_not_allowed", "this path does not take this method"),
}


def guarded(
    routes: Sequence[Route],
    settings: ServeSettings,
    token: str,
    on_response: OnResponse,
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]],
) -> ASGIApp:
    """Routes behind the guard, with refusals and faults as problem documents.

    Args:
        routes: of the app.
        settings: see `Guard`.
        token: see `Guard`.
        on_response: see `Guard`.
        lifespan: what begins and ends with the app.
    """
    app = Starlette(
        routes=routes,
        exception_handlers={Problem: _refused, HTTPException: _no_route},
        middleware=[Middleware(_Faults)],
        lifespan=lifespan,
    )
    return Guard(app, settings, token, on_response)


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
