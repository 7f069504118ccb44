"""Recipes for training a network from scratch on small images: what the time buys.

Cost and score of each, with n and sd, are in `strategies/from_scratch.py`, `bench/results/mnist.json` and
`docs/mnist.md`, measured by `bench/mnist.py`. All were chosen on images held out of the training files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from foveal.models.networks import completed
from foveal.training.recipes.augmentation import Augment


@dataclass(frozen=True)
class ScratchRecipe:
    """A network and how it is trained.

    Attributes:
        name: as in `--strategy NAME`.
        stages, kernel, stride, dropout: see `models.small.SmallNet`.
        epochs: passes through the training subset when the time allows all of them; the number of steps is settled
            beforehand from the speed measured on this machine.
        min_epoch_share: share of the epochs under which a shorter recipe does better.
        alone: factor on the epochs of the first recipe when there is no time for a longer one.
        least_steps: however few images there are.
        batch_size, lr, weight_decay, optimizer, warmup, label_smoothing, ema: see `LoopSettings`.
        augment: random changes, with lengths in pixels; images are mirrored as well where that keeps their label.
        members: networks whose probabilities are averaged.
        shifts: pixels of the small shifts that predictions are averaged over; 0: none.
        mirrored_views: predictions are averaged over mirrored images as well, where those keep their label.
        definition: of the network, see `models.networks.completed`; empty: a network made of `stages`.
    """

    name: str
    stages: tuple[tuple[int, ...], ...]
    epochs: float
    lr: float
    batch_size: int = 128
    min_epoch_share: float = 0.5
    alone: float = 1.0
    least_steps: int = 200
    kernel: int = 3
    stride: int = 1
    dropout: float = 0.0
    weight_decay: float = 0.0
    optimizer: str = "adamw"
    warmup: float = 0.2
    label_smoothing: float = 0.0
    ema: float = 0.0
    augment: Augment = field(default_factory=Augment)
    members: int = 1
    shifts: int = 0
    mirrored_views: bool = False
    definition: Mapping[str, Any] = field(default_factory=dict)

    def network(self, channels: int, classes: int, side: int = 0) -> dict[str, Any]:
        """Arguments of `models.networks.build` for one member; the `side` of the images matters to a definition, and to
        how many stages there is something left to halve for."""
        if self.definition:
            return completed(self.definition, (channels, side, side), classes)
        halvings = max(1, -(-side // self.stride)).bit_length() - 1 if side else len(self.stages)
        return {
            "architecture": "small",
            "channels": channels,
            "classes": classes,
            "stages": [list(s) for s in self.stages[: halvings + 1]],
            "kernel": self.kernel,
            "stride": self.stride,
            "dropout": self.dropout,
        }


_QUARTER = ScratchRecipe(
    "scratch-quarter",
    ((32, 32, 32), (64, 64, 64), (128, 128)),
    epochs=48,
    min_epoch_share=0.15,
    lr=1e-2,
    kernel=5,
    stride=2,
    weight_decay=0.03,
    ema=0.998,
    augment=Augment(translate=1.5, rotate=10, scale=0.1, shear=0.05, elastic=0.7),
    shifts=1,
)

#: In order of cost. A first convolution of stride 2 and 5 × 5 sees as much as two of 3 × 3 and leaves a quarter of
#: the positions: on a CPU, where a pass over a full-size feature map costs as much as its arithmetic, it pays.
RECIPES = (
    ScratchRecipe(
        "scratch-seconds",
        ((16,), (32,), (64,)),
        epochs=2,
        min_epoch_share=0.1,  # it need only be better than a linear model
        alone=4.0,
        lr=3e-2,
        batch_size=256,
        kernel=5,
        stride=2,
        label_smoothing=0.1,
        ema=0.97,
    ),
    ScratchRecipe(
        "scratch-minute",
        ((24, 24), (48, 48), (96,)),
        epochs=12,
        min_epoch_share=0.2,
        lr=1.5e-2,
        kernel=5,
        stride=2,
        weight_decay=0.02,
        ema=0.99,
        augment=Augment(translate=1, rotate=8, scale=0.08, elastic=0.5),
        shifts=1,
    ),
    _QUARTER,
    replace(_QUARTER, name="scratch-hour", min_epoch_share=0.5, members=4),
)

_COLOUR_MINUTE = ScratchRecipe(
    "scratch-minute",
    ((32, 32), (64, 64), (128, 128)),
    epochs=20,
    min_epoch_share=0.15,
    lr=1e-2,
    kernel=5,
    stride=2,
    weight_decay=0.02,
    label_smoothing=0.1,
    ema=0.99,
    augment=Augment(translate=2),
    mirrored_views=True,
)

#: The same for images in colour, whose objects fill them: wider, with small shifts and mirroring as augmentation, as in
#: Jordan 2024 ("94% on CIFAR-10 in 3.29 seconds"). On 40,000 images of CIFAR-10, one thread: 72.7 % of 10,000 others
#: after 3 epochs and 91 s of ((24,), (48,), (96,), (96,)), 78.5 % after 4 epochs and 395 s of the minute's network, and
#: 75.4 % after 2 epochs and 455 s of one with four stages that began at full resolution (n 1 each).
COLOUR_RECIPES = (
    # Frozen features follow, or came before: it does not take the time that no longer recipe can use.
    replace(RECIPES[0], stages=((24,), (48,), (96,), (96,)), lr=1e-2, ema=0.98, alone=1.0),
    _COLOUR_MINUTE,
    replace(_COLOUR_MINUTE, name="scratch-quarter", stages=((48, 48), (96, 96), (192, 192)), epochs=40),
    replace(
        _COLOUR_MINUTE,
        name="scratch-hour",
        stages=((64,), (128, 128), (256, 256), (256,)),
        kernel=3,
        stride=1,
        epochs=40,
        min_epoch_share=0.2,
    ),
)


#: Names of strategies are names of folders, too: longer ones are cut.
_LONGEST = 60


def recipe_for(definition: Mapping[str, Any], size: int) -> ScratchRecipe:
    """A plain recipe that trains any network, for images of this side.

    Args:
        definition: see `models.networks.completed`. The recipe has the network's name, or that of its architecture.
        size: of the images, pixels.
    """
    name = re.sub(r"[^\w.-]+", "-", str(definition.get("name") or definition.get("architecture")))
    return ScratchRecipe(
        f"from-scratch-{name[:_LONGEST]}",
        (),
        epochs=30,
        lr=1e-3,
        batch_size=64,
        min_epoch_share=0.01,
        weight_decay=0.05,
        label_smoothing=0.1,
        ema=0.99,
        augment=Augment(translate=0.06 * size, rotate=8, scale=0.1),
        definition=definition,
    )
