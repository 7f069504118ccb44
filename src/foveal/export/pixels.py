"""`Preprocess` on tensors, for images of any size: the numbers that Pillow gives, as two matrix products.

Pillow resizes with a filter that is as wide as the reduction (antialiased), first along the rows, then along the
columns (from Pillow 13 on sometimes in the other order), and rounds to 8 bits after each. Each pass is linear, so it is
a matrix `(size, side of the image)` that the filter and the side determine. Padding and cropping shift its rows. So the
result has one shape for images of all sizes, and the whole can be traced into a graph. A run averages large images by
whole numbers before it resizes them (`data/images/render.py`); these averages are part of the matrices.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from foveal.data.images.render import shrink_limit, without_geometry
from foveal.errors import UsageError
from foveal.values import Preprocess, View

#: Pillow's `reducing_gap`, as `data/images/render.py` gives it.
GAP = 3.0
#: Red, green and blue in Pillow's grey, of 65536.
_GREY = (19595.0, 38470.0, 7471.0)


def bicubic(x: Tensor) -> Tensor:
    """Pillow's bicubic filter, with a = -0.5 (Keys 1981, "Cubic convolution interpolation")."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return torch.where(x < 1.0, near, torch.where(x < 2.0, far, torch.zeros_like(x)))


def bilinear(x: Tensor) -> Tensor:
    """Pillow's bilinear filter: a triangle."""
    return (1.0 - x.abs()).clamp(min=0.0)


FILTERS = {"bicubic": bicubic, "bilinear": bilinear}


def positions(count: int) -> Tensor:
    """0 to count - 1 in double precision; the count may be symbolic while a graph is traced."""
    return torch.arange(count, dtype=torch.float64)


def length(count: int) -> Tensor:
    """A count as a tensor `()`, in double precision; see `positions`."""
    return positions(count)[-1] + 1.0


def quotient(a: Tensor, b: Tensor) -> Tensor:
    """`a // b` of whole numbers. With the half it is right in single precision, too, which OpenVINO computes in."""
    return torch.floor((a + 0.5) / b)


def resizing(
    source: int,
    rows: int,
    target: Tensor,
    interpolation: str,
    *,
    first: Tensor | float = 0.0,
    factor: Tensor | float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Pillow's resizing of one side, as a matrix.

    Args:
        source: pixels of the side as it is.
        rows: of the matrix.
        target: pixels of the side when it is resized, `()`.
        interpolation: `bicubic` or `bilinear`.
        first: the resized side's pixel that is the first row; negative where rows come before it.
        factor: so many neighbouring pixels are averaged before.

    Returns:
        The matrix `(rows, source)`, in single precision; and whether each row lies on the resized side, `(rows,)`:
        the others are zeros.
    """
    here, all_of_them = positions(source), length(source)
    factor = torch.as_tensor(factor, dtype=torch.float64)
    averaged, reduced = quotient(here, factor), quotient(all_of_them - 1.0, factor) + 1.0
    gap = torch.floor(reduced / target / GAP).clamp(min=1.0)
    cell, cells = quotient(averaged, gap), reduced / gap
    # The last of the averaged pixels may be of fewer.
    weight = 1.0 / (
        torch.minimum(factor, all_of_them - averaged * factor) * torch.minimum(gap, reduced - cell * gap)
    )
    row = positions(rows) + first
    scale = cells / target
    centre, width = (row + 0.5) * scale, scale.clamp(min=1.0)
    matrix = FILTERS[interpolation]((cell[None, :] + 0.5 - centre[:, None]) / width) * weight[None, :]
    inside = (row >= 0) & (row < target)
    total = matrix.sum(dim=1, keepdim=True)
    matrix = torch.where(inside[:, None], matrix / torch.where(total == 0, torch.ones_like(total), total), 0.0)
    return matrix.float(), inside


def to_bytes(x: Tensor) -> Tensor:
    """Rounded to whole numbers from 0 to 255, half up, as Pillow rounds after each pass."""
    return torch.floor(x + 0.5).clamp(0.0, 255.0)


class Geometry(nn.Module):
    """Images of any size as squares: a `Preprocess` without its mean and deviation, see `data.images.render.render`.

    Args:
        preprocess: any but `digit` and `fit`.
    """

    background: Tensor

    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        if preprocess.resize not in ("squash", "pad", "crop"):
            raise UsageError(
                "this model looks for a written character in each image, which a graph can't",
                hint="predict with foveal, or train on images of one size",
            )
        self.preprocess, self.limit = preprocess, shrink_limit(preprocess)
        self.register_buffer("background", torch.tensor(preprocess.background).float().view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` with whole numbers from 0 to 255 to `(N, C, size, size)` of the same kind."""
        size = self.preprocess.size
        height, width = length(images.shape[2]), length(images.shape[3])
        factor = torch.floor(torch.minimum(height, width) / self.limit).clamp(min=1.0)
        reduced = [quotient(side - 1.0, factor) + 1.0 for side in (height, width)]
        targets = self._targets(*reduced)
        down, across = (
            resizing(
                images.shape[2 + axis],
                size,
                target,
                self.preprocess.interpolation,
                first=self._first_row(target),
                factor=factor,
            )
            for axis, target in enumerate(targets)
        )
        square = to_bytes(down[0] @ to_bytes(images @ across[0].T))
        if self.preprocess.resize == "pad":
            square = torch.where(down[1][:, None] & across[1][None, :], square, self.background)
        return square if self.preprocess.channels == 3 else grey(square)

    def _first_row(self, target: Tensor) -> Tensor:
        """The pixel of a resized side that is the square's first: negative where it is padded."""
        size = self.preprocess.size
        if self.preprocess.resize == "pad":
            return -torch.floor((size - target) / 2)
        return torch.floor((target - size) / 2)

    def _targets(self, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """Height and width to which an image is resized before it is cut or padded."""
        size, resize = self.preprocess.size, self.preprocess.resize
        if resize == "squash":
            return torch.full_like(height, size), torch.full_like(width, size)
        if resize == "pad":
            scale, least = size / torch.maximum(width, height), 1.0
        else:
            scale, least = size / self.preprocess.crop_share / torch.minimum(width, height), float(size)
        return torch.round(height * scale).clamp(min=least), torch.round(width * scale).clamp(min=least)


def grey(images: Tensor) -> Tensor:
    """`(N, 3, H, W)` to Pillow's grey, `(N, 1, H, W)`: whole numbers from 0 to 255."""
    red, green, blue = (share * images[:, i : i + 1] for i, share in enumerate(_GREY))
    return torch.floor((red + green + blue + 32768.0) / 65536.0)


class Views(nn.Module):
    """Images of any size as the normalised input of a network, in all views of a bundle.

    Args:
        preprocess, views: of the bundle.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocess: Preprocess, views: Sequence[View]) -> None:
        super().__init__()
        pairs = [without_geometry(preprocess, view) for view in views]
        kinds = list(dict.fromkeys(p for p, _ in pairs))
        self.geometries = nn.ModuleList(Geometry(p) for p in kinds)
        self.order = [(kinds.index(p), view == "mirror") for p, view in pairs]
        for name, values in zip(("mean", "std"), preprocess.statistics, strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """`(N, H, W, 3)`, 8 bits, to `(V · N, C, size, size)`: all images in the first view, then in the next."""
        planes = images.permute(0, 3, 1, 2).float().contiguous()
        squares = [geometry(planes) for geometry in self.geometries]
        views = [squares[i].flip(3) if mirrored else squares[i] for i, mirrored in self.order]
        pixels = views[0] if len(views) == 1 else torch.cat(views)
        return (pixels - self.mean) / self.std
