"""The training loop: repeatable bit for bit, interrupted or not, and in time."""

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fake_time import FakeTime
from foveal.clock import Clock, Deadline
from foveal.errors import BundleError, DataError, Interrupted
from foveal.models.networks import build
from foveal.training.loop.checkpoints import Checkpoints
from foveal.training.loop.divergence import RETRIES
from foveal.training.loop.loop import train_network
from foveal.training.loop.lr_schedule import Schedule
from foveal.training.loop.task import LoopSettings, TrainTask
from runs import Messages

pytestmark = pytest.mark.slow

NETWORK = {"architecture": "small", "channels": 1, "classes": 3, "stages": [[4, 4], [8]], "dropout": 0.2}
SETTINGS = LoopSettings(steps=60, lr=0.02, optimizer="adamw", weight_decay=0.01, ema=0.9, check_every=7)


@pytest.fixture
def fake_time(monkeypatch):
    return FakeTime(monkeypatch)


def batch(step):
    """Bright, dark or grey images: learnable, and always the same for a step."""
    generator = torch.Generator().manual_seed(step)
    targets = torch.randint(0, 3, (16,), generator=generator)
    images = torch.randn(16, 1, 8, 8, generator=generator) * 0.3 + targets[:, None, None, None].float()
    return images, targets


def task(module=None, *, batch=batch, loss=torch.nn.functional.cross_entropy):
    torch.manual_seed(1)
    return TrainTask("small", module or build(NETWORK), batch, loss, seed=3)


def at_step(number, act):
    """Batches, before one of which something happens."""

    def batches(step):
        if step == number:
            act()
        return batch(step)

    return batches


def weights(module):
    return {k: v.numpy().tobytes() for k, v in module.state_dict().items()}


@pytest.fixture(scope="module")
def undisturbed():
    """A training without interruption, and how it went."""
    one = task()
    outcome = train_network(one, SETTINGS)
    return one.module, outcome


def test_the_network_is_trained(undisturbed):
    module, outcome = undisturbed
    inputs, targets = batch(999)
    assert outcome.steps == 60 and outcome.retries == 0 and outcome.loss < 0.6
    assert not module.training
    assert (module(inputs).argmax(dim=1) == targets).float().mean() > 0.7


def test_the_same_again_bit_for_bit(undisturbed):
    other = task()
    train_network(other, SETTINGS)
    assert weights(other.module) == weights(undisturbed[0])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("stop", [1, 6, 7, 20, 59])
def test_stopped_and_resumed_is_as_never_stopped(tmp_path, stop, optimizer):
    settings = replace(SETTINGS, optimizer=optimizer)
    whole, first, second = task(), task(), task()
    train_network(whole, settings)
    clock, checkpoints = Clock(), Checkpoints(tmp_path)
    leaving = task(first.module, batch=at_step(stop, clock.request_exit))
    with pytest.raises(Interrupted) as left:
        train_network(leaving, settings, deadline=Deadline(clock), checkpoints=checkpoints)
    assert left.value.exit_code == 143
    train_network(second, settings, checkpoints=checkpoints)
    assert weights(second.module) == weights(whole.module)


def test_a_finished_training_resumes_to_the_same(tmp_path, undisturbed):
    train_network(task(), SETTINGS, checkpoints=Checkpoints(tmp_path))
    again = task(batch=lambda _: pytest.fail("a step was made"))
    outcome = train_network(again, SETTINGS, checkpoints=Checkpoints(tmp_path))
    assert weights(again.module) == weights(undisturbed[0])
    assert outcome.steps == 60


def test_ctrl_c_ends_it_early_and_the_step_is_enough_to_repeat_it():
    clock = Clock()
    first, second = task(batch=at_step(23, clock.stop)), task()
    outcome = train_network(first, SETTINGS, deadline=Deadline(clock))
    assert outcome.steps == 24
    train_network(second, SETTINGS, stop_at=(0, 24))
    assert weights(first.module) == weights(second.module)


def test_the_deadline_ends_it(fake_time):
    def slow(step):
        fake_time.sleep(1.0)
        return batch(step)

    settings = LoopSettings(steps=10**6, lr=0.01)
    outcome = train_network(task(batch=slow), settings, deadline=Deadline(Clock(30.0, started_at=0.0), 10.0))
    assert outcome.steps == 20 and outcome.seconds == 20.0


def test_a_few_slow_steps_shorten_the_schedule_without_waiting_for_a_check_of_the_loss(fake_time):
    """A network whose steps took 40 s was never checked within its time, and ran over."""

    def slow(step):
        fake_time.sleep(40.0)
        return batch(step)

    changes, budget = [], 1000.0
    schedule = Schedule(100, 0.2, on_change=lambda made: changes.append(made[-1]))
    settings = LoopSettings(steps=100, lr=0.01, check_every=10**6)
    outcome = train_network(
        task(batch=slow), settings, deadline=Deadline(Clock(budget, started_at=0.0)), schedule=schedule
    )
    assert changes and changes[0][1] < 5
    assert outcome.steps == schedule.end == changes[-1][2]
    assert 0.8 * budget <= outcome.seconds < budget


