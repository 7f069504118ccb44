"""Decode ahead, compute behind: the order is kept and refusals stand in their place."""

import threading
from concurrent.futures import Future

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.errors import UnreadableImage
from foveal.features.pipeline import batches


class FakeEngine:
    """Features are the mean, and the top-left pixel, of each picture; answers come late and out of order."""

    name, precision, version, batch_size = "fake", "fp32", "1", 32

    def __init__(self):
        self.sizes = []
        self.waiting = []
        self.most_waiting = 0

    def submit(self, pixels):
        assert pixels.dtype == np.uint8
        self.sizes.append(len(pixels))
        future = Future()
        features = np.stack([pixels.mean(axis=(1, 2, 3)), pixels[:, 0, 0, 0]], axis=1).astype(np.float32)
        self.waiting.append((future, features))
        open_ones = [f for f, _ in self.waiting if not f.done()]
        self.most_waiting = max(self.most_waiting, len(open_ones))
        if len(open_ones) > 2:
            for late, found in reversed(self.waiting):
                if not late.done():
                    late.set_result(found)
        threading.Timer(0.002, lambda: future.done() or future.set_result(features)).start()
        return future


class NowEngine(FakeEngine):
    def submit(self, pixels):
        self.sizes.append(len(pixels))
        future = Future()
        future.set_result(np.stack([pixels.mean(axis=(1, 2, 3)), pixels[:, 0, 0, 0]], axis=1).astype(np.float32))
        return future


def read(item):
    if item % 7 == 3:
        raise UnreadableImage(f"/{item}", "broken", "so")
    pixels = np.full((4, 4, 3), item % 251, dtype=np.uint8)
    pixels[:, 0] = 255 - item % 251
    return pixels[None]


def views_of(item, views):
    """What `read` gives, in several views."""
    return np.stack([read(item)[0][:, ::-1] if view == "mirror" else read(item)[0] for view in views])


@given(
    st.lists(st.integers(0, 10_000), max_size=150),
    st.lists(st.sampled_from(["plain", "mirror"]), min_size=1, max_size=3),
)
@settings(max_examples=25, deadline=None)
def test_order_is_kept_and_refusals_stand_in_their_place(items, views):
    engine = NowEngine()
    found = list(batches(iter(items), lambda item: views_of(item, views), engine))
    assert all(0 < len(batch) <= engine.batch_size for batch in found)
    flat = [pair for batch in found for pair in batch]
    assert [item for item, _ in flat] == items
    for item, result in flat:
        if item % 7 == 3:
            assert isinstance(result, UnreadableImage)
            assert result.path == f"/{item}"
        else:
            assert result.shape == (len(views), 2)
            edge, inner = 255 - item % 251, item % 251
            assert result[:, 0] == pytest.approx((edge + 3 * inner) / 4, abs=0.01)
            assert result[:, 1].tolist() == [edge if v == "plain" else inner for v in views]


def test_answers_that_come_late_find_their_pictures():
    engine = FakeEngine()
    items = [i for i in range(300) if i % 7 != 3]
    flat = [pair for batch in batches(items, read, engine) for pair in batch]
    assert [item for item, _ in flat] == items
    assert [int(result[0, 1]) for _, result in flat] == [255 - i % 251 for i in items]


def test_only_refusals():
    engine = NowEngine()
    flat = [pair for batch in batches([3] * 70, read, engine) for pair in batch]
    assert len(flat) == 70
    assert engine.sizes == []
    assert all(isinstance(result, UnreadableImage) for _, result in flat)


def test_items_are_taken_as_they_are_needed():
    """Constant memory: an endless list of pictures gives its first answers."""
    taken = []

    def endless():
        i = 0
        while True:
            taken.append(i)
            yield i
            i += 1

    answers = batches(endless(), read, NowEngine())
    next(answers)
    assert len(taken) <= 8 * 32
    answers.close()


def test_each_picture_is_read_once_for_all_views():
    count = []

    def counting(item):
        count.append(item)
        return views_of(item, ["plain", "mirror", "plain"])

    list(batches([i for i in range(64) if i % 7 != 3], counting, NowEngine()))
    assert sorted(count) == [i for i in range(64) if i % 7 != 3]


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
def test_a_fault_of_ours_is_not_swallowed(error):
    def failing(item):
        if item == 40:
            raise error("ours")
        return read(0)

    with pytest.raises(error, match="ours"):
        list(batches(range(100), failing, NowEngine()))


def test_an_engines_fault_is_not_swallowed():
    class Broken(NowEngine):
        def submit(self, pixels):
            future = Future()
            future.set_exception(RuntimeError("engine"))
            return future

    with pytest.raises(RuntimeError, match="engine"):
        list(batches([0, 1], read, Broken()))
