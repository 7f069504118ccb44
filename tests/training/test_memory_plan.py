"""Memory that runs out: training goes on, and the result is the same."""

import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from foveal.config import TrainConfig
from foveal.decisions import MEMORY
from foveal.errors import MemoryShort
from foveal.machine import rss
from foveal.memory_budget import ALARM, MemoryBudget
from foveal.planner.process import measured
from foveal.planner.scenario import Scenario
from foveal.training.loop.grad_accumulation import (
    GradientAccumulator,
    SideEffects,
    out_of_memory,
    scaled_norm_momentum,
)
from foveal.training.loop.loop import train_network
from foveal.training.loop.memory_plan import Choice, accumulator_for, choose
from foveal.training.loop.task import LoopSettings, TrainTask
from runs import context_of


class Failing(nn.Module):
    """A layer that runs out of memory at chosen calls, as torch's CPU allocator says it."""

    def __init__(self, at=()):
        super().__init__()
        self.at, self.calls = set(at), 0

    def forward(self, x):
        self.calls += 1
        if self.calls in self.at:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return x


def network(at=(), norm=False):
    torch.manual_seed(3)
    norms = [nn.BatchNorm2d(8)] if norm else []
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)]
    return nn.Sequential(nn.Conv2d(3, 8, 3), *norms, nn.ReLU(), Failing(at), *head)


def trained(module, steps=6, accumulator=None):
    """The weights after some steps, and the losses."""
    accumulator = accumulator or GradientAccumulator()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    losses = []

    def compute(inputs, targets, weight):
        loss = nn.functional.cross_entropy(module(inputs), targets)
        (weight * loss).backward()
        return loss

    for step in range(steps):
        torch.manual_seed(step)
        inputs, targets = torch.randn(12, 3, 8, 8), torch.randint(0, 4, (12,))
        losses.append(float(accumulator.gradients(step, module, inputs, targets, compute)))
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in module.parameters()]), losses


@pytest.mark.parametrize("at", [{1}, {4}, {2, 3}, {1, 2, 4}, {3, 9}])
def test_a_failure_at_any_step_leaves_the_same_weights(at):
    expected, losses = trained(network())
    accumulator = GradientAccumulator()
    found, others = trained(network(at), accumulator=accumulator)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(others, losses, rtol=1e-5, atol=1e-6)
    assert [count for _, count in accumulator.increases] == [2**n for n in range(1, len(at) + 1)]


def test_buffers_and_random_state_are_put_back():
    module = network(norm=True)
    effects, before = SideEffects.of(module), {k: v.clone() for k, v in module.state_dict().items()}
    expected = torch.rand(3)
    module(torch.randn(4, 3, 8, 8))
    effects.restore(module)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert torch.equal(torch.rand(3), expected)


def test_a_failed_pass_counts_no_statistics():
    """The second convolution's failure comes after the batch normalisation has seen the whole batch."""
    failed, never = network({1}, norm=True), network(norm=True)
    accumulator = GradientAccumulator(count=2)
    trained(failed, steps=1)
    trained(never, steps=1, accumulator=accumulator)
    for (name, found), expected in zip(failed.state_dict().items(), never.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=name)


def test_micro_batches_move_running_statistics_as_far_as_a_batch():
    module = nn.BatchNorm2d(3, momentum=0.1)
    image = torch.randn(4, 3, 5, 5) + 7
    with scaled_norm_momentum(module, 4):
        for _ in range(4):
            module(image)
    expected = 0.1 * image.mean((0, 2, 3))
    torch.testing.assert_close(module.running_mean, expected)
    assert module.momentum == 0.1


