"""The routes of `foveal label`, and its app. Images are named by numbers: no path of a client is looked up anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from foveal.files import dumps
from foveal.serving.guarded import guarded
from foveal.serving.label_schemas import Action
from foveal.serving.label_service import SIDES, LabelService
from foveal.serving.pages import LABEL_FILES, file_routes
from foveal.serving.problems import Problem, closing

if TYPE_CHECKING:
    from starlette.types import ASGIApp

#: Bytes of an action.
_MAX_BYTES = 1 << 20


def create_label_app(service: LabelService, token: str) -> ASGIApp:
    """The app.

    Args:
        service: the session.
        token: asked for by everything but the page itself.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    routes = [*LabelApi(service).routes, *file_routes(LABEL_FILES)]
    return guarded(routes, service.settings, token, lambda *_: None, lifespan)


class LabelApi:
    """The endpoints of a session. Each change of labels is on disk before it is answered."""

    def __init__(self, service: LabelService) -> None:
        self._service = service

    @property
    def routes(self) -> list[Route]:
        """Paths with their endpoints."""
        return [
            Route("/v1/label", self.show, methods=["GET"]),
            Route("/v1/label/review", self.review, methods=["GET"]),
            Route("/v1/label/actions", self.act, methods=["POST"]),
            Route("/v1/images/{number:int}", self.image, methods=["GET"]),
            Route("/healthz", self.healthz, methods=["GET"]),
        ]

    async def show(self, request: Request) -> Response:
        """The group with the name in `?group=`, or the first one; and how far it is."""
        group = request.query_params.get("group")
        return _json(await asyncio.to_thread(self._service.show, group))

    async def review(self, request: Request) -> Response:
        """Images of the class in `?label=`."""
        label = request.query_params.get("label", "")
        return _json(await asyncio.to_thread(self._service.review, label))

    async def act(self, request: Request) -> Response:
        """Do what the body says, and show what is next."""
        content = await self._body(request)
        try:
            action = msgspec.json.decode(content, type=Action)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Problem(422, "invalid_action", str(error), hint="reload the page") from None
        return _json(await asyncio.to_thread(self._service.act, action))

    async def _body(self, request: Request) -> bytes:
        content = bytearray()
        try:
            async with asyncio.timeout(self._service.settings.seconds("body_timeout")):
                async for chunk in request.stream():
                    content += chunk
                    if len(content) > _MAX_BYTES:
                        raise closing(
                            Problem(413, "body_too_large", f"more than {_MAX_BYTES} bytes", hint="send less")
                        )
        except TimeoutError:
            raise closing(
                Problem(408, "body_too_slow", "the body did not arrive in time", hint="send it again")
            ) from None
        return bytes(content)

    async def image(self, request: Request) -> Response:
        """An image as a JPEG, small or, with `?large=1`, larger."""
        side = SIDES["large" in request.query_params]
        content = await asyncio.to_thread(self._service.jpeg, request.path_params["number"], side)
        return Response(content, media_type="image/jpeg")

    async def healthz(self, _: Request) -> Response:
        """The process answers."""
        return PlainTextResponse("ok\n")


def _json(content: Any) -> Response:  # noqa: ANN401
    return Response(dumps(msgspec.to_builtins(content)), media_type="application/json")
