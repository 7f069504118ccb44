"""Images → feature vectors, in order and in constant memory: threads decode ahead of the engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from foveal.data.images.decode import quiet
from foveal.engines import Engine
from foveal.engines.base import Pixels
from foveal.errors import UnreadableImage
from foveal.machine import cores

_IN_FLIGHT = 2  # batches that the engine computes while the next one is prepared
_AHEAD = 96  # images that are decoded ahead of the engine

T = TypeVar("T")


@dataclass
class _Batch(Generic[T]):
    items: list[tuple[T, UnreadableImage | None]]
    views: list[Future[NDArray[np.float32]]]

    def results(self) -> list[tuple[T, NDArray[np.float32] | UnreadableImage]]:
        computed = iter(np.stack([v.result() for v in self.views], axis=1)) if self.views else iter(())
        return [(item, next(computed) if error is None else error) for item, error in self.items]


def batches(
    items: Iterable[T], read: Callable[[T], Pixels], engine: Engine
) -> Generator[list[tuple[T, NDArray[np.float32] | UnreadableImage]]]:
    """Feature vectors of all items, one for each view, batch by batch, in order.

    Args:
        items: of any type; consumed as they are needed.
        read: item → views of an image `(V, size, size, channels)`; called in threads.
        engine: computes the features.

    Yields:
        Lists of (item, features `(V, dimension)`); where `read` raised `UnreadableImage`, the error instead.
    """
    in_flight: deque[_Batch[T]] = deque()
    # Closed explicitly: exceptions raised while an abandoned generator is finalized (the second Ctrl-C) are lost.
    with closing(_read_ahead(items, read)) as source:
        while chunk := list(islice(source, engine.batch_size)):
            readable = [p for _, p in chunk if not isinstance(p, UnreadableImage)]
            views = zip(*readable, strict=True)
            futures = [engine.submit(np.stack(images)) for images in views]
            errors = [(item, p if isinstance(p, UnreadableImage) else None) for item, p in chunk]
            in_flight.append(_Batch(errors, futures))
            if len(in_flight) > _IN_FLIGHT:
                yield in_flight.popleft().results()
    for batch in in_flight:
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
                except UnreadableImage as error:
                    yield item, error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
