"""Optimizers as the loop uses them: it sets the learning rate each step, times each group's `lr_mult`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from foveal.training.loop.task import LoopSettings

#: Least root mean square of a tensor: one of zeros would otherwise never change.
_LEAST_RMS = 1e-3


def optimizer_for(module: nn.Module, settings: LoopSettings) -> torch.optim.Optimizer:
    """The optimizer of these settings, for all parameters that are trained; each group has its `lr_mult`.

    Where the learning rate is scaled by the root mean square, each tensor of the backbone has a group of its own.

    Raises:
        ValueError: for an unknown optimizer.
    """
    decay, prefix = settings.weight_decay, settings.backbone_prefix
    named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    backbone = [(n, p) for n, p in named if n.startswith(prefix)]
    if settings.scale_lr_by_rms:
        groups = [
            _scaled_group(p, decay, settings.head_lr_mult if n.startswith("head.") else settings.backbone_lr_mult)
            for n, p in backbone
        ]
    else:
        groups = _groups([p for _, p in backbone], decay, settings.backbone_lr_mult)
    if prefix:
        groups += _groups([p for n, p in named if not n.startswith(prefix)], decay, 1.0)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.99), foreach=True)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=0.9, nesterov=True, foreach=True)
    raise ValueError(f"unknown optimizer {settings.optimizer!r}: sgd or adamw")


def _groups(parameters: list[nn.Parameter], weight_decay: float, lr_mult: float) -> list[dict[str, Any]]:
    many, flat = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    return [_group(many, weight_decay, lr_mult), _group(flat, 0.0, lr_mult)]


def _scaled_group(p: nn.Parameter, weight_decay: float, lr_mult: float) -> dict[str, Any]:
    rms = max(_LEAST_RMS, float(p.detach().square().mean().sqrt()))
    return _group([p], weight_decay if p.ndim > 1 else 0.0, lr_mult * rms)


def _group(members: list[nn.Parameter], weight_decay: float, lr_mult: float) -> dict[str, Any]:
    return {"params": members, "weight_decay": weight_decay, "lr_mult": lr_mult}
