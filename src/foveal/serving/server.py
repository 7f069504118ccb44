"""uvicorn around the app: timeouts, and a stop that loses no request."""

from __future__ import annotations

import asyncio
import threading
from types import FrameType
from typing import TYPE_CHECKING, Protocol

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from foveal.serving.settings import ServeSettings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

#: Bytes of the headers of a request; more are refused with 400.
MAX_HEADER_BYTES = 64 * 1024
#: Seconds for which a connection stays open without a request.
_KEEP_ALIVE = 30


class Served(Protocol):
    """What a server has to know of what it serves.

    Attributes:
        is_stopping: no further requests are wanted.
    """

    is_stopping: bool

    @property
    def settings(self) -> ServeSettings:
        """The limits."""
        ...

    @property
    def failure(self) -> BaseException | None:
        """Why it can't be served."""
        ...


class TimedProtocol(H11Protocol):
    """HTTP/1.1 whose headers have to arrive in time.

    h11 and not httptools: it limits the size of headers, and refuses two lengths that differ.
    """

    header_timeout = 10.0
    _header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected."""
        super().connection_made(transport)
        self._header_timer = self.loop.call_later(self.header_timeout, self._too_late)

    def data_received(self, data: bytes) -> None:
        """Something arrived; the first request stops the timer."""
        waiting = self.cycle is None or self.cycle.response_complete
        if waiting and self._header_timer is None:  # of the next request on this connection
            self._header_timer = self.loop.call_later(self.header_timeout, self._too_late)
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _too_late(self) -> None:
        self._header_timer = None
        if not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """A server that is not ready for a moment before it stops to listen."""

    def __init__(self, app: ASGIApp, service: Served) -> None:
        super().__init__(_config(app, service.settings))
        self._service, self._notice = service, service.settings.seconds("stop_notice")
        self._stopping: threading.Timer | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins the stop; a second one hurries it."""
        if self._service.is_stopping:
            super().handle_exit(sig, frame)
            return
        self._service.is_stopping = True
        self._captured_signals.append(sig)
        self._stopping = threading.Timer(self._notice, self._stop)
        self._stopping.daemon = True
        self._stopping.start()

    def _stop(self) -> None:
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: stop as well when what is served can't be used."""
        return self._service.failure is not None or await super().on_tick(counter)


def _config(app: ASGIApp, settings: ServeSettings) -> uvicorn.Config:
    protocol = type("Timed", (TimedProtocol,), {"header_timeout": settings.seconds("header_timeout")})
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=settings.max_connections,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(settings.seconds("drain"))),
    )
