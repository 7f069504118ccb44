"""The training loop, for every network that is trained by gradient descent.

A step is a pure function of its number: order, augmentation and dropout are drawn from the seed and the step. So a
run that was killed, or is replayed, ends in the same weights, bit for bit, and a checkpoint needs no random state.
"""

from __future__ import annotations

import math
import time

import torch
from torch import Tensor

from foveal.clock import Clock, Deadline
from foveal.progress import Progress
from foveal.training.loop.checkpoint_manager import CheckpointManager
from foveal.training.loop.checkpoints import Checkpoints
from foveal.training.loop.divergence import DivergenceGuard
from foveal.training.loop.grad_accumulation import GradientAccumulator
from foveal.training.loop.lr_schedule import Schedule
from foveal.training.loop.pacing import Pacer
from foveal.training.loop.state import TrainState
from foveal.training.loop.task import LoopSettings, Outcome, TrainTask

#: Steps whose mean loss is the one that a training started from.
_START = 10


def train_network(
    task: TrainTask,
    settings: LoopSettings,
    *,
    deadline: Deadline | None = None,
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
    checkpoint_every: float = 10.0,
    stop_at: tuple[int, int] | None = None,
    schedule: Schedule | None = None,
    accumulator: GradientAccumulator | None = None,
) -> Outcome:
    """Train; the module holds the result (averaged weights, if `ema`) and is in `eval` mode.

    Args:
        task: the network and its data.
        settings: how.
        deadline: training ends where it is when it has passed; by default there is none.
        progress: a bar with loss, images/s and time left.
        checkpoints, checkpoint_every: where to continue from and to save to, and after how many seconds.
        stop_at: attempt and step to end at, as an earlier run did; the learning rate still aims at the schedule's end.
        schedule: of the learning rate, which is held against the deadline; by default one that never changes.
        accumulator: how batches are cut for memory; by default they are not, until memory runs out.

    Raises:
        BundleError: when the checkpoint belongs to another network or other settings.
        DataError: when the loss became nan too often.
        Interrupted: when the clock was told to leave; the checkpoint is saved.
    """
    deadline, progress, began = deadline or Deadline(Clock()), progress or Progress(), time.monotonic()
    paced = schedule is not None and stop_at is None and deadline.clock.budget < math.inf
    schedule = schedule or Schedule(settings.steps, settings.warmup, settings.cosine)
    run = _Loop(task, settings, schedule, accumulator or GradientAccumulator(), progress)
    state, pacer = run.state, run.pacer
    manager = CheckpointManager(state, checkpoints, checkpoint_every)
    with progress.stage(task.name, run.end(stop_at) * task.batch_size) as bar:
        bar(state.step * task.batch_size)
        while state.step < (end := run.end(stop_at)):
            run.step()
            bar(task.batch_size)
            if deadline.clock.exit_requested:
                manager.exit()
            over = deadline.passed or stop_at == (schedule.attempt, state.step)
            checks = over or state.step == end or state.step % settings.check_every == 0
            if checks:
                done = state.step
                bar.tell(step=done, loss=run.check(last=over), lr=run.lr)
                bar((state.step - done) * task.batch_size)  # backwards, where training went back
                if over:
                    break
            if paced and (checks or pacer.due):
                pacer.fit(state.step, deadline.left())
                bar.total(run.end(stop_at) * task.batch_size)
            if checks:
                manager.save_if_due()
    manager.save_if_new(math.inf if deadline.clock.stopped else Deadline(deadline.clock, deadline.kept / 2).left())
    state.finish()
    return Outcome(state.step, state.loss, time.monotonic() - began, state.retries, schedule.attempt)


class _Loop:
    """Steps and checks of one training."""

    def __init__(
        self,
        task: TrainTask,
        settings: LoopSettings,
        schedule: Schedule,
        accumulator: GradientAccumulator,
        progress: Progress,
    ) -> None:
        self._task, self._settings, self._schedule, self._accumulator = task, settings, schedule, accumulator
        self.state = TrainState(task, settings, schedule)
        self.pacer = Pacer(task.name, schedule, progress)
        self._guard = DivergenceGuard(self.state, progress)
        self._device = next(task.module.parameters()).device.type
        self._losses: list[Tensor] = []

    def end(self, stop_at: tuple[int, int] | None) -> int:
        """The step to end at."""
        return stop_at[1] if stop_at is not None and stop_at[0] == self._schedule.attempt else self._schedule.end

    @property
    def lr(self) -> float:
        """The learning rate of the next step, before the factors of parameter groups."""
        return self._settings.lr * self.state.lr_factor * self._schedule.factor(self.state.step)

    def step(self) -> None:
        """One step of gradient descent."""
        state = self.state
        _seed(self._task.seed * 1_000_003 + state.step, self._device)
        inputs, targets = self._task.batch(state.step)
        lr = self.lr
        for group in state.optimizer.param_groups:
            group["lr"] = lr * group["lr_mult"]
        loss = self._accumulator.gradients(state.step, state.module, inputs, targets, self._compute)
        state.optimizer.step()
        self._losses.append(loss)
        if state.average is not None:
            state.average.update(state.step)
        state.step += 1

    def check(self, *, last: bool) -> float:
        """Mean loss since the last check; this state is kept, or training goes back to an earlier one."""
        state = self.state
        mean = float(torch.stack(self._losses).mean()) if self._losses else state.loss
        if math.isnan(state.start_loss) and self._losses:
            state.start_loss = float(torch.stack(self._losses[:_START]).mean())
        self._losses = []
        attempt = self._schedule.attempt
        if self._guard.went_back(mean, last=last):
            if self._schedule.attempt != attempt:
                self.pacer.restart()
        else:
            state.loss = mean
            state.keep()
        return mean

    def _compute(self, inputs: Tensor, targets: Tensor, weight: float) -> Tensor:
        """Forward and backward of a batch, or a micro-batch."""
        with torch.autocast(self._device, torch.bfloat16, enabled=self._settings.precision == "bf16"):
            outputs = self.state.module(inputs)
        loss = self._task.loss(outputs.float(), targets)
        (loss * weight if weight != 1.0 else loss).backward()  # type: ignore[no-untyped-call]
        return loss


def _seed(number: int, device: str) -> None:
    """As `torch.manual_seed`, for this device and the CPU only.

    `torch.manual_seed` formats the caller's stack for each kind of GPU: 0.8 of the 13 ms of a small network's step.
    """
    torch.default_generator.manual_seed(number)
    if device == "cuda":
        torch.cuda.manual_seed_all(number)
    elif device == "mps":
        torch.mps.manual_seed(number)
