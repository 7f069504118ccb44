"""Pictures to features: in order, from spool or file, none computed twice, none that changed meanwhile."""

import os
import signal
import threading
import time
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest

from foveal.clock import Clock, Deadline
from foveal.data.audit.scan import ScanOptions, scan
from foveal.data.images.render_cache import RenderCache
from foveal.data.sources.list_data import list_data
from foveal.data.targets.labels import Labels
from foveal.features import Extractor
from foveal.values import Backbone, Preprocess
from pictures import make_folder

SMALL = Preprocess(size=16)

FOREVER = Deadline(Clock())


class CountingEngine:
    """Features are a few pixels of each picture."""

    name, precision, version, batch_size = "fake", "fp32", "1", 32

    def __init__(self):
        self.seen = 0

    def submit(self, pixels):
        self.seen += len(pixels)
        future = Future()
        future.set_result(pixels[:, ::5, 3, 0].astype(np.float32))
        return future


def extractor(*, render_cache=None, cache=True, version="1", weights="00", preprocess=SMALL):
    engine = CountingEngine()
    engine.version = version
    backbone = Backbone("fake", 4, preprocess, weights, None)
    return Extractor(backbone, preprocess, engine, render_cache, cache=cache)


@pytest.fixture
def records(tmp_path, fresh_cache):
    folder = make_folder(tmp_path / "data", {"cat": 30, "dog": 30})
    return scan(list_data(folder).entries, Labels())[0]


def test_a_second_run_computes_nothing_again(records):
    one, two = extractor(), extractor()
    first, second = one.run(records, deadline=FOREVER), two.run(records, deadline=FOREVER)
    assert (first.computed, second.computed) == (60, 0)
    assert (one.engine.seen, two.engine.seen) == (60, 0)
    assert (first.of(records) == second.of(records)).all()
    assert first.of(records).shape == (60, 4)


@pytest.mark.parametrize(
    "other", [{"version": "2"}, {"weights": "11"}, {"preprocess": Preprocess(size=16, background=(0, 0, 0))}]
)
def test_another_way_of_computing_shares_nothing(records, other):
    extractor().run(records, deadline=FOREVER)
    assert extractor(**other).run(records, deadline=FOREVER).computed == 60
    assert extractor().run(records, view="mirror", deadline=FOREVER).computed == 60


def test_only_new_pictures_are_computed(records):
    extractor().run(records[:40], deadline=FOREVER)
    again = extractor().run(records, deadline=FOREVER)
    assert again.computed == 20
    assert len(again.rows) == 60


def test_without_a_cache_nothing_is_kept(records, fresh_cache):
    assert extractor(cache=False).run(records, deadline=FOREVER).computed == 60
    assert extractor(cache=False).run(records, deadline=FOREVER).computed == 60
    assert not (fresh_cache / "features").exists()


def test_equal_content_is_computed_once(records):
    doubled = [replace(r) for r in records for _ in range(2)]
    counted = []
    table = extractor().run(doubled, deadline=FOREVER, on_each=counted.append)
    assert table.computed == 60
    assert table.of(doubled).shape == (120, 4)
    assert sum(counted) == 120


def test_pictures_come_from_the_spool_where_it_has_them(records):
    render_cache = RenderCache(SMALL)
    kept, _ = scan(
        list_data(os.path.dirname(os.path.dirname(records[0].path))).entries,
        Labels(),
        ScanOptions(render_cache=render_cache),
    )
    for r in kept[:50]:
        os.remove(r.path)
    table = extractor(render_cache=render_cache, cache=False).run(kept, deadline=FOREVER)
    assert table.computed == 60
    assert table.changed == []


def test_from_spool_and_from_files_the_features_are_equal(records):
    render_cache = RenderCache(SMALL, max_bytes=20 * 3 * 16**2)
    kept, _ = scan(
        list_data(os.path.dirname(os.path.dirname(records[0].path))).entries,
        Labels(),
        ScanOptions(render_cache=render_cache),
    )
    from_spool = extractor(render_cache=render_cache, cache=False).run(kept, deadline=FOREVER).of(kept)
    assert (from_spool == extractor(cache=False).run(kept, deadline=FOREVER).of(kept)).all()


def test_files_that_changed_or_went_are_named_and_have_no_row(records):
    with open(records[3].path, "ab") as handle:
        handle.write(b"more")
    os.remove(records[7].path)
    table = extractor().run(records, deadline=FOREVER)
    assert table.changed == [records[3].path, records[7].path]
    assert set(table.rows) == {r.sha256 for i, r in enumerate(records) if i not in (3, 7)}


def test_when_the_time_is_up_the_first_ones_are_there_and_kept(records):
    clock = Clock()
    clock.stop()
    table = extractor().run(records, deadline=Deadline(clock))
    done = len(table.rows)
    assert 0 < done < 60
    assert set(table.rows) == {r.sha256 for r in records[:done]}
    assert extractor().run(records, deadline=FOREVER).computed == 60 - done


def test_a_wish_to_leave_that_comes_while_threads_are_joined_is_heard(records, monkeypatch):
    """Cleaned away by the interpreter, a generator swallows it: the second Ctrl-C did nothing, sometimes."""

    made = extractor()
    made.engine.batch_size = 8
    read, waiting = os.read, threading.Event()
    slow = {os.stat(r.path).st_ino for r in records[24:]}  # two batches are ahead of the first that is done

    def slow_disk(descriptor, count):
        """Threads still wait for it when the time is over."""
        if os.fstat(descriptor).st_ino in slow:
            waiting.set()
            time.sleep(0.5)
        return read(descriptor, count)

    def leave(*_):
        raise SystemExit(130)

    def wish():
        if waiting.wait(30):
            time.sleep(0.2)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    monkeypatch.setattr(os, "read", slow_disk)
    before = signal.signal(signal.SIGUSR1, leave)
    sender = threading.Thread(target=wish)
    sender.start()
    try:
        with pytest.raises(SystemExit, match="130"):
            made.run(records, deadline=Deadline(Clock(0.0)))
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)


def test_the_mirror_view_is_of_the_mirrored_picture(records):
    class Whole(CountingEngine):
        def submit(self, pixels):
            future = Future()
            future.set_result(pixels[..., 0].reshape(len(pixels), -1).astype(np.float32))
            return future

    plain, mirror = (
        Extractor(Backbone("whole", 256, SMALL, "0", None), SMALL, Whole(), cache=False).run(
            records[:5], view=view, deadline=FOREVER
        )
        for view in ("plain", "mirror")
    )
    shape = (5, 16, 16)
    assert (plain.of(records[:5]).reshape(shape)[:, :, ::-1] == mirror.of(records[:5]).reshape(shape)).all()
