"""Micro-batches: images of many requests, decoded by a few threads, computed together.

A request waits in a bounded queue, and at most until its deadline; images whose deadline has passed are dropped
before they are decoded or computed. The event loop never decodes or computes anything.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from foveal.errors import UnreadableImage
from foveal.machine import cores
from foveal.serving.answers import Answering, prepared_quietly
from foveal.serving.problems import Problem
from foveal.serving.schemas import ImageAnswer
from foveal.serving.settings import ServeSettings
from foveal.serving.uploads import Upload

Result = ImageAnswer | UnreadableImage

#: The weight of the newest batch in the mean seconds for an image.
_NEWEST = 0.2
#: Seconds: the most that Retry-After says.
_LONGEST_WAIT = 30


@dataclass(eq=False)
class _Item:
    image: Upload
    topk: int
    deadline: float  # of `time.monotonic`
    done: asyncio.Future[Result]
    prepared: Any = None

    @property
    def is_wanted(self) -> bool:
        return not self.done.done() and time.monotonic() < self.deadline


class Batcher:
    """Answers images; all methods are called from one event loop.

    Args:
        answers: what prepares and computes.
        settings: `queue`, `deadline`, `max_batch`, `batch_wait` and `decoders` of it.
        on_batch: told the number of images of each batch.

    Attributes:
        waiting: images that were accepted and not answered.
    """

    def __init__(
        self, answers: Answering, settings: ServeSettings, on_batch: Callable[[int], None] = lambda _: None
    ) -> None:
        self._answers, self._on_batch = answers, on_batch
        self._most, self._deadline = settings.queue, settings.seconds("deadline")
        self._wait = settings.seconds("batch_wait")
        self._decoders = ThreadPoolExecutor(settings.decoders or cores(), thread_name_prefix="decode")
        self._ready: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._decoding, self._counting = 0, threading.Lock()
        self.waiting = 0
        self._seconds_each = 0.02
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gathering = threading.Lock()
        self._engines = [
            threading.Thread(target=self._compute, name=f"engine-{n}", daemon=True)
            for n in range(answers.in_flight)
        ]

    def start(self) -> None:
        """Begin to compute."""
        self._loop = asyncio.get_running_loop()
        for engine in self._engines:
            engine.start()

    def close(self) -> None:
        """Stop the threads; what is still waiting is dropped."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._ready.put(None)

    @property
    def retry_after(self) -> int:
        """Seconds after which there should be room again."""
        return min(_LONGEST_WAIT, max(1, round(self.waiting * self._seconds_each)))

    async def __call__(self, images: Sequence[Upload], topk: int) -> list[Result]:
        """The answers, in the order of the images.

        Raises:
            Problem: 503 when the queue is full, 504 when the deadline passed.
        """
        if self.waiting + len(images) > self._most:
            raise Problem(
                503,
                "queue_full",
                "as many images are waiting as may wait",
                hint="try again after the seconds in Retry-After",
                headers={"Retry-After": str(self.retry_after)},
            )
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + self._deadline
        items = [_Item(image, topk, deadline, loop.create_future()) for image in images]
        self.waiting += len(items)
        with self._counting:
            self._decoding += len(items)
        for item in items:
            self._decoders.submit(self._decode, item)
        try:
            async with asyncio.timeout(self._deadline):
                return [await item.done for item in items]
        except TimeoutError:
            raise Problem(
                504,
                "deadline",
                f"no answer within {self._deadline:g} s",
                hint="send fewer images at once, or allow more time with --deadline",
            ) from None
        finally:
            for item in items:  # those that nobody waits for are dropped by the threads
                item.done.cancel()

    def _decode(self, item: _Item) -> None:
        """In a thread of the pool."""
        failed: BaseException | UnreadableImage | None = None
        try:
            if item.is_wanted:
                item.prepared = prepared_quietly(self._answers, item.image.content, item.image.name)
        except Exception as error:
            failed = error
        finally:
            with self._counting:
                self._decoding -= 1
        if failed is not None or item.prepared is None:
            self._deliver([(item, failed)])
        else:
            self._ready.put(item)

    def _compute(self) -> None:
        """In a thread of the engine."""
        while (batch := self._next_batch()) is not None:
            wanted = [item for item in batch if item.is_wanted]
            self._deliver([(item, None) for item in batch if item not in wanted])
            if not wanted:
                continue
            began = time.monotonic()
            names, prepared = [item.image.name for item in wanted], [item.prepared for item in wanted]
            try:
                results: Sequence[Any] = self._answers.answer(names, prepared, max(item.topk for item in wanted))
            except Exception as error:
                results = [error] * len(wanted)
            took = (time.monotonic() - began) / len(wanted)
            self._seconds_each += _NEWEST * (took - self._seconds_each)
            self._on_batch(len(wanted))
            self._deliver(list(zip(wanted, results, strict=True)))

    def _next_batch(self) -> list[_Item] | None:
        """What is ready, and, for a moment, what is about to be; None: the server stops."""
        with self._gathering:  # two threads would share what makes one batch
            return self._gathered()

    def _gathered(self) -> list[_Item] | None:
        first = self._ready.get()
        if first is None:
            self._ready.put(None)  # for the other threads
            return None
        batch, until = [first], time.monotonic() + self._wait
        while len(batch) < self._answers.batch_size:
            try:
                left = until - time.monotonic()
                following = (
                    self._ready.get(timeout=left) if self._decoding and left > 0 else self._ready.get_nowait()
                )
            except queue.Empty:
                break
            if following is None:
                self._ready.put(None)
                break
            batch.append(following)
        return batch

    def _deliver(self, results: Sequence[tuple[_Item, Any]]) -> None:
        """Hand results to the event loop, from any thread."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._settle, results)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _settle(self, results: Sequence[tuple[_Item, Any]]) -> None:
        for item, result in results:
            self.waiting -= 1
            item.prepared = None
            if item.done.done():
                continue
            if isinstance(result, UnreadableImage) or not isinstance(result, BaseException):
                item.done.set_result(_cut(result, item.topk)) if result is not None else item.done.cancel()
            else:
                item.done.set_exception(result)


def _cut(result: Result, topk: int) -> Result:
    """An answer with as many classes as this request asked for: others in its batch may have asked for more."""
    if isinstance(result, ImageAnswer) and len(result.topk) > topk:
        return replace(result, topk=result.topk[:topk])
    return result
