"""Networks by name: what `bundle.json` says of a network becomes the network again.

A network from outside the package is registered with `register_architecture`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from foveal.errors import BundleError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

#: Architectures from outside the package, each with what makes a network of it.
_REGISTERED: dict[str, Callable[..., torch.nn.Module]] = {}


def register_architecture(name: str, make: Callable[..., torch.nn.Module]) -> None:
    """Add an architecture; one of the same name is replaced.

    Args:
        name: as under `architecture` in `bundle.json`.
        make: takes the other entries of `network` as arguments and returns a network with fresh weights.
    """
    _REGISTERED[name] = make


def build(network: Mapping[str, Any]) -> torch.nn.Module:
    """A network with fresh weights.

    Args:
        network: `{"architecture": "small", …}` with the arguments of `small.SmallNet`; or `"ensemble"` with
            `member` (such a mapping) and `count`; or `"shifted"` with `inner` and `pixels`; or `"tuned"` with
            `backbone`, `dimension` and `classes`; or `"segmenter"` with the arguments of
            `segmentation.network.segmenter`; or a registered name with its own arguments.

    Raises:
        BundleError: when the architecture or an argument is unknown.
    """
    from foveal.models import zoo
    from foveal.models.small import Ensemble, Shifted, SmallNet

    given = dict(network)
    name = given.pop("architecture", None)
    try:
        if name in _REGISTERED:
            return _REGISTERED[name](**given)
        if name == "small":
            if given.pop("residual", False):  # earlier bundles name it, and none has it
                raise ValueError("residual blocks are no longer supported")
            return SmallNet(**given)
        if name == "ensemble":
            return Ensemble([build(given["member"]) for _ in range(given["count"])])
        if name == "shifted":
            return Shifted(build(given["inner"]), given["pixels"])
        if name == "zoo":
            return zoo.create(**given)
        if name == "tuned":
            from foveal.models.finetuned import bare

            return bare(**given)
        if name == "segmenter":
            from foveal.models.segmentation.network import segmenter

            return segmenter(**given)
    except (TypeError, KeyError, ValueError, IndexError) as error:
        raise BundleError(f"a network {name!r} can't be built: {error}", hint="was bundle.json changed?") from None
    raise BundleError(f"no architecture is named {name!r}", hint="was this bundle made by a newer foveal?")


def with_weights(network: Mapping[str, Any], tensors: Mapping[str, NDArray[np.float32]]) -> torch.nn.Module:
    """The network with these weights, in evaluation mode.

    Raises:
        BundleError: when they are another network's.
    """
    import torch

    module = build(network)
    try:
        module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in tensors.items()})
    except RuntimeError as error:
        raise BundleError(f"these weights belong to another network: {error}"[:300]) from None
    return module.eval()
