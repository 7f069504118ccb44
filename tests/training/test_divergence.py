"""A training that diverges, or learns nothing, starts again at half of the learning rate; that replays, too."""

import numpy as np
import pytest
import torch

from foveal.clock import Clock, Deadline
from foveal.progress import Progress
from foveal.training.loop.checkpoints import Checkpoints
from foveal.training.loop.loop import train_network
from foveal.training.loop.lr_schedule import Schedule
from foveal.training.loop.task import LoopSettings, TrainTask


class Valley(torch.nn.Module):
    """A loss that large steps increase."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((1, 1), 1.0))

    def forward(self, x):
        return self.weight * x


class Listener(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def settings_of(steps, lr, threshold):
    return LoopSettings(steps, lr, optimizer="sgd", warmup=0.0, divergence_threshold=threshold, check_every=10)


def squared(outputs, targets):
    return (20 * (outputs - targets) ** 2).sum()


def train_valley(lr):
    module, listener = Valley(), Listener()
    task = TrainTask("valley", module, lambda _: (torch.ones(1, 1), torch.zeros(1, 1)), squared)
    return train_network(task, settings_of(60, lr, 100.0), progress=listener), module, listener.said


def test_a_learning_rate_that_lets_the_loss_rise_is_halved_and_training_starts_again():
    outcome, module, said = train_valley(0.06)
    assert outcome.retries >= 1 and len(said) == outcome.retries
    assert outcome.steps == 60 and abs(float(module.weight.detach())) < 0.1
    calm, _, silent = train_valley(0.004)
    assert calm.retries == 0 and silent == []


@pytest.mark.parametrize("stop", [1, 4, 10, 15, 60])
def test_a_training_that_started_again_and_was_stopped_is_replayed(stop):
    """Stopped in its second attempt, and shortened in it, too; the replay has all of this before its first step."""

    def run(clock, stop_at=None, changes=()):
        module, calls = Valley(), iter(range(10**6))

        def batch(step):
            if clock.budget < 10**6 and next(calls) == 20 + stop - 1:
                clock.stop()
            return torch.ones(1, 1), torch.zeros(1, 1)

        schedule = Schedule(60, 0.0, changes=list(changes))
        outcome = train_network(
            TrainTask("valley", module, batch, squared),
            settings_of(60, 0.06, 100.0),
            deadline=Deadline(clock),
            schedule=schedule,
            stop_at=stop_at,
        )
        return outcome, float(module.weight.detach()), schedule

    first, weight, schedule = run(Clock(10**5), changes=[(1, 3, 50)])
    assert first.restarts >= 1 and schedule.end <= 60
    stopped = first.steps < schedule.end
    again, same, _ = run(Clock(), (first.restarts, first.steps) if stopped else None, schedule.changes)
    assert (again.steps, again.restarts, same) == (first.steps, first.restarts, weight)


def test_checkpoints_of_a_later_attempt_outlive_those_before_it(tmp_path):
    kept = Checkpoints(tmp_path)
    tensors = {"a": np.zeros(3)}
    for attempt, step in ((0, 40), (0, 50), (1, 0), (1, 10)):
        kept.save(step, tensors, {"attempt": attempt, "step": step})
    assert kept.load()[1] == {"attempt": 1, "step": 10}
    (tmp_path / ".0123456789abcdef.part").write_bytes(b"half")
    assert kept.load()[1]["step"] == 10 and not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize(("height", "retries"), [(0.05, 0), (0.6, 3)])
def test_a_small_rise_is_noise_and_no_reason_to_start_again(height, retries):
    """A head that was fitted first leaves little to learn: then the loss goes up and down between batches."""

    class Noisy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return self.weight * 0 + x

    task = TrainTask(
        "noisy",
        Noisy(),
        lambda step: (torch.full((1,), 0.5 + height * (step >= 10)), torch.zeros(1)),
        lambda outputs, _: outputs.sum(),
    )
    assert train_network(task, settings_of(40, 0.1, float(np.log(8)))).retries == retries


def test_a_network_that_learns_nothing_starts_again_too():
    task = TrainTask(
        "dead",
        torch.nn.Linear(2, 2),
        lambda _: (torch.zeros(8, 2), torch.arange(8) % 2),
        torch.nn.functional.cross_entropy,
    )
    listener = Listener()
    outcome = train_network(task, settings_of(60, 0.1, float(np.log(2))), progress=listener)
    assert outcome.retries == 3 and outcome.steps == 60
    assert len(listener.said) == 3 and all("20" in words for words in listener.said)  # at a third of the steps