def test_other_errors_and_single_images_are_not_swallowed():
    def wrong(*_):
        raise RuntimeError("shape mismatch")

    def hopeless(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    inputs, targets = torch.zeros(3, 3, 8, 8), torch.zeros(3, dtype=torch.long)
    with pytest.raises(RuntimeError, match="mismatch"):
        GradientAccumulator().gradients(0, network(), inputs, targets, wrong)
    with pytest.raises(RuntimeError, match="allocate"):
        GradientAccumulator().gradients(0, network(), inputs, targets, hopeless)


def test_what_torch_really_says():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 56, dtype=torch.uint8)
    assert out_of_memory(caught.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not out_of_memory(ValueError("DefaultCPUAllocator"))


def test_batches_are_cut_before_the_limit():
    said = []
    tight = GradientAccumulator(budget=MemoryBudget(rss()), say=said.append)
    ample = GradientAccumulator(budget=MemoryBudget(rss() * 100))
    trained(network(), steps=1, accumulator=tight)
    trained(network(), steps=1, accumulator=ample)
    assert (tight.at(0), ample.at(0)) == (2, 1)
    assert len(said) == 1


UNDER_A_LIMIT = """
    import resource, torch
    from torch import nn
    from foveal.training.loop.grad_accumulation import GradientAccumulator
    torch.set_num_threads(1)
    net = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2))
    def compute(x, y, weight):
        loss = nn.functional.cross_entropy(net(x), y)
        (weight * loss).backward()
        return loss
    inputs, targets = torch.randn(64, 3, 128, 128), torch.zeros(64, dtype=torch.long)
    compute(inputs[:2], targets[:2], 1.0)
    used = [int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmSize")][0]
    resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20, -1))
    accumulator = GradientAccumulator()
    accumulator.gradients(0, net, inputs, targets, compute)
    print(accumulator.at(0))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")
def test_training_goes_on_under_a_real_limit():
    """64 images need 4 maps of 128 MiB; 200 MiB are allowed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(UNDER_A_LIMIT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 4


def test_a_repeated_training_cuts_its_batches_at_the_same_steps():
    written = []
    first = GradientAccumulator(on_increase=lambda made: written.append(list(made)))
    expected, _ = trained(network({3, 9}), accumulator=first)
    assert written == [[(2, 2)], [(2, 2), (4, 4)]]
    again, _ = trained(network(), accumulator=GradientAccumulator(increases=written[-1]))
    assert torch.equal(again, expected)
    assert [GradientAccumulator(increases=written[-1]).at(step) for step in range(7)] == [1, 1, 2, 2, 4, 4, 4]


def budget_for_tensors(room, other_bytes):
    """Resident bytes of which the plan leaves `room` to tensors."""
    beyond = measured()
    return int((room * beyond["malloc_frugal"] + other_bytes + beyond["first_step_bytes"]) / ALARM)


RESIDENT = 100 * 2**20


def context_with(memory, monkeypatch):
    """A run that was given so many bytes, of which the process has 100 MiB already."""
    for module in ("memory_plan", "grad_accumulation"):
        monkeypatch.setattr(f"foveal.training.loop.{module}.rss", lambda: RESIDENT)
    return context_of(config=TrainConfig(memory=None if memory is None else str(memory)))


def wide():
    torch.manual_seed(5)
    convolutions = [part for _ in range(6) for part in (nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())]
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), *convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)
    )


def bright(step):
    generator = torch.Generator().manual_seed(step)
    targets = torch.randint(0, 4, (32,), generator=generator)
    images = torch.randn(32, 3, 64, 64, generator=generator) + targets[:, None, None, None].float()
    return images.contiguous(memory_format=torch.channels_last), targets


def trained_within(memory, monkeypatch):
    """The weights of a training that keeps to so much memory, and its plan."""
    context, module = context_with(memory, monkeypatch), wide().to(memory_format=torch.channels_last)
    settings = LoopSettings(6, 0.05, check_every=3)
    accumulator = accumulator_for("wide", module, bright, settings, context)
    train_network(
        TrainTask("wide", module, bright, nn.functional.cross_entropy), settings, accumulator=accumulator
    )
    return module.state_dict(), Choice(**context.decisions.get(MEMORY.of("wide")))


def test_a_training_in_little_memory_ends_in_the_same_weights(monkeypatch):
    ample, whole = trained_within(None, monkeypatch)
    assert whole.micro_batches == 1 and whole.fits
    room = int(whole.planned_bytes * 0.6)
    tight, cut = trained_within(budget_for_tensors(room, RESIDENT), monkeypatch)
    assert cut.micro_batches > 1 and cut.planned_bytes <= cut.room_bytes < whole.planned_bytes
    for name, value in ample.items():
        torch.testing.assert_close(tight[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_a_training_that_cannot_fit_is_refused_by_name(monkeypatch):
    memory = RESIDENT + 10 * 2**20
    with pytest.raises(MemoryShort) as refused:
        trained_within(memory, monkeypatch)
    assert "wide" in str(refused.value) and "110.0 MiB" in str(refused.value) and refused.value.hint


@pytest.mark.parametrize("norm", [True, False])
def test_the_choice_keeps_to_the_budget(norm):
    layers = [part for _ in range(8) for part in (nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())]
    if not norm:
        layers = [part for part in layers if not isinstance(part, nn.BatchNorm2d)]
    module = nn.Sequential(nn.Conv2d(3, 16, 3), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))
    scenario = Scenario(input=(3, 64, 64), batch=32)
    whole = choose(module, scenario, MemoryBudget(1 << 40), other_bytes=0)
    assert (whole.micro_batches, whole.checkpoint, whole.fits) == (1, False, True)
    budget = MemoryBudget(budget_for_tensors(whole.planned_bytes * 0.75, 2**26))
    half = choose(module, scenario, budget, other_bytes=2**26)
    assert half.fits
    assert half.checkpoint is norm
    assert (half.micro_batches > 1) is not norm
    assert half.planned_bytes <= half.room_bytes < whole.planned_bytes
