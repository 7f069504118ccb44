"""Recipes for training a network from nothing on small pictures: what the time buys.

Cost and score of each, with n and sd, head `fit.strategies.scratch` and stand in `bench/results/mnist.json` and
`docs/mnist.md`, measured by `bench/mnist.py`. All were chosen on pictures held out of the training files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """A network and how it learns.

    Attributes:
        name: as in `--strategy NAME`.
        stages, kernel, stride, residual, dropout: see `models.small.SmallNet`.
        epochs: passes through the training side when the time allows all of them; the steps are settled
            beforehand from the speed measured on this machine.
        least_steps: however few pictures there are.
        least: under this share of the epochs a shorter recipe does better.
        batch, rate, weight_decay, optimizer, warmup, smoothing, ema: see `job.Settings`.
        augment: see `augment.Augment`; `mirror` is added where mirrored pictures keep their label.
        members: networks whose probabilities are averaged.
        shifted: pixels of the small shifts that answers are averaged over; 0: none.
        zoo: an architecture of the zoo, instead of one made of `stages`.
    """

    name: str
    stages: tuple[tuple[int, ...], ...]
    epochs: float
    rate: float
    batch: int = 128
    least: float = 0.5
    least_steps: int = 200
    kernel: int = 3
    stride: int = 1
    residual: bool = False
    dropout: float = 0.0
    weight_decay: float = 0.0
    optimizer: str = "adamw"
    warmup: float = 0.2
    smoothing: float = 0.0
    ema: float = 0.0
    augment: Mapping[str, float] = field(default_factory=dict)
    members: int = 1
    shifted: int = 0
    zoo: str = ""

    def network(self, channels: int, classes: int) -> dict[str, Any]:
        """What `models.networks.build` makes one member of."""
        if self.zoo:
            return {"architecture": "zoo", "name": self.zoo, "channels": channels, "classes": classes}
        return {
            "architecture": "small",
            "channels": channels,
            "classes": classes,
            "stages": [list(s) for s in self.stages],
            "kernel": self.kernel,
            "stride": self.stride,
            "residual": self.residual,
            "dropout": self.dropout,
        }


_QUARTER = Recipe(
    "scratch-quarter",
    ((32, 32, 32), (64, 64, 64), (128, 128)),
    epochs=48,
    least=0.15,
    rate=1e-2,
    kernel=5,
    stride=2,
    weight_decay=0.03,
    ema=0.998,
    augment={"shift": 1.5, "rotate": 10, "scale": 0.1, "shear": 0.05, "elastic": 0.7},
    shifted=1,
)

#: In order of cost. A first convolution of stride 2 and 5 × 5 sees as much as two of 3 × 3 and leaves a quarter
#: of the places: on a CPU, where a pass over a map at full size costs as much as its arithmetic, it pays.
RECIPES = (
    Recipe(
        "scratch-seconds",
        ((16,), (32,), (64,)),
        epochs=2,
        rate=3e-2,
        batch=256,
        kernel=5,
        stride=2,
        smoothing=0.1,
        ema=0.97,
    ),
    Recipe(
        "scratch-minute",
        ((24, 24), (48, 48), (96,)),
        epochs=8,
        rate=1.5e-2,
        kernel=5,
        stride=2,
        weight_decay=0.02,
        ema=0.99,
        augment={"shift": 1, "rotate": 8, "scale": 0.08, "elastic": 0.5},
        shifted=1,
    ),
    _QUARTER,
    replace(_QUARTER, name="scratch-hour", least=0.5, members=4),
)


def for_zoo(architecture: str, size: int) -> Recipe:
    """A plain recipe that trains any network of the zoo, for pictures of this side."""
    return Recipe(
        f"from-scratch-{architecture}",
        (),
        epochs=30,
        rate=1e-3,
        batch=64,
        least=0.01,
        weight_decay=0.05,
        smoothing=0.1,
        ema=0.99,
        augment={"shift": 0.06 * size, "rotate": 8, "scale": 0.1},
        zoo=architecture,
    )
