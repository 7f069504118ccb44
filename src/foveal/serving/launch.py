"""The start of a server: socket and model first, so that the model compiles while the rest is imported."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from foveal.errors import UsageError
from foveal.machine import few_collections
from foveal.serving.settings import ServeSettings

#: Connections that the system holds until they are accepted.
_BACKLOG = 1024


@dataclass(frozen=True)
class Serving:
    """What a worker needs to know. It travels between processes."""

    run: str
    settings: ServeSettings
    token: str
    precision: str | None = None


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
    with few_collections():
        from foveal.inference.predictor import load_predictor
        from foveal.serving.answers import answers_of
        from foveal.serving.warm_up import WarmUp

    settings = serving.settings
    predictor = load_predictor(serving.run, precision=serving.precision)
    answers = answers_of(predictor, max_pixels=settings.max_pixels, max_batch=settings.max_batch)
    warm_up = WarmUp(answers.warm_up)
    with few_collections():
        from foveal.serving.app import create_app
        from foveal.serving.server import Server
        from foveal.serving.service import Service

    service = Service(serving.run, predictor.bundle, answers, warm_up, settings)
    app = create_app(service, serving.token)

    def tell() -> None:
        warm_up.join()
        if warm_up.failure is None:
            on_ready()

    threading.Thread(target=tell, daemon=True).start()
    Server(app, service).run(sockets=[listening])
    if warm_up.failure is not None:
        raise warm_up.failure
