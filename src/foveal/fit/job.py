"""What the training loop is given, and gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn


@dataclass(frozen=True)
class Settings:
    """How to learn. All of it goes into the checkpoint: one with other settings is not continued.

    Attributes:
        steps: how many.
        most: to how many they may grow, where they turn out quicker than planned; fewer than `steps` are those.
        rate: the peak of the learning rate.
        relative: the rate is a share of each tensor's own size, its root mean square before the first step
            (Shazeer and Stern 2018, "Adafactor"): for networks whose tensors differ in size a hundredfold,
            as they do once batch normalisation is folded away.
        cosine: the rate falls along a cosine instead of a line.
        trunk: parameters whose names begin so are the trunk: `relative` is meant for these alone, and they learn
            at `trunk_share` of the rate.
        trunk_share: times the rate, for the trunk.
        head_share: times the rate where it is relative, for parameters whose names begin with `head.`.
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
    most: int = 0
    relative: bool = False
    cosine: bool = False
    trunk: str = ""
    trunk_share: float = 1.0
    head_share: float = 1.0
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
    """How it went: the steps done, the mean loss before the last look, seconds, times taken back, and how many of
    these to the first step."""

    steps: int
    loss: float
    seconds: float
    retries: int
    restarts: int = 0
    scores: list[float] = field(default_factory=list)
