"""A model is compiled once on a machine; what was kept is used only if it is whole."""

import hashlib
import threading

import numpy as np
import pytest

from foveal.engines.model_cache import compiled_model
from foveal.engines.openvino_engine import CompiledModel
from foveal.engines.openvino_runtime import import_openvino

ROWS = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


class Doubling:
    """Gives a model, and counts how often it was asked to."""

    def __init__(self):
        self.made = 0

    def __call__(self):
        ov = import_openvino()
        self.made += 1
        rows = ov.op.Parameter(ov.Type.f32, ov.PartialShape([-1, 4]))
        two = ov.opset13.constant(np.full((1, 4), 2.0, dtype=np.float32))
        return ov.Model([ov.opset13.multiply(rows, two)], [rows], "doubling")

    def compiled(self, key=("doubling",)):
        return np.array(compiled_model(key, self, "fp32")(ROWS)[0])


@pytest.fixture
def doubling():
    return Doubling()


def kept(cache):
    return sorted((cache / "compiled").iterdir())


def test_the_second_time_it_is_read(fresh_cache, doubling):
    first, second = doubling.compiled(), doubling.compiled()
    assert doubling.made == 1 and np.array_equal(first, 2 * ROWS) and np.array_equal(first, second)
    doubling.compiled(key=("another",))
    assert doubling.made == 2 and len(kept(fresh_cache)) == 2


def cut(file):
    file.write_bytes(file.read_bytes()[:-1])


def flipped(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def signed_but_no_model(file):
    file.write_bytes(hashlib.sha256(b"no model").digest() + b"no model")


@pytest.mark.parametrize("damage", [cut, flipped, signed_but_no_model, lambda file: file.write_bytes(b"")])
def test_what_is_damaged_is_compiled_again(fresh_cache, doubling, damage):
    doubling.compiled()
    (file,) = kept(fresh_cache)
    whole = file.read_bytes()
    damage(file)
    assert np.array_equal(doubling.compiled(), 2 * ROWS) and doubling.made == 2
    assert len(file.read_bytes()) == len(whole)
    doubling.compiled()
    assert doubling.made == 2


def test_a_cache_that_can_not_be_written_costs_time_only(doubling, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "file"))
    assert np.array_equal(doubling.compiled(), 2 * ROWS) and np.array_equal(doubling.compiled(), 2 * ROWS)
    assert doubling.made == 2


def test_batches_in_flight_keep_their_rows_and_end_in_threads_of_python(fresh_cache):
    """A thread of OpenVINO's that returns to an interpreter that is being finalized aborts the process."""

    def image_means():
        ov = import_openvino()
        images = ov.op.Parameter(ov.Type.u8, ov.PartialShape([-1, 2, 2, 1]))
        ops = ov.opset13
        rows = ops.reshape(ops.convert(images, "f32"), ops.constant([0, -1], dtype="int64"), special_zero=True)
        return ov.Model([ops.reduce_mean(rows, ops.constant([1]), keep_dims=True)], [images], "means")

    engine = CompiledModel(image_means, ["means"], (2, 2, 1), precision="fp32")
    threads = []
    futures = [engine.submit(np.full((3, 2, 2, 1), n, dtype=np.uint8)) for n in range(20)]
    futures[-1].add_done_callback(lambda _: threads.append(threading.current_thread()))
    engine.release()  # what is in flight is not lost
    assert [f.result().tolist() for f in futures] == [[[float(n)]] * 3 for n in range(20)]
    assert not isinstance(threads[0], threading._DummyThread)
    assert engine(np.full((1, 2, 2, 1), 7, dtype=np.uint8)).tolist() == [[7.0]]
