"""Networks by name: what `bundle.json` says of a network becomes the network again.

A network from outside the package is registered with `register_architecture`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from foveal.errors import BundleError, FovealError
from foveal.schema import CHANGED, Name, Side, checked

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

#: Architectures from outside the package, each with what makes a network of it.
ARCHITECTURES: dict[str, Callable[..., torch.nn.Module]] = {}


def register_architecture(name: str, make: Callable[..., torch.nn.Module]) -> None:
    """Add an architecture; one of the same name is replaced.

    Args:
        name: as under `architecture` in `bundle.json`.
        make: takes the other entries of `network` as arguments and returns a network with fresh weights.
    """
    ARCHITECTURES[name] = make


_Shape = tuple[Side, Side, Side]
_Outputs = Annotated[int, Meta(ge=1, le=100_001)]
_Stage = Annotated[tuple[Side, ...], Meta(min_length=1, max_length=64)]


@dataclass(frozen=True)
class _Small:
    """What `small.SmallNet` takes."""

    channels: Side
    classes: _Outputs
    stages: Annotated[tuple[_Stage, ...], Meta(min_length=1, max_length=16)]
    kernel: Annotated[int, Meta(ge=1, le=31)] = 3
    stride: Annotated[int, Meta(ge=1, le=16)] = 1
    dropout: Annotated[float, Meta(ge=0, le=0.99)] = 0.0


@dataclass(frozen=True)
class _Linear:
    """What `small.LinearNet` takes."""

    channels: Side
    size: Side
    pool: Annotated[int, Meta(ge=1, le=64)]
    classes: _Outputs


@dataclass(frozen=True)
class _Ensemble:
    member: dict[str, Any]
    count: Annotated[int, Meta(ge=1, le=100)]


@dataclass(frozen=True)
class _Shifted:
    inner: dict[str, Any]
    pixels: Annotated[int, Meta(ge=0, le=64)]
    mirror: bool = False


@dataclass(frozen=True)
class _Zoo:
    """What `zoo.create` takes."""

    name: Name
    classes: _Outputs | None = None
    channels: Side | None = None
    auxiliary: bool = False


@dataclass(frozen=True)
class _Sketch:
    """What `sketch.build` takes."""

    text: Annotated[str, Meta(min_length=1, max_length=100_000)]
    shape: _Shape


@dataclass(frozen=True)
class _Foreign:
    """What `foreign.timm_network` and `foreign.torchvision_network` take."""

    name: Name
    classes: _Outputs
    shape: _Shape


@dataclass(frozen=True)
class _Function:
    """What `foreign.function_network` takes."""

    name: Name
    shape: _Shape


@dataclass(frozen=True)
class _Backbone:
    """What `backbones.untrained_network` takes."""

    name: Name
    classes: _Outputs


@dataclass(frozen=True)
class _Tuned:
    """What `finetuned.untrained` takes."""

    backbone: Name
    dimension: Annotated[int, Meta(ge=1, le=100_000)]
    classes: _Outputs


@dataclass(frozen=True)
class _Segmenter:
    """What `segmentation.network.segmenter` takes."""

    decoder: Name
    classes: Annotated[int, Meta(ge=1, le=255)]
    backbone: Name = "lite0"
    widths: Annotated[tuple[Side, ...], Meta(min_length=1, max_length=8)] = (1,)
    width: Side = 1
    folded: bool = True
    scale: Annotated[float, Meta(gt=0.01, le=1)] = 1.0


#: Types and ranges of the arguments: only what passes them is built.
_ARGUMENTS: dict[str, type] = {
    "small": _Small,
    "linear": _Linear,
    "ensemble": _Ensemble,
    "shifted": _Shifted,
    "zoo": _Zoo,
    "sketch": _Sketch,
    "timm": _Foreign,
    "torchvision": _Foreign,
    "function": _Function,
    "backbone": _Backbone,
    "tuned": _Tuned,
    "segmenter": _Segmenter,
}


def completed(definition: Mapping[str, Any], shape: tuple[int, int, int], classes: int) -> dict[str, Any]:
    """What `build` takes: a definition, and what the data decide of it.

    Args:
        definition: the architecture, and its own arguments.
        shape: channels, height, width of the images.
        classes: outputs. A sketch and a function have theirs already.
    """
    known = _ARGUMENTS.get(definition["architecture"])
    names = {f.name for f in fields(known)} if known else set()
    decided = {"channels": shape[0], "shape": list(shape), "classes": classes}
    return {**definition, **{name: value for name, value in decided.items() if name in names}}


def definition_of(network: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `completed` takes, of what it gave; of several networks that are averaged, one."""
    if inner := network.get("member") or network.get("inner"):
        return definition_of(inner)
    if network["architecture"] in ARCHITECTURES:
        return network
    return {k: v for k, v in network.items() if k not in ("channels", "shape", "classes")}


