"""Errors of the API: `application/problem+json` (RFC 9457) with a code and a hint."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from msgspec import to_builtins
from starlette.responses import Response

from foveal.files import dumps
from foveal.serving.schemas import ProblemDocument

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

#: Seconds for which the rest of a refused body is dropped.
_LINGER = 0.5

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A request that is refused.

    Args:
        status: of HTTP.
        code: stable, for programs.
        detail: one sentence for people.
        hint: what to do about it.
        headers: of the response.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        hint: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.hint = status, code, detail, hint
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """As it is sent."""
        document = ProblemDocument(
            type="about:blank",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            code=self.code,
            detail=self.detail,
            hint=self.hint,
        )
        kind = LastResponse if "Connection" in self.headers else Response
        return kind(dumps(to_builtins(document)), self.status, self.headers, media_type=MEDIA_TYPE)


def closing(problem: Problem) -> Problem:
    """The same problem, after which the connection is closed: the rest of the request is not wanted."""
    problem.headers["Connection"] = "close"
    return problem


class LastResponse(Response):
    """A response in the middle of a request's body, after which the connection is closed.

    What still arrives is dropped for a moment: the system would discard a response that the client has not read yet
    if the connection was closed while something arrives.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, wait for the client, and end."""
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b""})
