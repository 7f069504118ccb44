import errno

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foveal.training.loop.checkpoints import Checkpoints


def some(step):
    return {"w": np.full((3, 2), step, dtype=np.float32), "n": np.array(step, dtype=np.int64)}


@pytest.fixture
def messages():
    return []


@pytest.fixture
def store(tmp_path, messages):
    return Checkpoints(tmp_path / "c", messages.append)


def test_the_newest_comes_back_and_two_are_kept(store):
    assert store.load() is None
    for step in (5, 50, 1000):
        assert store.save(step, some(step), {"step": step})
    tensors, facts = store.load()
    assert facts == {"step": 1000}
    assert (tensors["w"] == 1000).all() and tensors["n"].shape == () and tensors["n"].dtype == np.int64
    assert len(list(store.folder.iterdir())) == 4


@pytest.mark.parametrize("damage", [lambda c: c[:-2], lambda c: b"", lambda c: c[:-1] + bytes([c[-1] ^ 1])])
@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_a_broken_newest_gives_way_to_the_one_before(store, messages, damage, suffix):
    store.save(1, some(1), {"step": 1})
    store.save(2, some(2), {"step": 2})
    newest = store.folder / f"last-0-000000002.{suffix}"
    newest.write_bytes(damage(newest.read_bytes()))
    assert store.load()[1]["step"] == 1
    assert "last-0-000000002.json" in messages[-1]


def test_weights_without_their_json_do_not_count(store):
    store.save(1, some(1), {"step": 1})
    store.save(2, some(2), {"step": 2})
    (store.folder / "last-0-000000002.json").unlink()
    assert store.load()[1]["step"] == 1


def test_on_a_full_disk_the_old_one_stays_and_the_user_is_told(store, messages, monkeypatch):
    store.save(1, some(1), {"step": 1})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("foveal.files.os.fsync", full)
    assert not store.save(2, some(2), {"step": 2})
    assert "No space left" in messages[-1]
    assert store.load()[1]["step"] == 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text("abc.", min_size=1, max_size=8),
        hnp.arrays(st.sampled_from([np.float32, np.int64]), hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)),
        min_size=1,
        max_size=4,
    )
)
def test_tensors_survive_bit_for_bit(store, tensors):
    store.save(7, tensors, {"step": 7})
    back, _ = store.load()
    assert back.keys() == tensors.keys()
    for name, value in tensors.items():
        assert back[name].tobytes() == value.tobytes() and back[name].shape == value.shape