def build(network: Mapping[str, Any]) -> torch.nn.Module:
    """A network with fresh weights.

    Args:
        network: `{"architecture": "small", …}` with the arguments of `small.SmallNet`; or `"ensemble"` with
            `member` (such a mapping) and `count`; or `"shifted"` with `inner`, `pixels` and maybe `mirror`; or
            `"tuned"` with `backbone`, `dimension` and `classes`; or `"segmenter"` with the arguments of
            `segmentation.network.segmenter`; or `"sketch"` with `text` and `shape`, `"timm"` or `"torchvision"`
            with `name`, `classes` and `shape`, `"function"` with `name` and `shape`, `"backbone"` with `name` and
            `classes`; or a registered name with its own arguments. A `shape` is `(C, H, W)` of the images.

    Raises:
        BundleError: when the architecture or an argument is unknown, or out of range.
    """
    given = dict(network)
    name = given.pop("architecture", None)
    make = ARCHITECTURES.get(name) if isinstance(name, str) else None
    if make is None:
        if not isinstance(name, str) or name not in _ARGUMENTS:
            raise BundleError(
                f"network: no architecture is named {name!r}", hint="was this bundle made by a newer foveal?"
            )
        checked(given, _ARGUMENTS[name], f"network: {name}")
        make = _maker(name)
    try:
        return make(**given)
    except FovealError:
        raise
    except (TypeError, KeyError, ValueError, IndexError, RuntimeError) as error:
        raise BundleError(f"network: {name} can't be built: {error}", hint=CHANGED) from None


def _maker(name: str) -> Callable[..., torch.nn.Module]:
    """What makes a network of this architecture."""
    from foveal.models import foreign, sketch, zoo
    from foveal.models.small import Ensemble, LinearNet, Shifted, SmallNet

    if name == "tuned":
        from foveal.models.finetuned import untrained

        return untrained
    if name == "backbone":
        from foveal.models.backbones import untrained_network

        return lambda name, classes: untrained_network(name, classes=classes).train()
    if name == "segmenter":
        from foveal.models.segmentation.network import segmenter

        return segmenter
    makers: dict[str, Callable[..., torch.nn.Module]] = {
        "small": SmallNet,
        "linear": LinearNet,
        "ensemble": lambda member, count: Ensemble([build(member) for _ in range(count)]),
        "shifted": lambda inner, pixels, mirror=False: Shifted(build(inner), pixels, mirror=mirror),
        "zoo": zoo.create,
        "sketch": sketch.build,
        "timm": foreign.timm_network,
        "torchvision": partial(foreign.torchvision_network, auxiliary=False),
        "function": foreign.function_network,
    }
    return makers[name]


def with_weights(network: Mapping[str, Any], tensors: Mapping[str, NDArray[np.float32]]) -> torch.nn.Module:
    """The network with these weights, in evaluation mode.

    Raises:
        BundleError: when they are another network's; nothing of its size is then allocated.
    """
    import torch

    if _is_of_own_sizes(network):
        with torch.device("meta"):
            _check_shapes(build(network).state_dict(), tensors)
    module = build(network)
    _check_shapes(module.state_dict(), tensors)
    module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in tensors.items()})
    return module.eval()


def _is_of_own_sizes(network: Mapping[str, Any]) -> bool:
    """Whether the bundle itself says how wide the layers are: other networks are of known sizes."""
    inner = network.get("member") or network.get("inner")
    own = network.get("architecture") in ("small", "sketch")
    return own or (isinstance(inner, Mapping) and _is_of_own_sizes(inner))


def _check_shapes(expected: Mapping[str, torch.Tensor], tensors: Mapping[str, NDArray[Any]]) -> None:
    """Raises `BundleError` unless names, shapes and types are those of the network."""
    for name in sorted(set(expected) ^ set(tensors)):
        raise BundleError(f"these weights belong to another network: {name}", hint=CHANGED)
    for name, tensor in expected.items():
        given = tensors[name]
        if tuple(tensor.shape) != given.shape or str(tensor.dtype).removeprefix("torch.") != str(given.dtype):
            raise BundleError(
                f"these weights belong to another network: {name}: {given.dtype} {given.shape}, "
                f"not {tensor.dtype} {tuple(tensor.shape)}",
                hint=CHANGED,
            )
