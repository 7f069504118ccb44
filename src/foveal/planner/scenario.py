"""What is planned: a network's input, how it is trained, and where. Remedies are changes of this value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from foveal.errors import UnknownName, UsageError

Precision = Literal["fp32", "bf16"]
#: Optimizer → what it is, for people. Each is built by `steps.make_optimizer`.
OPTIMIZERS = {
    "sgd": "SGD with momentum 0.9",
    "sgd-plain": "SGD without momentum",
    "adamw": "AdamW",
    "adam": "Adam",
    "rmsprop": "RMSprop",
    "sgd-foreach": "SGD with momentum 0.9, all parameters at once",
    "adamw-foreach": "AdamW, all parameters at once",
    "sgd-in-backward": "SGD with momentum 0.9, stepping inside the backward pass",
    "adamw-in-backward": "AdamW, stepping inside the backward pass",
}


#: Larger ones are refused: no machine holds them, and the arithmetic of a plan ends at 2^63 bytes.
MOST_IMAGES, MOST_CLASSES, MOST_THREADS, _LONGEST_SIDE = 2**24, 2**24, 2**12, 2**16


def check_count(option: str, count: int, most: int) -> None:
    """Check a number of images, classes or threads.

    Raises:
        UsageError: which names the option.
    """
    if not 1 <= count <= most:
        shown = str(count) if abs(count) < 10**30 else "of so many digits"
        raise UsageError(
            f"{option} {shown}: not from 1 to {most:,}", hint=f"give {option} a number from 1 to {most:,}"
        )


def check_input(shape: tuple[int, ...]) -> None:
    """Check the shape of an image.

    Raises:
        UsageError: when it is not channels, height, width, each from 1 to 65,536.
    """
    if len(shape) != 3 or not all(1 <= side <= _LONGEST_SIDE for side in shape):
        form = "x".join(map(str, shape))[:60]
        raise UsageError(
            f"images of {form}: not channels, height, width from 1 to {_LONGEST_SIDE:,}",
            hint="as in --input 3x224x224",
        )


@dataclass(frozen=True)
class Scenario:
    """One way of training, or predicting with, a network.

    Attributes:
        input: channels, height, width of one image.
        batch: images that are in memory at once.
        optimizer: a key of `OPTIMIZERS`.
        precision: `fp32`, or `bf16` autocast.
        checkpoint: blocks whose activations are computed again in the backward pass: none, all, or those named.
        frozen: only the last layer with parameters is trained.
        offload: tensors saved for the backward pass lie in the host's memory (a GPU) or on disk (a CPU).
        accumulate: micro-batches whose gradients are added before a step.
        devices: replicas that share the batch.
        channels_last: the memory format of images and weights.
    """

    input: tuple[int, int, int]
    batch: int = 1
    optimizer: str = "sgd"
    precision: Precision = "fp32"
    checkpoint: Literal["none", "blocks"] | tuple[str, ...] = "none"
    frozen: bool = False
    offload: bool = False
    accumulate: int = 1
    devices: int = 1
    channels_last: bool = False

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise UnknownName("optimizer", self.optimizer, OPTIMIZERS)
        if self.precision not in ("fp32", "bf16"):
            raise UnknownName("precision", self.precision, ("fp32", "bf16"))
        check_count("--batch", self.batch, MOST_IMAGES)
        check_input(self.input)

    def but(self, **changes: Any) -> Scenario:  # noqa: ANN401
        """The same with some fields changed."""
        return replace(self, **changes)
