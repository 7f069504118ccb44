"""The training loop: for everything that learns by gradient.

A step is a pure function of its number: order, augmentation and dropout are drawn from the seed and the
step. So a run that was killed, or is repeated, ends in the same weights, bit for bit, and a
checkpoint needs no random state.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal.clock import Clock
from foveal.errors import BundleError, DataError
from foveal.fit.checkpoints import Checkpoints
from foveal.fit.job import Job, Outcome, Settings
from foveal.fit.keeper import Keeper
from foveal.fit.optimizers import optimizer_for
from foveal.fit.pieces import Pieces
from foveal.fit.schedule import Schedule
from foveal.progress import Progress

#: How often a training that went to not-a-number is taken back to its last good state, at half the rate; and how
#: often one whose loss rises begins again.
RETRIES = 3
#: From this share of the steps on a loss over this share of the guard's is that of a network that learns nothing.
_LATE, _KNOWS = 1 / 3, 0.97
#: A rise is one when it goes this share of the way back to knowing nothing: less is noise between batches.
_RISE = 0.2
#: Steps whose mean loss is where a training started from.
_START = 10
#: Seconds without a look at the clock after which a schedule is held against it between looks at the loss, too.
_SLOW = 5.0
#: Share of the time left over which the speed is averaged: seconds of disturbance cut half an hour by a fifth.
_OF_LATE = 0.1
_EMA = "ema."
_MODEL = "model."
_OPTIMIZER = "optimizer."


def train_network(
    job: Job,
    settings: Settings,
    *,
    clock: Clock,
    reserve: float = 0.0,
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
    checkpoint_every: float = 10.0,
    stop_at: tuple[int, int] | None = None,
    schedule: Schedule | None = None,
    pieces: Pieces | None = None,
) -> Outcome:
    """Train; the module holds the result (averaged weights, if `ema`) and is in `eval` mode.

    Args:
        job: what learns what.
        settings: how.
        clock, reserve: when `reserve` seconds are all that is left, training ends where it is.
        progress: a bar with loss, pictures/s and time left.
        checkpoints, checkpoint_every: where to go on from, and to save to, and after how many seconds.
        stop_at: attempt and step to end at, as an earlier run did; the rate still aims at the schedule's end.
        schedule: of the rate, which a stalling machine may shorten; by default a plain one that nothing shortens.
        pieces: how batches are cut for memory; by default they are not, until memory runs out.

    Raises:
        BundleError: when the checkpoint belongs to another network or other settings.
        DataError: when the loss went to not-a-number too often.
        Interrupted: when the clock was told to leave; the checkpoint is saved.
    """
    progress, began = progress or Progress(), time.monotonic()
    timed = schedule is not None and stop_at is None and clock.budget < math.inf
    schedule = schedule or Schedule(settings.steps, settings.warmup, settings.cosine)
    state = _State(job, settings, schedule, pieces or Pieces())
    keeper = Keeper(state, checkpoints, checkpoint_every)
    with progress.stage(job.name, state.end(stop_at) * job.pictures) as bar:
        bar(state.step * job.pictures)
        while state.step < (end := state.end(stop_at)) and not state.patience_over:
            state.advance()
            bar(job.pictures)
            if clock.leaving:
                keeper.leave()
            over = clock.left(reserve=reserve) <= 0 or state.stops_here(stop_at)
            looks = over or state.step == end or state.step % settings.check_every == 0
            if looks:
                done = state.step
                bar.tell(step=done, **state.look(progress, last=over))
                bar((state.step - done) * job.pictures)  # backwards, where training was taken back
                if over:
                    break
            if timed and (looks or state.slow):
                state.keep_to(clock.left(reserve=reserve), progress)
                bar.total(state.end(stop_at) * job.pictures)
            if looks:
                keeper.save_if_due()
    keeper.save_if_new(math.inf if clock.stopped else clock.left(reserve=reserve / 2))
    state.finish()
    seconds = time.monotonic() - began
    return Outcome(state.step, state.loss, seconds, state.retries, schedule.attempt, state.scores)


class _State:
    """Everything that changes while a network learns."""

    def __init__(self, job: Job, settings: Settings, schedule: Schedule, pieces: Pieces) -> None:
        self.job, self.settings, self.schedule = job, settings, schedule
        self.module = job.module.train()
        self.pieces = pieces
        self.optimizer = optimizer_for(
            self.module,
            settings.optimizer,
            settings.rate,
            weight_decay=settings.weight_decay,
            relative=settings.relative,
            trunk=settings.trunk,
            trunk_share=settings.trunk_share,
            head_share=settings.head_share,
        )
        self.step, self.retries, self.rate_factor = 0, 0, 1.0
        self.loss = math.nan
        self.scores: list[float] = []
        self._losses: list[Tensor] = []
        self._looked: list[tuple[int, float]] = []  # steps and times of late: what the speed is measured by
        self._weights = [t for t in self.module.state_dict().values() if t.is_floating_point()]
        self._average = [t.detach().clone() for t in self._weights] if settings.ema else []
        device = next(self.module.parameters()).device
        self._device = device.type
        self.start_loss = math.nan
        self.kept: dict[str, np.ndarray[Any, Any]] = {}
        self.kept_step = 0
        self.kept_facts: dict[str, Any] = {}
        self.remember()
        self._first = (self.kept, self.kept_facts) if settings.guard else None

    @property
    def patience_over(self) -> bool:
        """Whether the score has not risen for long enough."""
        if self.settings.patience is None or not self.scores:
            return False
        return len(self.scores) - 1 - int(np.argmax(self.scores)) >= self.settings.patience

    @property
    def slow(self) -> bool:
        """Whether the speed was measured long ago, or never: the first step is slow, and is not in it."""
        return not self._looked or time.monotonic() - self._looked[-1][1] > _SLOW

    def end(self, stop_at: tuple[int, int] | None) -> int:
        """The step to end at."""
        ends_here = stop_at is not None and stop_at[0] == self.schedule.attempt
        return stop_at[1] if stop_at is not None and ends_here else self.schedule.end

    def stops_here(self, stop_at: tuple[int, int] | None) -> bool:
        """Whether an earlier run was stopped after this very step."""
        return stop_at == (self.schedule.attempt, self.step)

    def advance(self) -> None:
        """One step of gradient descent."""
        _seed(self.job.seed * 1_000_003 + self.step, self._device)
        inputs, targets = self.job.batch(self.step)
        rate = self.settings.rate * self.rate_factor * self.schedule.share(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        loss = self.pieces.gradients(self.step, self.module, inputs, targets, self._compute)
        self.optimizer.step()
        self._losses.append(loss)
        if self._average:
            decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(self._average, self._weights, 1 - decay)
        self.step += 1

    def _compute(self, inputs: Tensor, targets: Tensor, weight: float) -> Tensor:
        """Forth and back for a batch, or a piece of one."""
        with torch.autocast(self._device, torch.bfloat16, enabled=self.settings.precision == "bf16"):
            outputs = self.module(inputs)
        loss = self.job.loss(outputs.float(), targets)
        (loss * weight if weight != 1.0 else loss).backward()  # type: ignore[no-untyped-call]
        return loss

    def look(self, progress: Progress, *, last: bool = False) -> dict[str, float]:
        """Is all well? Then this state is kept; otherwise back to the one that was. The `last` look begins nothing
        anew."""
        mean = float(torch.stack(self._losses).mean()) if self._losses else self.loss
        if math.isnan(self.start_loss) and self._losses:
            self.start_loss = float(torch.stack(self._losses[:_START]).mean())
        self._losses = []
        if not math.isfinite(mean) or not all(bool(t.isfinite().all()) for t in self._weights):
            self._back(progress)
            return {"loss": mean}
        if self._first is not None and not last and self._astray(mean) and self.retries < RETRIES:
            self._again(mean, self._first, progress)
            return {"loss": mean}
        self.loss = mean
        if self.settings.patience is not None and self.job.score is not None:
            self.module.eval()
            self.scores.append(self.job.score(self.module))
            self.module.train()
        self.remember()
        return {"loss": mean, **({"score": self.scores[-1]} if self.scores else {})}

    def keep_to(self, left: float, progress: Progress) -> None:
        """Shorten the schedule when the steps of late say that it will not fit these seconds; make it longer when
        they say that there is time for more."""
        now, planned = time.monotonic(), self.schedule.end
        window = max(_SLOW, _OF_LATE * left)
        before = [look for look in self._looked if look[0] < self.step]
        self._looked = [look for look in before[:-1] if now - look[1] <= window] + before[-1:] + [(self.step, now)]
        first_step, first = self._looked[0]
        if first_step == self.step:
            return
        if self.schedule.fit_into(left, self.step, (now - first) / (self.step - first_step)):
            end = self.schedule.end
            words = "slower than planned" if end < planned else "quicker than planned"
            progress.say(f"{words}: {self.job.name} ends at step {end}, not {planned}")

    def _back(self, progress: Progress) -> None:
        if self.retries == RETRIES:
            raise DataError(
                f"training went to not-a-number {RETRIES + 1} times, the last time before step {self.step}",
                hint="are there pictures of one colour only, or labels at random? `foveal audit` tells",
            )
        failed = self.step
        self._halved(self.kept, self.kept_facts, self.schedule.attempt)
        progress.say(
            f"not-a-number before step {failed}: back to step {self.step}, "
            f"with {self.rate_factor:g} of the learning rate ({self.retries} of {RETRIES})"
        )

    def _astray(self, loss: float) -> bool:
        """Whether this loss says that the rate was too high: it rose, or the network has died."""
        late = self.step >= _LATE * self.schedule.end_before(self.step)
        rise = _RISE * max(0.0, self.settings.guard - self.start_loss)
        return loss > self.start_loss + rise or (late and loss > _KNOWS * self.settings.guard)

    def _again(
        self, loss: float, first: tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]], progress: Progress
    ) -> None:
        failed, start, attempt = self.step, self.start_loss, self.schedule.attempt + 1
        self._halved(*first, attempt)
        self._looked = []  # steps begin at 0 again
        progress.say(
            f"the loss went from {start:.3g} to {loss:.3g} by step {failed}: from the start again, "
            f"with {self.rate_factor:g} of the learning rate ({self.retries} of {RETRIES})"
        )

    def _halved(self, tensors: dict[str, np.ndarray[Any, Any]], facts: dict[str, Any], attempt: int) -> None:
        """Back to that state, with half of the rate that led astray."""
        retries, factor = self.retries + 1, self.rate_factor / 2
        self.restore(tensors, facts)
        self.retries, self.rate_factor, self.schedule.attempt = retries, factor, attempt
        self.remember()

    def remember(self) -> None:
        """Keep a copy of this state in memory: what checkpoints save, and what not-a-number goes back to."""
        tensors = {_MODEL + k: v for k, v in self.module.state_dict().items()}
        tensors |= {f"{_EMA}{i:04d}": t for i, t in enumerate(self._average)}
        for number, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"{_OPTIMIZER}{number}.{k}": v for k, v in values.items() if isinstance(v, Tensor)}
        self.kept = {}  # the old copy goes before the new one comes
        self.kept = {k: v.detach().cpu().numpy().copy() for k, v in tensors.items()}
        self.kept_step = self.step
        self.kept_facts = {
            "step": self.step,
            "attempt": self.schedule.attempt,
            "retries": self.retries,
            "rate_factor": self.rate_factor,
            "loss": _or_none(self.loss),
            "start_loss": _or_none(self.start_loss),
            "scores": self.scores[:],
            "settings": asdict(self.settings),
        }

    def restore(self, tensors: dict[str, np.ndarray[Any, Any]], facts: dict[str, Any]) -> None:
        """Go back, or on, to a kept state.

        Raises:
            BundleError: when it is another network's, or other settings'.
        """
        if facts["settings"] != asdict(self.settings):
            other = {k: v for k, v in facts["settings"].items() if v != asdict(self.settings).get(k)}
            raise BundleError(f"the checkpoint was made with other settings: {other}", hint="train anew")
        given = {k: torch.from_numpy(np.asarray(v).copy()) for k, v in tensors.items()}
        try:
            self.module.load_state_dict(
                {k.removeprefix(_MODEL): v for k, v in given.items() if k.startswith(_MODEL)}
            )
        except RuntimeError as error:
            raise BundleError(
                f"the checkpoint belongs to another architecture: {error}"[:300], hint="train anew"
            ) from None
        with torch.no_grad():
            for i, average in enumerate(self._average):
                average.copy_(given[f"{_EMA}{i:04d}"])
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in given.items():
            if key.startswith(_OPTIMIZER):
                number, _, name = key.removeprefix(_OPTIMIZER).partition(".")
                moments.setdefault(int(number), {})[name] = value
        whole = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**whole, "state": moments})
        self.step, self.retries = int(facts["step"]), int(facts["retries"])
        self.schedule.attempt = int(facts.get("attempt", 0))
        self.rate_factor = float(facts["rate_factor"])
        self.loss, self.start_loss = (
            float(v) if v is not None else math.nan for v in (facts["loss"], facts["start_loss"])
        )
        self.scores = list(facts["scores"])
        self._losses = []

    def finish(self) -> None:
        """The averaged weights, if any, become the module's."""
        if self._average:
            with torch.no_grad():
                for weight, average in zip(self._weights, self._average, strict=True):
                    weight.copy_(average)
        self.module.eval()


def _seed(number: int, device: str) -> None:
    """As `torch.manual_seed`, for this device and the CPU: that one writes down its caller's stack for each kind
    of GPU that might come, which took 0.8 of the 13 ms of a small network's step."""
    torch.default_generator.manual_seed(number)
    if device == "cuda":
        torch.cuda.manual_seed_all(number)
    elif device == "mps":
        torch.mps.manual_seed(number)


def _or_none(value: float) -> float | None:
    """JSON knows no not-a-number."""
    return None if math.isnan(value) else value
