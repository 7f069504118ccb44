"""The routes: `/v1/…`, health checks and metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from foveal.files import dumps
from foveal.serving.measured import CONTENT_TYPE
from foveal.serving.openapi import MOST_CLASSES, SHOWN_CLASSES, document
from foveal.serving.problems import Problem
from foveal.serving.schemas import Stored
from foveal.serving.service import Service
from foveal.values import SCHEMA

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Api:
    """The endpoints of a service; `openapi.py` describes them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._run: dict[str, Any] | None = None

    @property
    def routes(self) -> list[Route]:
        """Paths with their endpoints."""
        reads: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/v1/model": self.model,
            "/v1/run": self.run,
            "/v1/drift": self.drift,
            "/openapi.json": self.openapi,
            "/healthz": self.healthz,
            "/readyz": self.readyz,
            "/metrics": self.metrics,
        }
        return [
            Route("/v1/predict", self.predict, methods=["POST"]),
            Route("/v1/corrections", self.correct, methods=["POST"]),
            *(Route(path, endpoint, methods=["GET"]) for path, endpoint in reads.items()),
        ]

    async def predict(self, request: Request) -> Response:
        """Images to predictions."""
        topk, with_map = _topk(request), _flag(request, "map")
        async with self._service.uploads.form(request) as form:
            return _json(await self._service.predict(form.images, topk=topk, with_map=with_map))

    async def correct(self, request: Request) -> Response:
        """An image with its right label, to be stored."""
        service = self._service
        if not service.is_classifier:
            raise Problem(
                422, "no_corrections", "masks can't be corrected here", hint="correct the mask in an image editor"
            )
        async with service.uploads.form(request) as form:
            if len(form.images) != 1:
                raise Problem(
                    422, "one_image", "a correction is one image with its label", hint="send one request for each"
                )
            store = partial(service.corrections.store, form.images[0], form.fields.get("label"))
            count = await asyncio.to_thread(store)
        service.measured.correction()
        return _json(Stored(count, str(service.corrections.folder)))

    async def model(self, _: Request) -> Response:
        """What the model is."""
        return _json(self._service.describe())

    async def run(self, _: Request) -> Response:
        """The run behind the model; read once."""
        if self._run is None:
            from foveal.serving.run_view import describe_run

            self._run = await asyncio.to_thread(describe_run, self._service.run)
        return _json({"schema": SCHEMA, **self._run})

    async def drift(self, _: Request) -> Response:
        """Whether the images are like those of the training."""
        return _json(self._service.drift.report())

    async def openapi(self, _: Request) -> Response:
        """The OpenAPI document."""
        return _json(document())

    async def healthz(self, _: Request) -> Response:
        """The process answers."""
        return PlainTextResponse("ok\n")

    async def readyz(self, _: Request) -> Response:
        """Whether requests should be sent here."""
        if self._service.is_ready:
            return PlainTextResponse("ok\n")
        code = "stopping" if self._service.is_stopping else "starting"
        raise Problem(
            503, code, f"the server is {code}", hint="send requests elsewhere", headers={"Retry-After": "1"}
        )

    async def metrics(self, _: Request) -> Response:
        """Counters for Prometheus."""
        service = self._service
        alarm = service.drift.report().alarm
        text = service.measured.text(waiting=service.batcher.waiting, ready=service.is_ready, drift=alarm)
        return Response(text, media_type=CONTENT_TYPE)


def _topk(request: Request) -> int:
    text = request.query_params.get("topk", str(SHOWN_CLASSES))
    if text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MOST_CLASSES:
        return int(text)
    raise _invalid("topk", f"a whole number from 1 to {MOST_CLASSES}")


def _flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false").lower()
    if text not in _BOOLEANS:
        raise _invalid(name, "true or false")
    return _BOOLEANS[text]


def _invalid(name: str, allowed: str) -> Problem:
    return Problem(422, "invalid_parameter", f"{name}: it has to be {allowed}", hint="see /docs")


def _json(content: Any) -> Response:  # noqa: ANN401
    return Response(dumps(msgspec.to_builtins(content)), media_type="application/json")
