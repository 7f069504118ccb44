import math
import os
import signal

import numpy as np
import pytest
import torch

from foveal.clock import Clock
from foveal.errors import BundleError, DataError, Interrupted
from foveal.fit import keeper, loop
from foveal.fit.checkpoints import Checkpoints
from foveal.fit.job import Job, Settings
from foveal.fit.loop import train_network
from foveal.fit.schedule import Schedule
from foveal.models.networks import build
from foveal.progress import Progress

SPEC = {"architecture": "small", "channels": 1, "classes": 3, "stages": [[4, 4], [8]], "dropout": 0.2}
SETTINGS = Settings(steps=60, rate=0.02, optimizer="adamw", weight_decay=0.01, ema=0.9, check_every=7)


class Heard(Progress):
    def __init__(self):
        self.words = []

    def say(self, text):
        self.words.append(text)


def batch(step):
    """Bright, dark or half pictures: learnable, and always the same for a step."""
    chance = torch.Generator().manual_seed(step)
    targets = torch.randint(0, 3, (16,), generator=chance)
    pictures = torch.randn(16, 1, 8, 8, generator=chance) * 0.3 + targets[:, None, None, None].float()
    return pictures, targets


def job(module=None, *, batch=batch, loss=torch.nn.functional.cross_entropy, **given):
    torch.manual_seed(1)
    return Job("small", module or build(SPEC), batch, loss, seed=3, **given)


def weights(module):
    return {k: v.numpy().tobytes() for k, v in module.state_dict().items()}


@pytest.fixture(scope="module")
def straight():
    """The weights of one training that nobody disturbed."""
    one = job()
    outcome = train_network(one, SETTINGS, clock=Clock())
    return one.module, outcome


def test_it_learns(straight):
    module, outcome = straight
    inputs, targets = batch(999)
    assert outcome.steps == 60 and outcome.retries == 0 and outcome.loss < 0.6
    assert not module.training
    assert (module(inputs).argmax(dim=1) == targets).float().mean() > 0.7


def test_the_same_again_bit_for_bit(straight):
    other = job()
    train_network(other, SETTINGS, clock=Clock())
    assert weights(other.module) == weights(straight[0])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("stop", [1, 6, 7, 20, 59])
def test_stopped_and_resumed_is_as_never_stopped(tmp_path, stop, optimizer):
    settings = Settings(**{**vars(SETTINGS), "optimizer": optimizer})
    whole, first, second = job(), job(), job()
    train_network(whole, settings, clock=Clock())
    clock, kept = Clock(), Checkpoints(tmp_path)

    def leaving(step):
        if step == stop:
            clock.leave()
        return batch(step)

    with pytest.raises(Interrupted) as left:
        train_network(job(first.module, batch=leaving), settings, clock=clock, checkpoints=kept)
    assert left.value.exit_code == 143
    train_network(second, settings, clock=Clock(), checkpoints=kept)
    assert weights(second.module) == weights(whole.module)


def test_a_finished_training_resumes_to_the_same(tmp_path, straight):
    train_network(job(), SETTINGS, clock=Clock(), checkpoints=Checkpoints(tmp_path))
    again = job()
    outcome = train_network(again, SETTINGS, clock=Clock(), checkpoints=Checkpoints(tmp_path))
    assert weights(again.module) == weights(straight[0])
    assert outcome.steps == 60


def test_ctrl_c_ends_it_early_and_the_step_is_enough_to_repeat_it():
    clock = Clock()

    def stopping(step):
        if step == 23:
            clock.stop()
        return batch(step)

    first, second = job(batch=stopping), job()
    outcome = train_network(first, SETTINGS, clock=clock)
    assert outcome.steps == 24
    train_network(second, SETTINGS, clock=Clock(), stop_at=(0, 24))
    assert weights(first.module) == weights(second.module)


def test_the_deadline_ends_it():
    outcome = train_network(job(), Settings(steps=10**6, rate=0.01), clock=Clock(0.4), reserve=0.1)
    assert 0 < outcome.steps < 10**6


def test_few_slow_steps_are_held_against_the_clock_without_waiting_for_a_look(monkeypatch):
    """A network with 40 s a step had no look within its time, and ran over."""
    monkeypatch.setattr(loop, "_SLOW", 0.0)
    cuts = []
    schedule = Schedule(10**6, 0.2, on_cut=lambda made: cuts.append(made[-1]))
    settings = Settings(steps=10**6, rate=0.01, check_every=10**6)
    outcome = train_network(job(), settings, clock=Clock(1.5), reserve=0.1, schedule=schedule)
    assert cuts and outcome.steps <= schedule.end == cuts[-1][2] < 10**6


