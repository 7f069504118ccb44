"""Networks by name: what `bundle.json` says of a network becomes the network again.

A network from outside the package is registered with `register_architecture`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
class _Ensemble:
    member: dict[str, Any]
    count: Annotated[int, Meta(ge=1, le=100)]


@dataclass(frozen=True)
class _Shifted:
    inner: dict[str, Any]
    pixels: Annotated[int, Meta(ge=0, le=64)]


@dataclass(frozen=True)
class _Zoo:
    """What `zoo.create` takes."""

    name: Name
    classes: _Outputs | None = None
    channels: Side | None = None
    auxiliary: bool = False


@dataclass(frozen=True)
class _Tuned:
    """What `finetuned.bare` takes."""

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
    "ensemble": _Ensemble,
    "shifted": _Shifted,
    "zoo": _Zoo,
    "tuned": _Tuned,
    "segmenter": _Segmenter,
}


def build(network: Mapping[str, Any]) -> torch.nn.Module:
    """A network with fresh weights.

    Args:
        network: `{"architecture": "small", …}` with the arguments of `small.SmallNet`; or `"ensemble"` with
            `member` (such a mapping) and `count`; or `"shifted"` with `inner` and `pixels`; or `"tuned"` with
            `backbone`, `dimension` and `classes`; or `"segmenter"` with the arguments of
            `segmentation.network.segmenter`; or a registered name with its own arguments.

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
    from foveal.models import zoo
    from foveal.models.small import Ensemble, Shifted, SmallNet

    if name == "tuned":
        from foveal.models.finetuned import bare

        return bare
    if name == "segmenter":
        from foveal.models.segmentation.network import segmenter

        return segmenter
    makers: dict[str, Callable[..., torch.nn.Module]] = {
        "small": SmallNet,
        "ensemble": lambda member, count: Ensemble([build(member) for _ in range(count)]),
        "shifted": lambda inner, pixels: Shifted(build(inner), pixels),
        "zoo": zoo.create,
    }
    return makers[name]


def with_weights(network: Mapping[str, Any], tensors: Mapping[str, NDArray[np.float32]]) -> torch.nn.Module:
    """The network with these weights, in evaluation mode.

    Raises:
        BundleError: when they are another network's; nothing of its size is then allocated.
    """
    import torch

    if _is_small(network):  # its widths are the bundle's own; other networks are of known sizes
        with torch.device("meta"):
            _check_shapes(build(network).state_dict(), tensors)
    module = build(network)
    _check_shapes(module.state_dict(), tensors)
    module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in tensors.items()})
    return module.eval()


def _is_small(network: Mapping[str, Any]) -> bool:
    """Whether it is a `SmallNet`, or made of such."""
    inner = network.get("member") or network.get("inner")
    return network.get("architecture") == "small" or (isinstance(inner, Mapping) and _is_small(inner))


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
