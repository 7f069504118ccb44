"""Optimizers as the loop uses them: a rate that it sets each step, and each group's share of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

#: Tensors of zeros would otherwise never move under a relative rate.
_LEAST_SIZE = 1e-3


def optimizer_for(
    module: nn.Module, kind: str, rate: float, *, weight_decay: float = 0.0, relative: bool = False
) -> torch.optim.Optimizer:
    """`sgd` (Nesterov, momentum 0.9) or `adamw`, for all that learns; all parameters at once.

    Args:
        module: what learns.
        kind: the optimizer's name.
        rate: to begin with.
        weight_decay: not for norms and biases.
        relative: each tensor has a group of its own, whose `share` of the rate is its root mean square now.

    Raises:
        ValueError: for any other name.
    """
    groups = _groups([p for p in module.parameters() if p.requires_grad], weight_decay, relative)
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), foreach=True)
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True, foreach=True)
    raise ValueError(f"no optimizer is named {kind!r}")


def _groups(parameters: list[nn.Parameter], weight_decay: float, relative: bool) -> list[dict[str, Any]]:
    def group(members: list[nn.Parameter], share: float = 1.0) -> dict[str, Any]:
        decay = weight_decay if members and members[0].ndim > 1 else 0.0
        return {"params": members, "weight_decay": decay, "share": share}

    if relative:
        return [group([p], max(_LEAST_SIZE, float(p.detach().square().mean().sqrt()))) for p in parameters]
    return [group([p for p in parameters if p.ndim > 1]), group([p for p in parameters if p.ndim <= 1])]
