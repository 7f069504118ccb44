"""The contract of every network in the zoo: a trunk, a head, and where its feature maps can be taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from foveal.errors import UsageError


@dataclass(frozen=True)
class Feature:
    """A feature map that is worth taking: the last one of its resolution.

    Attributes:
        channels: of the map.
        stride: pixels of the input between two neighbouring places of the map.
        module: path of the submodule that puts it out, for `network.get_submodule`.
    """

    channels: int
    stride: int
    module: str


class Network(nn.Module):
    """A trunk from images to feature maps, and a head from feature maps to one logit a class.

    Attributes:
        trunk: `(N, channels, H, W)` to `(N, D, h, w)`; its children by name are the steps of the architecture.
        head: `(N, D, h, w)` to `(N, classes)`; its last child is the classifier.
        feature_info: where feature maps can be taken, from fine to coarse.
        channels: of the input.
        smallest: the shortest side of an image that the network takes, pixels: what its arithmetic needs, and
            at least one stride, since below that most of what the last layers see is padding.
    """

    def __init__(
        self,
        trunk: Mapping[str, nn.Module],
        head: Mapping[str, nn.Module],
        *,
        features: Mapping[str, tuple[int, int]],
        channels: int,
        smallest: int,
    ) -> None:
        """Assemble.

        Args:
            trunk, head: modules by name, in order.
            features: child of the trunk → channels and stride of its output.
            channels, smallest: see the class.
        """
        super().__init__()
        self.trunk = _chain(trunk)
        self.head = _chain(head)
        self.feature_info = tuple(Feature(c, stride, f"trunk.{name}") for name, (c, stride) in features.items())
        self.channels, self.smallest = channels, smallest

    @property
    def num_features(self) -> int:
        """Channels of what `forward_features` gives."""
        return self.feature_info[-1].channels

    def forward_features(self, x: Tensor) -> Tensor:
        """Normalised images `(N, C, H, W)` to feature maps `(N, D, h, w)`.

        Raises:
            UsageError: when the images are too small, or have another number of channels.
        """
        _check(type(self).__name__, x, self.channels, self.smallest)
        maps: Tensor = self.trunk(x)
        return maps

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Feature maps to logits `(N, classes)`; with `pre_logits` to what the classifier would be given."""
        vectors: Tensor = (self.head[:-1] if pre_logits else self.head)(features)
        return vectors

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images `(N, C, H, W)` to logits `(N, classes)`."""
        return self.forward_head(self.forward_features(x))


def _chain(modules: Mapping[str, nn.Module]) -> nn.Sequential:
    chain = nn.Sequential()
    for name, module in modules.items():
        chain.add_module(name, module)
    return chain


def _check(name: str, x: Tensor, channels: int, smallest: int) -> None:
    """Refuse what the network can't take, in words."""
    if x.shape[1] != channels:
        raise UsageError(
            f"this {name} takes images of {channels} channels, not {x.shape[1]}",
            hint=f"make it with channels={x.shape[1]}",
        )
    if min(x.shape[2:]) < smallest:
        raise UsageError(
            f"images of {x.shape[2]} × {x.shape[3]} pixels are too small for {name}",
            hint=f"the smallest that works is {smallest} × {smallest}",
        )


def pooled_head(width: int, classes: int, *, dropout: float = 0.0) -> dict[str, nn.Module]:
    """Average over all places, dropout, one linear layer (Lin et al. 2013, without its last convolution)."""
    return {
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "dropout": nn.Dropout(dropout),
        "classifier": nn.Linear(width, classes),
    }
