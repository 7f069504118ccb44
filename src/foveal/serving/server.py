"""uvicorn around the app: sockets, workers, timeouts, and a stop that loses no request."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from foveal.errors import UsageError
from foveal.serving.settings import ServeSettings

#: Bytes of the headers of a request; more are refused with 400.
MAX_HEADER_BYTES = 64 * 1024
#: Connections that the system holds until they are accepted.
_BACKLOG = 1024
_KEEP_ALIVE = 30


@dataclass(frozen=True)
class Serving:
    """What a worker needs to know. It travels between processes."""

    run: str
    settings: ServeSettings
    token: str
    precision: str | None = None


class Protocol(H11Protocol):
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

    def __init__(self, config: uvicorn.Config, service: Any, notice: float) -> None:  # noqa: ANN401
        super().__init__(config)
        self._service, self._notice = service, notice
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
        """Ten times a second: stop as well when the model can't be used."""
        return self._service.failure is not None or await super().on_tick(counter)


def listen(settings: ServeSettings) -> socket.socket:
    """The socket.

    Raises:
        UsageError: when the address or the port can't be had.
    """
    host = settings.host.strip("[]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(
            f"--host {settings.host}: {error.strerror}", hint="give an address of this machine"
        ) from None
    try:
        if os.name != "nt":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"{settings.host}:{settings.port}: {error.strerror}",
            hint="give another port with --port; 0 takes a free one",
        ) from None
    listening.set_inheritable(True)
    return listening


def address_of(listening: socket.socket) -> str:
    """`http://127.0.0.1:8000`; where it listens on all addresses, the loopback one."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(serving: Serving, listening: socket.socket, on_ready: Callable[[], None] = lambda: None) -> None:
    """Serve in this process until a signal comes.

    Args:
        serving: what to serve.
        listening: from `listen`.
        on_ready: called when the model is compiled.

    Raises:
        FovealError: when the model can't be used.
    """
    service, warm_up = _started(serving)

    def tell() -> None:
        warm_up.join()
        if service.failure is None:
            on_ready()

    threading.Thread(target=tell, daemon=True).start()
    server = Server(
        _config(partial(_app, service, serving.token), serving.settings),
        service,
        serving.settings.seconds("stop_notice"),
    )
    server.run(sockets=[listening])
    if service.failure is not None:
        raise service.failure


def _started(serving: Serving) -> tuple[Any, threading.Thread]:
    from foveal.inference.predictor import load_predictor
    from foveal.serving.app import start_warm_up
    from foveal.serving.service import Service

    predictor = load_predictor(serving.run, precision=serving.precision)
    service = Service(serving.run, predictor, serving.settings)
    return service, start_warm_up(service)


def _app(service: Any, token: str) -> Any:  # noqa: ANN401
    from foveal.serving.app import create_app

    return create_app(service, token)


def _config(app: Callable[[], Any], settings: ServeSettings) -> uvicorn.Config:
    protocol = type("TimedProtocol", (Protocol,), {"header_timeout": settings.seconds("header_timeout")})
    return uvicorn.Config(
        app,
        factory=True,
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
