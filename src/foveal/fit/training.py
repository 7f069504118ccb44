"""A recipe at work: speed measured, steps settled, members trained, answers given."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.data.pixels import Pixels
from foveal.fit.augment import Augment
from foveal.fit.batches import Batches, logits_of
from foveal.fit.checkpoints import Checkpoints
from foveal.fit.depthwise import plain, quicken
from foveal.fit.device import Device, choose_device
from foveal.fit.job import Job, Settings
from foveal.fit.learned import Learned
from foveal.fit.loop import train_network
from foveal.fit.memory import economical, has_room, trial_pieces
from foveal.fit.optimizers import optimizer_for
from foveal.fit.recipes import Recipe
from foveal.fit.schedule import Schedule
from foveal.fit.strategies.base import Work
from foveal.models.networks import build, with_weights
from foveal.models.small import SHIFTS
from foveal.prefetch import fetched
from foveal.values import Preprocess

#: Steps that are counted when speed is measured, and the share of the time left after which fewer have to do.
_COUNTED, _MEASURING = 5, 0.02
#: A batch is cut in so many when one whole step may be too long to try.
_SHARE = 8
#: Steps under which a training is cut into smaller batches, where the recipe allows it, and how small these get.
_FEW, _SMALL = 30, 8
#: Bytes of weights handled a second, from the end of a training to a bundle on the disk.
_HANDLED = 100e6
#: Share of the time left that training may plan for; the rest is for answers and for noise in the speed.
_PLANNED = 0.93
#: Share of a step's time that its way forth takes, with room for noise: 0.4 of a classifier's, more of a U-Net's.
FORTH = 0.45
#: Answers are given in single precision: so much slower than half may be.
_SINGLE = 2

#: Outputs and targets → a scalar.
Loss = Callable[[Tensor, Tensor], Tensor]


class Trainer:
    """One recipe on one job."""

    def __init__(self, recipe: Recipe, work: Work) -> None:
        self.recipe, self.work = recipe, work
        classes = work.split.classes
        self.network = recipe.network(work.preprocess.channels, len(classes))
        self.preprocess = normalised(work)
        self.device: Device = choose_device(work.decisions, self.network, self.preprocess, room=has_room(work))
        self.augment = Augment() if work.augment == "none" else Augment(**recipe.augment)  # type: ignore[arg-type]
        self._labels = work.labels(work.split.on("train"))
        self._modules: list[nn.Module] = []
        self._steps: dict[int, float] = {}  # seconds of one, by pictures

    @cached_property
    def size(self) -> int:
        """Pictures in a batch: the recipe's, or fewer where the time has room for too few steps with so many."""
        if not self.recipe.zoo:
            return self.recipe.batch
        return int(self.work.decisions.settle(f"{self.recipe.name} batch", self._sized))

    def batches(self, seed: int, size: int = 0) -> Batches:
        """The training side in batches, of a size of their own, if given."""
        return Batches(
            self.work.pixels("train"),
            self._labels,
            self.preprocess,
            size=size or self.size,
            augment=self.augment,
            seed=seed,
            device=self.device.name,
        )

    def settings(self, steps: int) -> Settings:
        """The recipe as the loop takes it."""
        r = self.recipe
        return Settings(
            steps=steps,
            rate=r.rate,
            optimizer=r.optimizer,
            weight_decay=r.weight_decay,
            warmup=r.warmup,
            smoothing=r.smoothing,
            ema=r.ema,
            precision=self.device.precision,
        )

    def seconds_an_epoch(self) -> float:
        """Measured over a few steps; remembered among the decisions, so that a repeated run plans the same."""
        key = f"{self.recipe.name} seconds an epoch"

        def measured() -> tuple[float, str]:
            return self._step(self.size) * self.batches(0).per_epoch, "measured over a few steps"

        return float(self.work.decisions.settle(key, measured))

    def affordable_steps(self) -> tuple[int, str]:
        """How many steps fit: all epochs of the recipe, or what the time left allows."""
        full = max(self.recipe.least_steps, round(self.recipe.epochs * self.batches(0).per_epoch))
        left = self.work.clock.left(reserve=self.work.reserve)
        epoch = self.seconds_an_epoch() if left < float("inf") else 0.0
        left = max(0.0, left - self._answering()) * _PLANNED / self.recipe.members
        fits = int(left / epoch * self.batches(0).per_epoch) if epoch else full
        if fits >= full:
            return full, f"all {full} steps fit the time"
        return max(
            1, fits
        ), f"{full} would be all; an epoch takes {epoch:.1f} s here, {left:.0f} s are left for each network"

    def train(self, member: int, steps: int) -> dict[str, Any]:
        """Train one network; returns steps, seconds, loss and retries. Those after it have as much time each."""
        work, name = self.work, f"{self.recipe.name}-{member}"
        seed = work.seed * 1000 + member
        torch.manual_seed(seed)
        module = build(self.network).to(self.device.name, memory_format=torch.channels_last)  # type: ignore[call-overload]
        reserve = work.reserve + self._answering()
        if work.clock.budget < float("inf"):
            after = self.recipe.members - member - 1
            reserve += work.clock.left(reserve=reserve) * after / (after + 1)
        outcome = run_training(
            name, module, self.batches(seed), self.settings(steps), work, seed=seed, reserve=reserve
        )
        self._modules.append(module)
        return outcome

    def forget_last(self) -> None:
        """Leave the network out that was trained last."""
        self._modules.pop()

    def learned(self) -> Learned:
        """What the trained networks are as numbers."""
        spec, module = self.network, self._modules[0]
        if len(self._modules) > 1:
            spec = {"architecture": "ensemble", "member": spec, "count": len(self._modules)}
            module = _gathered(spec, self._modules)
        tensors = {k: v.detach().cpu().numpy() for k, v in module.state_dict().items()}
        if self.recipe.shifted:
            spec = {"architecture": "shifted", "inner": spec, "pixels": self.recipe.shifted}
            tensors = {f"inner.{k}": v for k, v in tensors.items()}
        return Learned(tensors, self.preprocess, network=spec)

    def answers(self, pixels: Pixels) -> NDArray[np.float32]:
        """Logits `(N, K)` of the trained networks."""
        return answers_of(self.learned(), pixels, device=self.device.name)

    def _answering(self) -> float:
        """Seconds that the answers about the sides held out will take; 0 where the time is not counted."""
        if self.work.clock.budget == float("inf"):
            return 0.0
        split, looks = self.work.split, SHIFTS if self.recipe.shifted else 1
        asked = len(split.on("val")) + len(split.on("test"))
        a_picture = self.seconds_an_epoch() / max(1, len(split.on("train")))
        forth = FORTH * (_SINGLE if self.device.precision == "bf16" else 1)
        with torch.device("meta"):
            weights: int = sum(t.nbytes for t in build(self.network).state_dict().values())
        handling = weights / _HANDLED
        return (a_picture * forth * asked * looks + handling) * self.recipe.members

    def _sized(self) -> tuple[int, str]:
        size, left = self.batches(0, self.recipe.batch).size, self.work.clock.left(reserve=self.work.reserve)
        if left == float("inf"):
            return size, "the time is not counted"
        seconds = self._step(size)
        fits, whole = left * _PLANNED / seconds, size
        while fits < _FEW and size > _SMALL:
            size, fits = max(_SMALL, size // 2), fits * 2
        return size, f"a step of {whole} takes {seconds:.2g} s here, {left:.0f} s are left"

    def _step(self, size: int) -> float:
        """Seconds of a step with so many pictures."""
        if size not in self._steps:
            module = build(self.network).to(self.device.name, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._steps[size] = seconds_a_step(
                module, self.batches(0, size), self.device, self.work, optimizer=self.recipe.optimizer
            )
        return self._steps[size]


class Steps(Protocol):
    """Step → inputs and targets."""

    @property
    def size(self) -> int:
        """Pictures in a batch."""
        ...

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step."""
        ...


def run_training(
    name: str,
    module: nn.Module,
    batches: Steps,
    settings: Settings,
    work: Work,
    *,
    seed: int,
    reserve: float,
    loss: Loss | None = None,
) -> dict[str, Any]:
    """Train a module by its name, as this run's decisions and checkpoints say; returns how it went.

    Where an earlier run, or the clock, ended or shortened it is among the decisions, and is obeyed; what an
    earlier process has begun is not shortened for the time that was lost. The loss is cross-entropy, where no
    other is given.
    """

    def entropy(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets, label_smoothing=settings.smoothing)

    decisions = work.decisions
    cuts, stopped, restarts = (decisions.made.get(f"{name} {w}") for w in ("shortened", "stopped at", "restarts"))
    schedule = Schedule(
        settings.steps,
        settings.warmup,
        settings.cosine,
        [(attempt, at, end) for attempt, at, end in cuts["value"]] if cuts else [],
        lambda made: decisions.record(
            f"{name} shortened", [list(c) for c in made], "not as quick as measured before"
        ),
        most=settings.most,
    )
    pieces = economical(name, module, batches, settings, work)
    if halved := settings.precision == "bf16" and next(module.parameters()).device.type == "cpu":
        quicken(module)
    begun = f"{name} memory" in decisions.given
    with work.clock.lap("fit"), work.clock.unhurried() if begun else nullcontext():
        outcome = train_network(
            Job(name, module, batches, loss or entropy, seed=seed, pictures=batches.size),
            settings,
            clock=work.clock,
            reserve=reserve,
            progress=work.progress,
            checkpoints=Checkpoints(work.checkpoints / name, work.progress.say) if work.checkpoints else None,
            stop_at=(restarts["value"] if restarts else 0, stopped["value"]) if stopped else None,
            schedule=schedule,
            pieces=pieces,
        )
    if halved:
        plain(module)
    if outcome.steps < schedule.end and not stopped:
        if outcome.restarts:
            decisions.record(f"{name} restarts", outcome.restarts, "it was the last of these that was stopped")
        decisions.record(f"{name} stopped at", outcome.steps, "the time was up, or someone said stop")
    return vars(outcome)


def seconds_a_step(
    module: nn.Module,
    batch: Callable[[int], tuple[Tensor, Tensor]],
    device: Device,
    work: Work,
    *,
    optimizer: str,
    loss: Loss = nn.functional.cross_entropy,
) -> float:
    """Measured over a few steps forth and back, the first not counted; the weights stay.

    Five are counted, or as many as a small share of the time left has room for. Where a share of a batch shows
    that not even one does, that share has to tell.
    """
    pieces = trial_pieces(module, batch(0)[0], optimizer, device.precision, work)
    if halved := device.precision == "bf16" and device.name == "cpu":
        quicken(module)
    stepping = optimizer_for(module, optimizer, 0.0)

    def compute(inputs: Tensor, targets: Tensor, weight: float) -> Tensor:
        with torch.autocast(device.name, torch.bfloat16, enabled=device.precision == "bf16"):
            outputs = module(inputs)
        found = loss(outputs.float(), targets)
        (weight * found).backward()  # type: ignore[no-untyped-call]
        return found

    def step(number: int, inputs: Tensor, targets: Tensor) -> tuple[float, float]:
        since = time.perf_counter()
        float(pieces.gradients(number, module, inputs, targets, compute))  # waits for a GPU
        computed = time.perf_counter()
        stepping.step()
        return computed - since, time.perf_counter() - computed

    fetched()
    most = _MEASURING * work.clock.left(reserve=work.reserve)
    inputs, targets = batch(0)
    share = max(1, len(inputs) // _SHARE)
    step(0, inputs[:share], targets[:share])
    computing, changing = step(0, inputs[:share], targets[:share])
    taken = [computing * len(inputs) / share + changing]
    if taken[0] <= most:
        step(0, inputs, targets)
        began, taken = time.perf_counter(), []
        while not taken or (len(taken) < _COUNTED and time.perf_counter() - began <= most):
            taken.append(sum(step(len(taken) + 1, *batch(len(taken) + 1))))
    module.zero_grad(set_to_none=True)
    if halved:
        plain(module)
    return statistics.fmean(taken)


def answers_of(learned: Learned, pixels: Pixels, *, device: str = "cpu") -> NDArray[np.float32]:
    """Logits `(N, K)` of a network on rendered pictures `(N, C, H, W)`."""
    assert learned.network is not None
    module = with_weights(learned.network, learned.tensors).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    found = logits_of(module, pixels, learned.preprocess, device)
    return found if len(pixels) else np.zeros((0, 0), dtype=np.float32)


def normalised(work: Work) -> Preprocess:
    """The run's preprocessing with mean and deviation of the training side, by channel."""

    def measured() -> tuple[dict[str, list[float]], str]:
        pixels = work.pixels("train")
        counts = [np.bincount(pixels[:, c].ravel(), minlength=256) for c in range(pixels.shape[1])]
        levels = np.arange(256)
        means = [float((levels * n).sum() / n.sum()) for n in counts]
        deviations = [
            max(1.0, float(np.sqrt((((levels - m) ** 2) * n).sum() / n.sum())))
            for m, n in zip(means, counts, strict=True)
        ]
        repeat = 3 // len(counts)
        return {"mean": means * repeat, "std": deviations * repeat}, "of the training side's pixels"

    found = work.decisions.settle("normalisation", measured)
    return replace(work.preprocess, mean=tuple(found["mean"]), std=tuple(found["std"]))


def _gathered(spec: dict[str, Any], modules: list[nn.Module]) -> nn.Module:
    whole = build(spec)
    state = {f"members.{i}.{k}": v for i, m in enumerate(modules) for k, v in m.state_dict().items()}
    whole.load_state_dict(state)
    return whole
