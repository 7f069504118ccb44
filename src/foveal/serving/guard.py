"""What stands before the app: who may ask, from which page, with which token; and the headers of every response.

A browser sends requests to a local server for any page that its user has open. Three checks tell them apart: the Host
header has to be a known name (a foreign name that was made to point to this machine, DNS rebinding, is not one), an
Origin has to be the page of this server itself (`null` is not), and what writes needs the token, which no other page
can know.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from foveal.harmless import one_line
from foveal.serving.problems import Problem, closing
from foveal.serving.settings import ServeSettings
from foveal.serving.tokens import is_token

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
#: Methods that change nothing.
_READS = ("GET", "HEAD", "OPTIONS")
#: Paths below which the token is asked for where `needs_token` says so.
_PROTECTED = ("/v1/", "/metrics")
#: Posts that change nothing, so that they need no token on this machine.
_HARMLESS_POSTS = ("/v1/predict",)

#: Asked every few seconds by what supervises a server.
_PROBED = ("/healthz", "/readyz", "/metrics")

_log = logging.getLogger("foveal.serving")

#: Told method, path, status and seconds of each request.
OnResponse = Callable[[str, str, int, float], None]


class Guard:
    """ASGI middleware; see the module.

    Args:
        app: what answers.
        settings: names of this server, and `needs_token`.
        token: of this run.
        on_response: told what came of each request.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, token: str, on_response: OnResponse) -> None:
        self._app, self._settings, self._token = app, settings, token
        self._hosts = settings.host_names
        self._on_response = on_response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, and pass it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no WebSockets here
            return
        began, status = time.monotonic(), 500

        async def send_protected(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope)
        except Problem as problem:
            await problem.response()(scope, receive, send_protected)
        else:
            await self._app(scope, receive, send_protected)
        finally:
            seconds = time.monotonic() - began
            self._on_response(scope["method"], scope["path"], status, seconds)
            level = logging.DEBUG if scope["path"] in _PROBED else logging.INFO
            if _log.isEnabledFor(level):
                _log.log(level, _line(scope, status, seconds))

    def _check(self, scope: Scope) -> None:
        """Raises `Problem` for a request that is not to be answered."""
        headers = Headers(scope=scope)
        if len(headers) > self._settings.max_headers:
            raise closing(
                Problem(
                    431,
                    "too_many_headers",
                    f"more than {self._settings.max_headers} header lines",
                    hint="send fewer",
                )
            )
        if "transfer-encoding" in headers and "content-length" in headers:
            raise closing(
                Problem(
                    400,
                    "two_lengths",
                    "both Transfer-Encoding and Content-Length: proxies could disagree about where the body ends",
                    hint="send one of them",
                )
            )
        host = self._checked_host(headers)
        self._check_origin(scope, headers, host)
        self._check_token(scope, headers)

    def _checked_host(self, headers: Headers) -> str:
        hosts = headers.getlist("host")
        if len(hosts) == 1 and _name_of(hosts[0]) in self._hosts:
            return hosts[0].lower()
        raise Problem(
            421,
            "unknown_host",
            "this server does not answer to the name in the Host header",
            hint="use the address that foveal printed, or start it with --allow-host NAME",
        )

    def _check_origin(self, scope: Scope, headers: Headers, host: str) -> None:
        for origin in headers.getlist("origin"):
            # Behind a reverse proxy the scheme may be another than the one that the client sees.
            if not origin.startswith(("http://", "https://")) or urlsplit(origin).netloc.lower() != host:
                raise Problem(
                    403,
                    "foreign_origin",
                    "the request comes from a page of another origin",
                    hint="use the own page",
                )
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            raise Problem(403, "foreign_origin", "the request comes from another site", hint="use the own page")

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        path: str = scope["path"]
        writes = scope["method"] not in _READS and path not in _HARMLESS_POSTS
        if not writes and not (self._settings.needs_token and path.startswith(_PROTECTED)):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and is_token(given.strip(), self._token):
            return
        raise closing(
            Problem(
                401,
                "token",
                "this needs the token of the server",
                hint="send the header Authorization: Bearer TOKEN; foveal printed the token when it started",
                headers={"WWW-Authenticate": "Bearer"},
            )
        )


def _name_of(host: str) -> str:
    """The name in a Host header, in lower case, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower() if "@" not in host and "/" not in host else ""
    except ValueError:
        return ""


def _line(scope: Scope, status: int, seconds: float) -> str:
    """A line of the log: nothing of the body, nothing that could command a terminal."""
    client: Any = scope.get("client") or ("-", 0)
    path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")[:200]
    return one_line(f"{client[0]} {scope['method']} {path} {status} {1000 * seconds:.0f} ms")
