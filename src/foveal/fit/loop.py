"""The training loop: for everything that learns by gradient.

A step is a pure function of its number: order, augmentation and dropout are drawn from the seed and the
step. So a run that was killed, or is repeated, ends in the same weights, bit for bit, and a
checkpoint needs no random state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foveal.clock import Clock
from foveal.errors import BundleError, DataError, Interrupted
from foveal.fit.checkpoints import Checkpoints
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
_EMA = "ema."
_MODEL = "model."
_OPTIMIZER = "optimizer."


@dataclass(frozen=True)
class Settings:
    """How to learn. All of it goes into the checkpoint: one with other settings is not continued.

    Attributes:
        steps: how many.
        rate: the peak of the learning rate.
        relative: the rate is a share of each tensor's own size, its root mean square before the first step
            (Shazeer and Stern 2018, "Adafactor"): for networks whose tensors differ in size a hundredfold,
            as they do once batch normalisation is folded away.
        cosine: the rate falls along a cosine instead of a line.
        trunk: parameters whose names begin so are the trunk: `relative` is meant for these alone, and they learn
            at `trunk_share` of the rate.
        trunk_share: times the rate, for the trunk.
        optimizer: `sgd` (Nesterov, momentum 0.9) or `adamw`.
        weight_decay: not for norms and biases.
        warmup: share of the steps in which the rate rises; then it falls to zero along a straight line.
        smoothing: label smoothing (Szegedy 2016).
        ema: decay per step of the averaged weights, which are the result; 0: the last weights are.
        precision: `f32`, or `bf16` autocast.
        guard: the loss of a network that knows nothing, or 0 for no guard: a loss over the one it started from,
            or near this one when a third of the steps are done, means too high a rate: begin again at half of it.
        check_every: steps between looks at the loss; what is kept and saved is the state at a look.
        patience: looks at the score without a better one after which training ends; None: never.
    """

    steps: int
    rate: float
    relative: bool = False
    cosine: bool = False
    trunk: str = ""
    trunk_share: float = 1.0
    optimizer: str = "sgd"
    weight_decay: float = 0.0
    warmup: float = 0.2
    smoothing: float = 0.0
    ema: float = 0.0
    precision: str = "f32"
    guard: float = 0.0
    check_every: int = 50
    patience: int | None = None


@dataclass(frozen=True)
class Job:
    """What is to learn what.

    Attributes:
        name: of its bar.
        module: learns; its weights at the end are the result.
        batch: step → inputs and targets, always the same for the same step.
        loss: outputs and targets → a scalar.
        seed: of what the module itself draws (dropout).
        score: module → a figure, the higher the better, asked at every look when patience is set.
        pictures: in a batch, for the bar.
    """

    name: str
    module: nn.Module
    batch: Callable[[int], tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]
    seed: int = 0
    score: Callable[[nn.Module], float] | None = None
    pictures: int = 1


@dataclass
class Outcome:
    """How it went: the steps done, the mean loss before the last look, seconds, and times taken back."""

    steps: int
    loss: float
    seconds: float
    retries: int
    scores: list[float] = field(default_factory=list)


def train_network(
    job: Job,
    settings: Settings,
    *,
    clock: Clock,
    reserve: float = 0.0,
    progress: Progress | None = None,
    checkpoints: Checkpoints | None = None,
    checkpoint_every: float = 10.0,
    stop_at: int | None = None,
    schedule: Schedule | None = None,
    pieces: Pieces | None = None,
) -> Outcome:
    """Train; the module holds the result (averaged weights, if `ema`) and is in `eval` mode.

    Args:
        job: what learns what.
        settings: how.
        clock: when `reserve` seconds are all that is left, training ends where it is.
        reserve: seconds.
        progress: a bar with loss, pictures/s and time left.
        checkpoints: where to go on from, and to save to.
        checkpoint_every: seconds.
        stop_at: a step to end at, as an earlier run did; the rate still aims at the schedule's end.
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
    with progress.stage(job.name, (stop_at or state.schedule.end) * job.pictures) as bar:
        bar(state.step * job.pictures)
        while state.step < (end := stop_at or state.schedule.end) and not state.patience_over:
            state.advance()
            bar(job.pictures)
            if clock.leaving:
                keeper.save()
                raise Interrupted("stopped; the checkpoint is saved: go on with --resume", exit_code=143)
            over = clock.left(reserve=reserve) <= 0
            looks = over or state.step == end or state.step % settings.check_every == 0
            if looks:
                bar.tell(step=state.step, **state.look(progress))
                if over:
                    break
            if timed and (looks or state.slow):
                state.keep_to(clock.left(reserve=reserve), progress)
            if looks:
                keeper.save_if_due()
    keeper.save_if_new(math.inf if clock.stopped else clock.left(reserve=reserve / 2))
    state.finish()
    return Outcome(state.step, state.loss, time.monotonic() - began, state.retries, state.scores)


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
        )
        self.step, self.retries, self.rate_factor = 0, 0, 1.0
        self.loss = math.nan
        self.scores: list[float] = []
        self._losses: list[Tensor] = []
        self._looked: tuple[int, float] | None = None  # step and time when the speed was last measured
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
        return self._looked is None or time.monotonic() - self._looked[1] > _SLOW

    def advance(self) -> None:
        """One step of gradient descent."""
        torch.manual_seed(self.job.seed * 1_000_003 + self.step)
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

    def look(self, progress: Progress) -> dict[str, float]:
        """Is all well? Then this state is kept; otherwise back to the one that was."""
        mean = float(torch.stack(self._losses).mean()) if self._losses else self.loss
        if math.isnan(self.start_loss) and self._losses:
            self.start_loss = float(torch.stack(self._losses[:_START]).mean())
        self._losses = []
        if not math.isfinite(mean) or not all(bool(t.isfinite().all()) for t in self._weights):
            self._back(progress)
            return {"loss": mean}
        if self._first is not None and self._astray(mean) and self.retries < RETRIES:
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
        """Shorten the schedule when the steps since the last look say that it will not fit these seconds."""
        now, planned, before = time.monotonic(), self.schedule.end, self._looked
        self._looked = self.step, now
        if before is None or self.step <= before[0]:
            return
        if self.schedule.fit_into(left, self.step, (now - before[1]) / (self.step - before[0])):
            progress.say(f"slower than planned: {self.job.name} ends at step {self.schedule.end}, not {planned}")

    def _back(self, progress: Progress) -> None:
        if self.retries == RETRIES:
            raise DataError(
                f"training went to not-a-number {RETRIES + 1} times, the last time before step {self.step}",
                hint="are there pictures of one colour only, or labels at random? `foveal audit` tells",
            )
        failed = self.step
        self._halved(self.kept, self.kept_facts)
        progress.say(
            f"not-a-number before step {failed}: back to step {self.step}, "
            f"with {self.rate_factor:g} of the learning rate ({self.retries} of {RETRIES})"
        )

    def _astray(self, loss: float) -> bool:
        """Whether this loss says that the rate was too high: it rose, or the network has died."""
        late = self.step >= _LATE * self.schedule.end
        rise = _RISE * max(0.0, self.settings.guard - self.start_loss)
        return loss > self.start_loss + rise or (late and loss > _KNOWS * self.settings.guard)

    def _again(
        self, loss: float, first: tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]], progress: Progress
    ) -> None:
        failed, start = self.step, self.start_loss
        self._halved(*first)
        progress.say(
            f"the loss went from {start:.3g} to {loss:.3g} by step {failed}: from the start again, "
            f"with {self.rate_factor:g} of the learning rate ({self.retries} of {RETRIES})"
        )

    def _halved(self, tensors: dict[str, np.ndarray[Any, Any]], facts: dict[str, Any]) -> None:
        """Back to that state, with half of the rate that led astray."""
        retries, factor = self.retries + 1, self.rate_factor / 2
        self.restore(tensors, facts)
        self.retries, self.rate_factor = retries, factor
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


def _or_none(value: float) -> float | None:
    """JSON knows no not-a-number."""
    return None if math.isnan(value) else value
