"""LeNet-5, true to LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition"
(1998)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foveal.models.zoo.network import Network

#: Table I of the paper: the maps of S2 that each map of C3 takes.
CONNECTIONS = (
    *((i, (i + 1) % 6, (i + 2) % 6) for i in range(6)),
    *((i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6) for i in range(6)),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)
#: Length of a code, 7 × 12 pixels of a stylised character.
CODE = 84

#: The digits in 7 × 12 pixels, seven columns a row. The paper shows its own only as an image (figure 3).
_FONT = """
.#####. ...##.. .#####. .#####. ....##. ####### ..####. ####### .#####. .#####.
##...## ..###.. ##...## ##...## ...###. ##..... .##.... .....## ##...## ##...##
##...## .####.. .....## .....## ..####. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## .##.##. ##..... ##..... ....##. ##...## ##...##
##...## ...##.. ....##. .....## ##..##. ######. ######. ....##. ##...## ##...##
##...## ...##.. ...##.. ..####. ##..##. .....## ##...## ...##.. .#####. .######
##...## ...##.. ..##... .....## ####### .....## ##...## ...##.. ##...## .....##
##...## ...##.. .##.... .....## ....##. .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... .....## ....##. .....## ##...## ..##... ##...## .....##
##...## ...##.. ##..... ##...## ....##. ##...## ##...## .##.... ##...## ....##.
##...## ...##.. ##..... ##...## ....##. ##...## ##...## .##.... ##...## ...##..
.#####. .#####. ####### .#####. ....##. .#####. .#####. .##.... .#####. .###...
"""


class ScaledTanh(nn.Module):
    """`1.7159 · tanh(2/3 · x)`: the squashing function, with `f(1) = 1` and its largest curvature there."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return 1.7159 * torch.tanh(2.0 / 3.0 * x)


class Subsampling(nn.Module):
    """The sum of 2 × 2 places, times a trained coefficient, plus a trained bias: one pair of numbers a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels, 1, 1), 0.25))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, C, H // 2, W // 2)`."""
        sums = nn.functional.avg_pool2d(x, 2, divisor_override=1)
        return sums * self.weight + self.bias


class PartialConvolution(nn.Module):
    """C3: a 5 × 5 convolution in which each map takes only some of the maps below (`CONNECTIONS`).

    Maps with equally many inputs share one grouped convolution, so that no multiplication by an absent
    connection is stored or computed.
    """

    def __init__(self) -> None:
        super().__init__()
        sizes = sorted({len(seen) for seen in CONNECTIONS})
        self._seen = [[i for seen in CONNECTIONS if len(seen) == size for i in seen] for size in sizes]
        self.groups = nn.ModuleList(
            nn.Conv2d(len(seen), len(seen) // size, 5, groups=len(seen) // size)
            for seen, size in zip(self._seen, sizes, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 6, H, W)` to `(N, 16, H - 4, W - 4)`."""
        parts = [group(x[:, seen]) for group, seen in zip(self.groups, self._seen, strict=True)]
        return torch.cat(parts, dim=1)


class RadialBasis(nn.Module):
    """The output layer: minus the squared distance of F6 from each class's code, `y_k = -Σ (x_j - w_kj)²`.

    The paper's outputs are the distances themselves, smaller for likelier; with the sign turned they are logits,
    and cross-entropy on them is the paper's criterion (equation 9) with its constant `e^-j` at zero. The codes
    are set by hand and not trained.

    Args:
        classes: ten get the digits' images; any other number gets codes of random signs, always the same.
    """

    #: Works on dimension 1 alone, whatever follows it: `(N, D)` or `(N, D, H, W)`.
    pointwise = True

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", _digits() if classes == 10 else _signs(classes))
        self.codes: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 84, …)` to `(N, classes, …)`."""
        codes = self.codes.view(1, *self.codes.shape, *([1] * (x.ndim - 2)))
        return -(x.unsqueeze(1) - codes).square().sum(dim=2)


class LeNet5(Network):
    """Written for 32 × 32 pixels, white -0.1 and black 1.175; 60,000 trained parameters."""

    def __init__(self, *, classes: int = 10, channels: int = 1) -> None:
        trunk = {
            "c1": nn.Sequential(nn.Conv2d(channels, 6, 5), ScaledTanh()),
            "s2": nn.Sequential(Subsampling(6), ScaledTanh()),
            "c3": nn.Sequential(PartialConvolution(), ScaledTanh()),
            "s4": nn.Sequential(Subsampling(16), ScaledTanh()),
        }
        head = {
            "pool": nn.AdaptiveAvgPool2d(5),  # does nothing at 32 × 32; makes any larger image fit
            "c5": nn.Sequential(nn.Conv2d(16, 120, 5), ScaledTanh()),
            "flatten": nn.Flatten(),
            "f6": nn.Sequential(nn.Linear(120, CODE), ScaledTanh()),
            "output": RadialBasis(classes),
        }
        features = {"c1": (6, 1), "c3": (16, 2), "s4": (16, 4)}
        super().__init__(trunk, head, features=features, channels=channels, smallest=16)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                _initialise(module)


def _initialise(module: nn.Conv2d | nn.Linear) -> None:
    """Uniform between ±2.4 / fan-in, as in the paper's appendix A."""
    bound = 2.4 / module.weight[0].numel()
    nn.init.uniform_(module.weight, -bound, bound)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def _digits() -> Tensor:
    """`(10, 84)`, ink 1 and paper -1."""
    rows = [line.split() for line in _FONT.split("\n") if line]
    drawn = ["".join(row[digit] for row in rows) for digit in range(10)]
    return torch.tensor([[1.0 if c == "#" else -1.0 for c in picture] for picture in drawn])


def _signs(classes: int) -> Tensor:
    """`(classes, 84)` of ±1: two of them differ in about half of their places."""
    generator = torch.Generator().manual_seed(1998)
    drawn = torch.randint(0, 2, (classes, CODE), generator=generator, device="cpu").float() * 2 - 1
    return drawn.to(torch.get_default_device())  # a module made on `meta` is there altogether
