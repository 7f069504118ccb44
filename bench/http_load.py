"""Requests to a server on this machine, closed loop and open loop, with as little work for the client as possible.

Each request is written as bytes that were made beforehand, over connections that stay open. Only loopback addresses.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

HOST = "127.0.0.1"
_BOUNDARY = "3e1b0a5c7f2d"


@dataclass
class Load:
    """What came of a load: seconds and status of each request, and how many answers were wrong."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    took: float = 0.0

    def summary(self) -> dict[str, object]:
        """Rate and latencies of what was answered with 200."""
        ordered = sorted(self.seconds)
        return {
            "per_second": len(ordered) / self.took,
            "p50_ms": 1000 * ordered[len(ordered) // 2] if ordered else None,
            "p99_ms": 1000 * ordered[int(0.99 * len(ordered))] if ordered else None,
            "statuses": {str(k): v for k, v in sorted(self.statuses.items())},
            "wrong": self.wrong,
        }


@dataclass(frozen=True)
class Asked:
    """A request, and the label that its answer has to hold; None: any."""

    content: bytes
    label: str | None = None

    def as_bytes(self, port: int) -> bytes:
        """As it is sent."""
        part = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
        body = (
            f"{part}Content-Type: image/jpeg\r\n\r\n".encode() + self.content + f"\r\n--{_BOUNDARY}--\r\n".encode()
        )
        kind = f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\nContent-Length: {len(body)}"
        return f"POST /v1/predict HTTP/1.1\r\nHost: {HOST}:{port}\r\n{kind}\r\n\r\n".encode() + body


class _Connection:
    """One connection; opened again when the server closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body; status 0 when the connection broke."""
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(HOST, self._port)
            reader, writer = self._streams
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
            body = await reader.readexactly(length)
            if b"connection: close" in head:
                await self.close()
            return int(head.split(b" ", 2)[1]), body
        except (OSError, asyncio.IncompleteReadError, ValueError):
            await self.close()
            return 0, b""

    async def close(self) -> None:
        """Close it, if it is open."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def _note(load: Load, asked: Asked, status: int, body: bytes, seconds: float) -> None:
    load.statuses[status] += 1
    if status != 200:
        return
    load.seconds.append(seconds)
    if asked.label is not None and json.loads(body)["predictions"][0]["label"] != asked.label:
        load.wrong += 1


def closed_loop(port: int, asked: Sequence[Asked], *, clients: int, seconds: float, warm_up: float = 2.0) -> Load:
    """Each client asks again when it has its answer."""

    async def run() -> Load:
        load, turn = Load(), itertools.cycle([(a, a.as_bytes(port)) for a in asked])
        began = time.perf_counter() + warm_up
        until = began + seconds

        async def client() -> None:
            connection = _Connection(port)
            while (at := time.perf_counter()) < until:
                one, request = next(turn)
                status, body = await connection.ask(request)
                if at >= began:
                    _note(load, one, status, body, time.perf_counter() - at)
            await connection.close()

        await asyncio.gather(*(client() for _ in range(clients)))
        load.took = time.perf_counter() - began
        return load

    return asyncio.run(run())


def open_loop(port: int, asked: Sequence[Asked], *, rate: float, seconds: float, connections: int = 200) -> Load:
    """Requests come at a rate, whether or not the earlier ones are answered; latency counts from their time.

    Args:
        port: of the server.
        asked: the requests, in turn.
        rate: requests per second.
        seconds: how long.
        connections: at most so many at once; where none is free, a request is late, not lost.
    """

    async def run() -> Load:
        load, free = Load(), asyncio.LifoQueue[_Connection]()
        turn = itertools.cycle([(a, a.as_bytes(port)) for a in asked])
        for _ in range(connections):
            free.put_nowait(_Connection(port))
        began = time.perf_counter()

        async def one(at: float) -> None:
            given, request = next(turn)
            connection = await free.get()
            status, body = await connection.ask(request)
            free.put_nowait(connection)
            _note(load, given, status, body, time.perf_counter() - at)

        tasks = set()
        for number in range(int(rate * seconds)):
            at = began + number / rate
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            task = asyncio.create_task(one(at))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        load.took = time.perf_counter() - began
        while not free.empty():
            await free.get_nowait().close()
        return load

    return asyncio.run(run())