@pytest.mark.parametrize(("stopped", "budget", "expected"), [(False, 0.4, 0), (True, 60, 1), (False, math.inf, 1)])
def test_a_checkpoint_that_takes_longer_than_what_is_left_is_not_written(
    monkeypatch, tmp_path, stopped, budget, expected
):
    """Two GB at the end of a training took 17 s that were not there; Ctrl-C is another matter."""
    monkeypatch.setattr(keeper, "_WRITTEN", 1.0)
    kept, clock = Checkpoints(tmp_path / "kept"), Clock(budget)
    settings = Settings(steps=10**6 if budget < math.inf else 20, rate=0.01, check_every=5)

    def stopping(step):
        if stopped and step == 3:
            clock.stop()
        return batch(step)

    train_network(job(batch=stopping), settings, clock=clock, checkpoints=kept, checkpoint_every=0.0)
    assert len(list((tmp_path / "kept").glob("*.json"))) == expected


def bursting(at):
    """A loss that is not a number at some calls."""
    calls = iter(range(10**9))

    def loss(outputs, targets):
        value = torch.nn.functional.cross_entropy(outputs, targets)
        return value * math.nan if next(calls) in at else value

    return loss


def test_not_a_number_goes_back_and_slows_down():
    heard, one = Heard(), job(loss=bursting({20}))
    outcome = train_network(one, SETTINGS, clock=Clock(), progress=heard)
    assert outcome.retries == 1 and outcome.steps == 60 and math.isfinite(outcome.loss)
    assert all(np.isfinite(v.numpy()).all() for v in one.module.state_dict().values())
    assert heard.words == ["not-a-number before step 21: back to step 14, with 0.5 of the learning rate (1 of 3)"]


def test_not_a_number_again_and_again_is_an_error():
    heard = Heard()
    with pytest.raises(DataError, match="4 times"):
        train_network(job(loss=bursting(range(10, 10**6))), SETTINGS, clock=Clock(), progress=heard)
    assert len(heard.words) == 3


def test_patience_stops_when_the_score_no_longer_rises():
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.9])
    settings = Settings(**{**vars(SETTINGS), "patience": 2})
    outcome = train_network(job(score=lambda _: next(scores)), settings, clock=Clock())
    assert outcome.scores == [0.1, 0.5, 0.4, 0.3] and outcome.steps == 28


def test_another_architecture_or_other_settings_are_refused(tmp_path):
    kept = Checkpoints(tmp_path)
    train_network(job(), SETTINGS, clock=Clock(), checkpoints=kept)
    before = {f: f.read_bytes() for f in tmp_path.iterdir()}
    with pytest.raises(BundleError, match="another architecture"):
        train_network(job(build({**SPEC, "classes": 4})), SETTINGS, clock=Clock(), checkpoints=kept)
    with pytest.raises(BundleError, match=r"other settings: \{'rate': 0.02\}"):
        train_network(job(), Settings(**{**vars(SETTINGS), "rate": 0.1}), clock=Clock(), checkpoints=kept)
    assert {f: f.read_bytes() for f in tmp_path.iterdir()} == before


def test_killed_at_random_and_resumed_fifty_times(tmp_path):
    """Process after process is killed by SIGKILL while it trains; the weights are those of a run in peace."""
    settings = Settings(**{**vars(SETTINGS), "steps": 400})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        peaceful = job()
        train_network(peaceful, settings, clock=Clock())
        chance = np.random.default_rng(0)
        kept = Checkpoints(tmp_path / "kept")
        killed = 0
        for _ in range(50):
            survivor = job()
            pid = os.fork() if hasattr(os, "fork") else pytest.skip("no fork here")
            if pid == 0:  # the child trains until it is killed; a fork spares the imports of a fresh process
                train_network(survivor, settings, clock=Clock(), checkpoints=kept, checkpoint_every=0.0)
                os._exit(0)
            signal.signal(signal.SIGALRM, lambda *_, pid=pid: os.kill(pid, signal.SIGKILL))
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.01, 0.25))
            _, status = os.waitpid(pid, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            killed += os.WIFSIGNALED(status)
        resumed = job()
        train_network(resumed, settings, clock=Clock(), checkpoints=kept)
        assert killed >= 5
        assert weights(resumed.module) == weights(peaceful.module)
    finally:
        torch.set_num_threads(threads)
