"""What a trace leaves behind: allocations and frees in order, as functions of the batch. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from foveal.errors import UsageError

#: What a block of memory holds. `activations` is all that belongs to none of the others.
KINDS = ("parameters", "buffers", "input", "gradients", "optimizer", "activations")
PARAMETERS, BUFFERS, INPUT, GRADIENTS, OPTIMIZER, ACTIVATIONS = range(len(KINDS))

#: What is said about a network that is not a function of the batch size.
NO_LINE = "it can't be planned: its work is not a function of the batch size"

Work = tuple[Any, ...]


@dataclass
class Block:
    """One storage: its size and what it holds."""

    size: int
    kind: int


@dataclass
class Op:
    """One call of an operator.

    Attributes:
        name: as ATen calls it, `convolution_backward`.
        layer: index into the recording's layers; -1 outside of all.
        position: how many events happened before it.
        work: what its workspace depends on, see `workspace.py`; None when it needs none.
        flops: as torch's own counter counts them.
    """

    name: str
    layer: int
    position: int
    work: Work | None
    flops: int


@dataclass
class Recording:
    """One pass, at one batch size.

    Attributes:
        start: the blocks that were alive before.
        events: block number, and True for an allocation, False for a free; in order.
        blocks: by number.
        ops: in order.
        layers: names of the modules that ops belong to.
        phases: the event count at which `forward`, `backward`, `optimizer` began.
    """

    batch: int
    start: list[int] = field(default_factory=list)
    events: list[tuple[int, bool]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    phases: dict[str, int] = field(default_factory=dict)

    @property
    def flops(self) -> int:
        """Of the whole pass."""
        return sum(op.flops for op in self.ops)

    def same_operators(self, other: Recording) -> bool:
        """Whether the same things happen in the same order at the other batch size."""
        return (
            self.events == other.events
            and self.start == other.start
            and [(op.name, op.position) for op in self.ops] == [(op.name, op.position) for op in other.ops]
        )


def affine(one: Any, at_one: int, two: Any, at_two: int, batch: int) -> Any:  # noqa: ANN401
    """A number, or a nest of numbers, measured at two batch sizes, carried on to a third along a line.

    Raises:
        UsageError: when the two do not have the same form.
    """
    if isinstance(one, tuple):
        if not isinstance(two, tuple) or len(one) != len(two):
            raise UsageError(f"{one} and {two}, at two batch sizes, differ in form", hint=NO_LINE)
        return tuple(affine(a, at_one, b, at_two, batch) for a, b in zip(one, two, strict=True))
    if one == two:
        return one
    if isinstance(one, int) and isinstance(two, int) and not isinstance(one, bool):
        return one + (two - one) * (batch - at_one) // (at_two - at_one)
    raise UsageError(f"{one!r} and {two!r}, at two batch sizes, are not affine in the batch size", hint=NO_LINE)
