"""Batch normalisation merged into the convolution before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norm(network: nn.Module) -> int:
    """Merge every batch normalisation into the convolution before it, in place; the outputs stay.

    With few images the statistics of a batch say little, and those of ImageNet, which evaluation mode keeps,
    scale the gradient of each channel by whatever they happen to be.

    Returns:
        How many were merged.
    """
    if not any(isinstance(m, nn.BatchNorm2d) for m in network.modules()):
        return 0
    pairs = list(_pairs(network.eval()))
    for convolution_name, norm_name in pairs:
        convolution, norm = network.get_submodule(convolution_name), network.get_submodule(norm_name)
        assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        network.set_submodule(convolution_name, fuse_conv_bn_eval(convolution, norm))
        # timm's BatchNormAct2d holds the activation, too.
        rest = [getattr(norm, n) for n in ("drop", "act") if hasattr(norm, n)]
        network.set_submodule(norm_name, nn.Sequential(*rest) if rest else nn.Identity())
    return len(pairs)


def _pairs(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of convolutions and of the normalisations that take their output, observed on one image."""
    outputs: dict[int, tuple[str, Tensor]] = {}
    pairs: list[tuple[str, str]] = []
    hooks = []

    def after_convolution(name: str) -> Any:  # noqa: ANN401
        return lambda _m, _inputs, output: outputs.update({id(output): (name, output)})

    def before_norm(name: str) -> Any:  # noqa: ANN401
        def note(_m: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if id(inputs[0]) in outputs:
                pairs.append((outputs[id(inputs[0])][0], name))

        return note

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(after_convolution(name)))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(before_norm(name)))
    with torch.no_grad():
        network(torch.zeros(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    yield from pairs