@pytest.mark.parametrize(
    ("stopped_at", "budget", "last_saved"), [(None, 60.0, 5), (10, 60.0, 11), (None, math.inf, 40)]
)
def test_a_checkpoint_that_takes_longer_than_what_is_left_is_not_written(
    fake_time, tmp_path, stopped_at, budget, last_saved
):
    """Two GB at the end of a training took 17 s that were not there; after Ctrl-C it is worth its time."""
    clock = Clock(budget, started_at=0.0)

    class SlowDisk(Checkpoints):
        def save(self, step, tensors, facts):
            fake_time.sleep(30.0)
            return super().save(step, tensors, facts)

    def slow(step):
        fake_time.sleep(1.0)
        if step == stopped_at:
            clock.stop()
        return batch(step)

    checkpoints = SlowDisk(tmp_path)
    train_network(
        task(batch=slow),
        LoopSettings(steps=40, lr=0.01, check_every=5),
        deadline=Deadline(clock),
        checkpoints=checkpoints,
        checkpoint_every=0.0,
    )
    assert checkpoints.load()[1]["step"] == last_saved


def nan_at(calls):
    """A loss that is nan at some calls."""
    numbers = iter(range(10**9))

    def loss(outputs, targets):
        value = torch.nn.functional.cross_entropy(outputs, targets)
        return value * math.nan if next(numbers) in calls else value

    return loss


def test_after_nan_training_goes_back_to_the_last_check_and_slows_down():
    messages, steps = Messages(), []

    def recorded(step):
        steps.append(step)
        return batch(step)

    one = task(batch=recorded, loss=nan_at({20}))
    outcome = train_network(one, SETTINGS, progress=messages)
    assert outcome.retries == 1 and outcome.steps == 60 and math.isfinite(outcome.loss)
    assert all(np.isfinite(v.numpy()).all() for v in one.module.state_dict().values())
    assert steps == [*range(21), *range(14, 60)]
    assert len(messages.said) == 1 and "0.5" in messages.said[0]


def test_nan_again_and_again_is_an_error():
    messages = Messages()
    with pytest.raises(DataError) as caught:
        train_network(task(loss=nan_at(range(10, 10**6))), SETTINGS, progress=messages)
    assert caught.value.hint and len(messages.said) == RETRIES


def test_a_rising_loss_restarts_from_the_first_step_and_a_replay_stops_in_that_attempt():
    """The threshold is the loss of a network without knowledge; random labels never fall below it."""

    def random_labels(step):
        images, targets = batch(step)
        return images, targets[torch.randperm(16, generator=torch.Generator().manual_seed(step))]

    settings = replace(SETTINGS, divergence_threshold=math.log(3))
    first, second = task(batch=random_labels), task(batch=random_labels)
    outcome = train_network(first, settings)
    assert outcome.restarts == outcome.retries >= 1
    repeated = train_network(second, settings, stop_at=(outcome.restarts, outcome.steps))
    assert (repeated.steps, repeated.restarts) == (outcome.steps, outcome.restarts)
    assert weights(first.module) == weights(second.module)


def test_another_architecture_or_other_settings_are_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    train_network(task(), SETTINGS, checkpoints=checkpoints)
    before = {f: f.read_bytes() for f in tmp_path.iterdir()}
    for module, settings in (
        (build({**NETWORK, "classes": 4}), SETTINGS),
        (None, replace(SETTINGS, lr=0.1)),
    ):
        with pytest.raises(BundleError) as refused:
            train_network(task(module), settings, checkpoints=checkpoints)
        assert str(tmp_path) in str(refused.value) and refused.value.hint
    assert "'lr': 0.02" in str(refused.value)
    assert {f: f.read_bytes() for f in tmp_path.iterdir()} == before


def kill_and_resume(folder):
    """Process after process is killed by SIGKILL while it trains; then the weights are those of an undisturbed run."""
    torch.set_num_threads(1)
    settings = replace(SETTINGS, steps=400)
    whole = task()
    train_network(whole, settings)  # here, so that the children need not load kernels first
    generator, checkpoints, killed = np.random.default_rng(0), Checkpoints(Path(folder)), 0
    for _ in range(20):
        survivor = task()
        pid = os.fork()
        if pid == 0:  # the child trains until it is killed; a fork saves the imports of a new process
            try:
                train_network(survivor, settings, checkpoints=checkpoints, checkpoint_every=0.0)
                os._exit(0)
            finally:
                os._exit(1)
        signal.signal(signal.SIGALRM, lambda *_, pid=pid: os.kill(pid, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, generator.uniform(0.01, 0.25))
        _, status = os.waitpid(pid, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        killed += os.WIFSIGNALED(status)
    assert killed >= 3 and checkpoints.load() is not None
    resumed = task()
    train_network(resumed, settings, checkpoints=checkpoints)
    assert weights(resumed.module) == weights(whole.module)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_killed_at_random_and_resumed_again_and_again(tmp_path):
    """In a process of its own: what other tests started, threads of autograd say, does not survive a fork."""
    code = f"import test_loop; test_loop.kill_and_resume({str(tmp_path / 'checkpoints')!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
