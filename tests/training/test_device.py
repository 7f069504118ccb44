"""bf16 is used only where its outputs are like those of fp32, and it is faster."""

import pytest
import torch

from foveal.decisions import DEVICE, Decisions
from foveal.training.loop import device
from foveal.training.loop.device import GAIN, LIKENESS, choose_device, judge

NETWORK = {"architecture": "small", "channels": 1, "classes": 3, "stages": [[4], [6]]}
SHAPE = (1, 12, 12)


@pytest.fixture
def instructions(monkeypatch):
    """`instructions("avx2", …)`: those of the processor; there is no GPU."""
    monkeypatch.setattr(device, "best_device", lambda: "cpu")

    def have(*names):
        monkeypatch.setattr(device, "instruction_sets", lambda: list(names))

    return have


@pytest.mark.parametrize(
    ("gain", "likeness", "precision"),
    [(5.0, 0.999, "bf16"), (GAIN, LIKENESS, "bf16"), (1.0, 0.999, "fp32"), (5.0, 0.5, "fp32")],
)
def test_half_precision_is_used_only_when_it_is_alike_and_faster(gain, likeness, precision):
    assert judge(gain, likeness)[0] == precision


def test_without_bf16_there_is_nothing_to_measure(instructions, fresh_cache):
    instructions("avx2")
    decisions = Decisions()
    assert choose_device(decisions, NETWORK, SHAPE).precision == "fp32"
    assert not fresh_cache.exists() and decisions.reason(DEVICE)


def test_where_memory_is_short_bf16_is_not_tried(instructions, fresh_cache):
    instructions("avx2", "avx512_bf16")
    assert choose_device(Decisions(), NETWORK, SHAPE, room=False).precision == "fp32"
    assert not fresh_cache.exists()


def test_both_precisions_are_measured_once_and_remembered(instructions, fresh_cache):
    """Whatever this processor has: the measurement itself runs."""
    instructions("avx2", "avx512_bf16")
    first, second = Decisions(), Decisions()
    chosen = choose_device(first, NETWORK, SHAPE)
    written = {path: path.read_bytes() for path in fresh_cache.iterdir()}
    assert chosen.precision in ("fp32", "bf16") and written
    assert choose_device(second, {**NETWORK, "classes": 9}, SHAPE) == chosen
    assert {path: path.read_bytes() for path in fresh_cache.iterdir()} == written
    assert first.reason(DEVICE) in second.reason(DEVICE) != first.reason(DEVICE)


def test_a_decision_is_obeyed_threads_included():
    threads = torch.get_num_threads()
    try:
        given = {"name": "cpu", "precision": "bf16", "threads": 1}
        decisions = Decisions({DEVICE.id: {"value": given, "reason": "earlier"}})
        chosen = choose_device(decisions, NETWORK, SHAPE)
        assert (chosen.name, chosen.precision) == ("cpu", "bf16") and torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
