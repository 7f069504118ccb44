"""The zoo: the architectures that made the field, each true to its paper, by name.

Nothing is registered by importing: the names are in one table, and a network's module is imported when the
network is made.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from foveal.errors import UsageError, known_name
from foveal.models.zoo.cards import Card, read_card

if TYPE_CHECKING:
    from foveal.models.zoo.network import Network

__all__ = ["Card", "card", "create", "names"]

#: Name → module, class, arguments; in order of time.
_NETWORKS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "lenet5": ("lenet5", "LeNet5", {}),
    "lenet5_modern": ("lenet5_modern", "LeNet5Modern", {}),
    "alexnet": ("alexnet", "AlexNet", {}),
    "alexnet_single": ("alexnet_single", "AlexNetSingle", {}),
    "vgg16": ("vgg16", "VGG16", {}),
    "googlenet": ("googlenet", "GoogLeNet", {}),
    "googlenet_bn": ("googlenet_bn", "GoogLeNetBN", {}),
    "plain34": ("resnet", "ResNet", {"depth": 34, "shortcuts": False}),
    **{f"resnet{depth}": ("resnet", "ResNet", {"depth": depth}) for depth in (18, 34, 50, 101, 152)},
    "xception": ("xception", "Xception", {}),
    **{
        f"seresnet{depth}": ("resnet", "ResNet", {"depth": depth, "squeeze": True})
        for depth in (18, 34, 50, 101, 152)
    },
    "senet154": ("senet154", "SENet154", {}),
}


def names() -> tuple[str, ...]:
    """All names, in order of time."""
    return tuple(_NETWORKS)


def card(name: str) -> Card:
    """What is known about a network. Needs no torch.

    Raises:
        UnknownName: with the nearest known name.
    """
    return read_card(known_name("architecture", name, _NETWORKS))


def create(name: str, *, classes: int | None = None, channels: int | None = None, **options: Any) -> Network:  # noqa: ANN401
    """A network with fresh weights, drawn as its paper says.

    Args:
        name: one of `names()`.
        classes: outputs; by default as published.
        channels: of the input; by default as published.
        options: further arguments of its class, such as GoogLeNet's `auxiliary`.

    Raises:
        UnknownName: with the nearest known name.
        UsageError: when there would be no class or no channel.
    """
    published = card(name)
    name = published.name
    classes = published.classes if classes is None else classes
    channels = published.channels if channels is None else channels
    for kind, count in (("classes", classes), ("channels", channels)):
        if count < 1:
            raise UsageError(f"{name} with {count} {kind}", hint="at least one")
    module, kind, fixed = _NETWORKS[name]
    network: Network = getattr(import_module(f"foveal.models.zoo.{module}"), kind)(
        classes=classes, channels=channels, **fixed, **options
    )
    return network
