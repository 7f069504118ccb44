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
    head_share: float = 1.0,
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
        head_share: of the rate where it is relative, for parameters whose names begin with `head.`.

    Raises:
        ValueError: for any other name.
    """
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    below = [(n, p) for n, p in named if n.startswith(trunk)]
    if relative:
        groups = [
            _relative(p, weight_decay, head_share if n.startswith("head.") else trunk_share) for n, p in below
        ]
    else:
        groups = _groups([p for _, p in below], weight_decay, trunk_share)
    if trunk:
        groups += _groups([p for n, p in named if not n.startswith(trunk)], weight_decay, 1.0)
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99), foreach=True)
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True, foreach=True)
    raise ValueError(f"no optimizer is named {kind!r}")


def _groups(parameters: list[nn.Parameter], weight_decay: float, share: float) -> list[dict[str, Any]]:
    many, flat = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    return [_group(many, weight_decay, share), _group(flat, 0.0, share)]


def _relative(p: nn.Parameter, weight_decay: float, share: float) -> dict[str, Any]:
    size = max(_LEAST_SIZE, float(p.detach().square().mean().sqrt()))
    return _group([p], weight_decay if p.ndim > 1 else 0.0, share * size)


def _group(members: list[nn.Parameter], weight_decay: float, share: float) -> dict[str, Any]:
    return {"params": members, "weight_decay": weight_decay, "share": share}
