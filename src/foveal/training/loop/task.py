"""What the training loop is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

#: Outputs and targets → a scalar.
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LoopSettings:
    """How to train. All of it goes into the checkpoint: one with other settings is not continued.

    Attributes:
        steps: how many.
        lr: the peak of the learning rate.
        max_steps: to how many steps the schedule may grow, where they are faster than planned; fewer than `steps`
            are those.
        scale_lr_by_rms: the learning rate is a share of each tensor's root mean square before the first step
            (Shazeer and Stern 2018, "Adafactor"): for networks whose tensors differ in size a hundredfold, as they
            do once batch normalisation is folded away.
        cosine: the learning rate falls along a cosine instead of a line.
        backbone_prefix: parameters whose names begin so are the backbone: `scale_lr_by_rms` is meant for these
            alone, and their learning rate is multiplied by `backbone_lr_mult`. Empty: all are.
        backbone_lr_mult: times the learning rate, for the backbone.
        head_lr_mult: times the learning rate where it is scaled, for parameters whose names begin with `head.`.
        optimizer: `sgd` (Nesterov, momentum 0.9) or `adamw`.
        weight_decay: not for norms and biases.
        warmup: share of the steps in which the learning rate rises; then it falls to zero.
        label_smoothing: Szegedy et al. 2016.
        ema: decay per step of the averaged weights, which are the result; 0: the last weights are.
        precision: `fp32`, or `bf16` autocast.
        divergence_threshold: the loss of a network that has learned nothing, or 0 for no check: a loss above the
            one that training started from, or near this one when a third of the steps are done, means that the
            learning rate is too high, and training starts again at half of it.
        check_every: steps between checks of the loss; the state at a check is what is kept and saved.
    """

    steps: int
    lr: float
    max_steps: int = 0
    scale_lr_by_rms: bool = False
    cosine: bool = False
    backbone_prefix: str = ""
    backbone_lr_mult: float = 1.0
    head_lr_mult: float = 1.0
    optimizer: str = "sgd"
    weight_decay: float = 0.0
    warmup: float = 0.2
    label_smoothing: float = 0.0
    ema: float = 0.0
    precision: str = "fp32"
    divergence_threshold: float = 0.0
    check_every: int = 50


@dataclass(frozen=True)
class TrainTask:
    """A network and its data.

    Attributes:
        name: of its progress bar.
        module: is trained in place.
        batch: step → inputs and targets, always the same for the same step.
        loss: outputs and targets → a scalar.
        seed: of what the module itself draws (dropout).
        batch_size: images per step, for the progress bar.
    """

    name: str
    module: nn.Module
    batch: Callable[[int], tuple[Tensor, Tensor]]
    loss: Loss
    seed: int = 0
    batch_size: int = 1


@dataclass
class Outcome:
    """How a training went.

    Attributes:
        steps: done.
        loss: mean loss before the last check.
        seconds: it took.
        retries: how often it went back to an earlier state with half of the learning rate.
        restarts: how many of these to the first step.
    """

    steps: int
    loss: float
    seconds: float
    retries: int
    restarts: int = 0
