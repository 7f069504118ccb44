"""One prediction and one training step, written once: planned on tensors without content, run on real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from foveal.errors import UsageError
from foveal.planner.remedy import checkpoint_blocks, freeze_backbone, offloaded
from foveal.planner.scenario import Scenario

Loss = Callable[[object, Tensor], Tensor]


def make_optimizer(name: str, parameters: Iterable[nn.Parameter]) -> Any:  # noqa: ANN401
    """An optimizer by its name in `scenario.OPTIMIZERS`: torch's, or `InBackward`, used in the same way.

    Raises:
        UsageError: when nothing is trained.
    """
    if name.endswith("-in-backward"):
        return InBackward(name.removesuffix("-in-backward"), parameters)
    learned, rate = [p for p in parameters if p.requires_grad], 1e-3
    if not learned:
        raise UsageError("the network has no parameters: there is nothing to train", hint="give another network")
    foreach = True if name.endswith("-foreach") else None
    kind = name.removesuffix("-foreach")
    if kind == "sgd":
        return torch.optim.SGD(learned, lr=rate, momentum=0.9, foreach=foreach)
    if kind == "sgd-plain":
        return torch.optim.SGD(learned, lr=rate)
    if kind == "adamw":
        return torch.optim.AdamW(learned, lr=rate, foreach=foreach)
    if kind == "adam":
        return torch.optim.Adam(learned, lr=rate)
    return torch.optim.RMSprop(learned, lr=rate)


def loss_of(outputs: object, targets: Tensor) -> Tensor:
    """The loss that is planned with.

    Cross-entropy for logits `(N, K)`; the mean for anything of another form. Auxiliary logits (GoogLeNet,
    Inception: Szegedy et al. 2014) count 0.3 each, as in the paper.
    """
    if isinstance(outputs, Tensor):
        return functional.cross_entropy(outputs, targets) if outputs.ndim == 2 else outputs.float().mean()
    if isinstance(outputs, dict):
        outputs = tuple(outputs.values())
    if isinstance(outputs, tuple | list):
        first, *others = [loss_of(o, targets) for o in outputs if o is not None]
        return first + 0.3 * torch.stack(others).sum() if others else first
    raise TypeError(f"a network that gives {type(outputs).__name__}")


def train_step(
    module: nn.Module,
    optimizer: Any,  # noqa: ANN401
    inputs: Tensor,
    targets: Tensor,
    scenario: Scenario,
    *,
    begin: Callable[[str], None] = lambda _: None,
    parts: int | None = None,
) -> None:
    """Forward, backward, step; gradients of the step before are let go first.

    Args:
        module: in the scenario's form, see `prepared`.
        optimizer: of `make_optimizer`.
        inputs: `(N, C, H, W)`: all micro-batches, when the scenario accumulates.
        targets: `(N,)`.
        scenario: precision, micro-batches, offloading.
        begin: told when `forward`, `backward` and `optimizer` begin.
        parts: micro-batches to compute, of those that there are; by default all.
    """
    optimizer.zero_grad(set_to_none=True)
    pieces = zip(inputs.chunk(scenario.accumulate), targets.chunk(scenario.accumulate), strict=True)
    for some, wanted in islice(pieces, parts):
        begin("forward")
        with offloaded(module) if scenario.offload else nullcontext():
            with torch.autocast(inputs.device.type, torch.bfloat16, scenario.precision == "bf16"):
                outputs = module(some)
                loss = loss_of(outputs, wanted)
                if scenario.accumulate > 1:
                    loss = loss * (len(some) / len(inputs))
            begin("backward")
            loss.backward()  # type: ignore[no-untyped-call]
    begin("optimizer")
    optimizer.step()


class InBackward:
    """An optimizer for each parameter, which steps as soon as the gradient is there and then lets go of it.

    Gradients of all parameters never exist at once. Nothing may read all of them (clipping, accumulation).
    """

    def __init__(self, name: str, parameters: Iterable[nn.Parameter]) -> None:
        self._one = {p: make_optimizer(name, [p]) for p in parameters if p.requires_grad}
        for parameter in self._one:
            parameter.register_post_accumulate_grad_hook(self._step)  # type: ignore[no-untyped-call]

    def _step(self, parameter: Tensor) -> None:
        optimizer = self._one[parameter]  # type: ignore[index]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    @property
    def state(self) -> dict[Tensor, dict[str, object]]:
        """Of all parameters, as an optimizer has it."""
        return {p: o.state[p] for p, o in self._one.items()}

    def step(self) -> None:
        """Done already, unless gradients were set by hand."""
        for parameter in self._one:
            if parameter.grad is not None:
                self._step(parameter)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Done already."""


def prepared(module: nn.Module, scenario: Scenario) -> nn.Module:
    """The network as the scenario trains it: frozen, checkpointed, in its memory format. Changed in place."""
    if scenario.channels_last:
        for parameter in module.parameters():  # one by one: `Module.to` can't do it to a fake network
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    if scenario.frozen:
        freeze_backbone(module)
    if scenario.checkpoint != "none":
        checkpoint_blocks(module, None if scenario.checkpoint == "blocks" else scenario.checkpoint)
    return module
