"""Optimizers as the loop uses them: a rate that it sets each step, and each group's share of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

#: Tensors of zeros would otherwise never move under a relative rate.
_LEAST_SIZE = 1e-3


def optimizer_for(
    module: nn.Module,
    kind: str,
    rate: float,
    *,
    weight_decay: float = 0.0,
    relative: bool = False,
    trunk: str = "",
    trunk_share: float = 1.0,
) -> torch.optim.Optimizer:
    """`sgd` (Nesterov, momentum 0.9) or `adamw`, for all that learns; all parameters at once.

    Args:
        module: what learns.
        kind: the optimizer's name.
        rate: to begin with.
        weight_decay: not for norms and biases.
        relative: each tensor of the trunk has a group of its own, whose `share` of the rate is its root mean
            square now.
        trunk: how the names of the trunk's parameters begin; everything is the trunk by default.
        trunk_share: of the rate, for these.

    Raises:
        ValueError: for any other name.
    """
    named = [(n.startswith(trunk), p) for n, p in module.named_parameters() if p.requires_grad]
    groups = _groups([p for below, p in named if below], weight_decay, trunk_share, relative=relative)
    if trunk:
        groups += _groups([p for below, p in named if not below], weight_decay, 1.0)
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), foreach=True)
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True, foreach=True)
    raise ValueError(f"no optimizer is named {kind!r}")


def _groups(
    parameters: list[nn.Parameter], weight_decay: float, share: float, *, relative: bool = False
) -> list[dict[str, Any]]:
    def group(members: list[nn.Parameter], size: float = 1.0) -> dict[str, Any]:
        decay = weight_decay if members and members[0].ndim > 1 else 0.0
        return {"params": members, "weight_decay": decay, "share": share * size}

    if relative:
        return [group([p], max(_LEAST_SIZE, float(p.detach().square().mean().sqrt()))) for p in parameters]
    return [group([p for p in parameters if p.ndim > 1]), group([p for p in parameters if p.ndim <= 1])]
