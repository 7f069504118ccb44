"""Several processes that accept from one socket. One that dies is replaced."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Event
from typing import cast

from foveal.errors import FovealError
from foveal.serving.launch import Serving, serve
from foveal.serving.settings import SHARED_COUNTS

#: Seconds: a worker that lived for less will not live longer when it is started again.
_TOO_SHORT = 10.0

_log = logging.getLogger("foveal.serving")


class WorkerDied(FovealError):
    """A worker ended soon after it was started."""

    exit_code = 3


def serve_by_workers(
    serving: Serving, listening: socket.socket, on_ready: Callable[[], None] = lambda: None
) -> None:
    """Serve in `settings.workers` processes until a signal ends this one.

    Args:
        serving: what to serve.
        listening: from `launch.listen`.
        on_ready: called when the first worker is ready.

    Raises:
        BundleError: when there is no usable model.
        WorkerDied: when a worker can't live.
    """
    from foveal.inference.bundle import load_bundle

    load_bundle(serving.run)  # what is wrong with it is said once, here
    folder = tempfile.mkdtemp(prefix="foveal-counts-")
    os.environ[SHARED_COUNTS] = folder
    context = multiprocessing.get_context("spawn")
    ready, workers = context.Event(), dict[int, tuple[SpawnProcess, float]]()

    def start() -> None:
        process = context.Process(target=_work, args=(serving, listening, ready))
        process.start()
        workers[process.sentinel] = process, time.monotonic()

    def tell() -> None:
        ready.wait()
        on_ready()

    try:
        for _ in range(serving.settings.workers):
            start()
        threading.Thread(target=tell, daemon=True).start()
        while True:
            for sentinel in wait(list(workers)):
                process, began = workers.pop(cast(int, sentinel))
                _bury(process)
                if time.monotonic() - began < _TOO_SHORT:
                    raise WorkerDied(
                        f"a worker ended with code {process.exitcode}", hint="the lines above may say why"
                    )
                _log.warning("a worker ended with code %s: another one is started", process.exitcode)
                start()
    finally:
        _stop([process for process, _ in workers.values()], serving.settings.seconds("drain"))
        del os.environ[SHARED_COUNTS]
        shutil.rmtree(folder, ignore_errors=True)


def _bury(process: SpawnProcess) -> None:
    """Forget the gauges of a worker that ended."""
    from prometheus_client.multiprocess import mark_process_dead

    process.join()
    mark_process_dead(process.pid)  # type: ignore[no-untyped-call]


def _stop(processes: list[SpawnProcess], drain: float) -> None:
    for process in processes:
        process.terminate()
    until = time.monotonic() + drain + 5
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
        if process.is_alive():
            process.kill()


def _work(serving: Serving, listening: socket.socket, ready: Event) -> None:
    """One worker: in its own process."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        serve(serving, listening, ready.set)
    except FovealError as error:
        _log.error("%s", error.message)
        sys.exit(error.exit_code)
