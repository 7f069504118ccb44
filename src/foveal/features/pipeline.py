"""Decode ahead, compute behind: pictures in, feature vectors out, in order and in constant memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from foveal.data.decode import quiet
from foveal.data.render import seen_as
from foveal.engines import Engine
from foveal.engines.base import Pixels, batch_for
from foveal.errors import UnreadableImage
from foveal.machine import cores

_UNDER_WAY = 2  # batches with the engine
_AHEAD = 96  # pictures that are decoded before they are asked for

T = TypeVar("T")


@dataclass
class _Batch(Generic[T]):
    items: list[tuple[T, UnreadableImage | None]]
    views: list[Future[NDArray[np.float32]]]

    def results(self) -> list[tuple[T, NDArray[np.float32] | UnreadableImage]]:
        computed = iter(np.stack([v.result() for v in self.views], axis=1)) if self.views else iter(())
        return [(item, next(computed) if refusal is None else refusal) for item, refusal in self.items]


def batches(
    items: Iterable[T], read: Callable[[T], Pixels], engine: Engine, views: Sequence[str]
) -> Generator[list[tuple[T, NDArray[np.float32] | UnreadableImage]]]:
    """Feature vectors `(V, dimension)` of all items, batch by batch, in order.

    Args:
        items: anything; taken as they are needed.
        read: an item's rendered picture, `(size, size, 3)`; called in threads.
        engine: computes.
        views: looks at each picture, from one decoding.

    Yields:
        Lists of (item, features), with the refusal instead where `read` raised `UnreadableImage`.
    """
    under_way: deque[_Batch[T]] = deque()
    at_once = batch_for(engine)
    # Closed by hand: what is raised while a forgotten generator is cleaned away (the second Ctrl-C, say) is lost.
    with closing(_read_ahead(items, read)) as source:
        while chunk := list(islice(source, at_once)):
            good = [p for _, p in chunk if not isinstance(p, UnreadableImage)]
            pixels = np.stack(good) if good else None
            futures = [engine.submit(seen_as(pixels, v)) for v in views] if pixels is not None else []
            refusals = [(item, p if isinstance(p, UnreadableImage) else None) for item, p in chunk]
            under_way.append(_Batch(refusals, futures))
            if len(under_way) > _UNDER_WAY:
                yield under_way.popleft().results()
    for batch in under_way:
        yield batch.results()


def _read_ahead(items: Iterable[T], read: Callable[[T], Pixels]) -> Generator[tuple[T, Pixels | UnreadableImage]]:
    waiting = iter(items)
    with quiet(), ThreadPoolExecutor(cores()) as pool:
        ahead: deque[tuple[T, Future[Pixels]]] = deque()
        try:
            while True:
                for item in islice(waiting, _AHEAD - len(ahead)):
                    ahead.append((item, pool.submit(read, item)))
                if not ahead:
                    return
                item, future = ahead.popleft()
                try:
                    yield item, future.result()
                except UnreadableImage as refusal:
                    yield item, refusal
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
