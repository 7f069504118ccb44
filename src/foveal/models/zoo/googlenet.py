"""GoogLeNet: Szegedy et al., "Going deeper with convolutions" (2014), Inception v1."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from foveal.models.zoo.blocks import (
    Inception,
    InceptionWidths,
    LocalResponseNorm,
    convolution_relu,
    overlapping_pool,
)
from foveal.models.zoo.network import Network, pooled_head

#: Table 1 of the paper.
TABLE = {
    "3a": InceptionWidths(64, 96, 128, 16, 32, 32),
    "3b": InceptionWidths(128, 128, 192, 32, 96, 64),
    "4a": InceptionWidths(192, 96, 208, 16, 48, 64),
    "4b": InceptionWidths(160, 112, 224, 24, 64, 64),
    "4c": InceptionWidths(128, 128, 256, 24, 64, 64),
    "4d": InceptionWidths(112, 144, 288, 32, 64, 64),
    "4e": InceptionWidths(256, 160, 320, 32, 128, 128),
    "5a": InceptionWidths(256, 160, 320, 32, 128, 128),
    "5b": InceptionWidths(384, 192, 384, 48, 128, 128),
}
#: Where the auxiliary classifiers listen.
LISTENED = ("inception4a", "inception4d")


class GoogLeNet(Network):
    """For 224 × 224 pixels.

    The paper gives no constants for its normalisation; these are those of the released Caffe model
    (n = 5, alpha = 1e-4 / 5 in the formula's terms, beta = 0.75, k = 1).

    Args:
        classes, channels: outputs, and channels of the input.
        auxiliary: with the two classifiers in the middle, which only training uses.
    """

    def __init__(self, *, classes: int = 1000, channels: int = 3, auxiliary: bool = False) -> None:
        norm = {"alpha": 1e-4 / 5, "k": 1.0}
        stem: dict[str, nn.Module] = {
            "conv1": convolution_relu(channels, 64, 7, stride=2),
            "pool1": overlapping_pool(ceil_mode=True),
            "norm1": LocalResponseNorm(5, **norm),
            "reduce2": convolution_relu(64, 64, 1),
            "conv2": convolution_relu(64, 192, 3),
            "norm2": LocalResponseNorm(5, **norm),
            "pool2": overlapping_pool(ceil_mode=True),
        }
        modules = {name: Inception(c, widths, convolution_relu) for name, c, widths in table_rows()}
        between = overlapping_pool(ceil_mode=True), overlapping_pool(ceil_mode=True)
        super().__init__(
            {**stem, **in_stages(modules, *between)},
            pooled_head(1024, classes, dropout=0.4),
            features=FEATURES,
            channels=channels,
            smallest=32,
        )
        self.auxiliary = nn.ModuleList([_auxiliary(512, classes), _auxiliary(528, classes)]) if auxiliary else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.constant_(module.bias, 0.2 if isinstance(module, nn.Conv2d) else 0.0)

    def forward_with_auxiliaries(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the output and of the two auxiliary classifiers, each `(N, classes)`.

        The paper adds the losses of the latter with a weight of 0.3 each, and drops both after training.

        Raises:
            RuntimeError: when the network was made without them.
        """
        if self.auxiliary is None:
            raise RuntimeError("this GoogLeNet was made without auxiliary classifiers")
        taken = []
        for name, module in self.trunk.named_children():
            x = module(x)
            if name in LISTENED:
                taken.append(x)
        first, second = (head(maps) for head, maps in zip(self.auxiliary, taken, strict=True))
        return self.forward_head(x), first, second


def table_rows() -> list[tuple[str, int, InceptionWidths]]:
    """`inception3a` … `inception5b`: name, channels in, widths."""
    before = [192, *(widths.total for widths in TABLE.values())]
    return [(f"inception{row}", c, widths) for (row, widths), c in zip(TABLE.items(), before[:-1], strict=True)]


def in_stages(modules: Mapping[str, nn.Module], pool3: nn.Module, pool4: nn.Module) -> dict[str, nn.Module]:
    """The inception modules with a pooling after 3b and one after 4e."""
    staged: dict[str, nn.Module] = {}
    for name, module in modules.items():
        staged[name] = module
        if name in ("inception3b", "inception4e"):
            staged["pool3" if name == "inception3b" else "pool4"] = pool3 if name == "inception3b" else pool4
    return staged


FEATURES: Mapping[str, tuple[int, int]] = {
    "conv1": (64, 2),
    "conv2": (192, 4),
    "inception3b": (480, 8),
    "inception4e": (832, 16),
    "inception5b": (1024, 32),
}


class _Shrink(nn.Module):
    """5 × 5 averages every three places: 14 × 14 to 4 × 4; other maps to 4 × 4 as well."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] == torch.Size((14, 14)):
            return nn.functional.avg_pool2d(x, 5, 3)
        return nn.functional.adaptive_avg_pool2d(x, 4)


def _auxiliary(channels: int, classes: int) -> nn.Sequential:
    """Section 5: average pooling, 128 filters of 1 × 1, a dense layer of 1024, dropout of 70 %, the classifier."""
    return nn.Sequential(
        _Shrink(),
        convolution_relu(channels, 128, 1),
        nn.Flatten(),
        nn.Linear(128 * 4 * 4, 1024),
        nn.ReLU(inplace=True),
        nn.Dropout(0.7),
        nn.Linear(1024, classes),
    )
