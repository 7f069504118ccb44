"""Networks by name: what `bundle.json` says of a network becomes the network again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from foveal.errors import BundleError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


def build(network: Mapping[str, Any]) -> torch.nn.Module:
    """A network with fresh weights.

    Args:
        network: `{"architecture": "small", …}` with the arguments of `small.SmallNet`; or `"ensemble"` with
            `member` (such a mapping) and `count`; or `"shifted"` with `inner` and `pixels`; or `"tuned"` with
            `backbone`, `dimension` and `classes`; or `"segmenter"` with the arguments of
            `segmentation.network.segmenter`.

    Raises:
        BundleError: when the architecture or an argument is unknown.
    """
    from foveal.models import zoo
    from foveal.models.small import Ensemble, Shifted, SmallNet

    given = dict(network)
    name = given.pop("architecture", None)
    try:
        if name == "small":
            return SmallNet(**given)
        if name == "ensemble":
            return Ensemble([build(given["member"]) for _ in range(given["count"])])
        if name == "shifted":
            return Shifted(build(given["inner"]), given["pixels"])
        if name == "zoo":
            return zoo.create(**given)
        if name == "tuned":
            from foveal.models.tuned import bare

            return bare(**given)
        if name == "segmenter":
            from foveal.models.segmentation.network import segmenter

            return segmenter(**given)
    except (TypeError, KeyError, ValueError, IndexError) as error:
        raise BundleError(f"a network {name!r} can't be made: {error}", hint="was bundle.json changed?") from None
    raise BundleError(f"no architecture is named {name!r}", hint="was this bundle made by a newer foveal?")


def with_weights(network: Mapping[str, Any], tensors: Mapping[str, NDArray[np.float32]]) -> torch.nn.Module:
    """The network with these weights, ready to answer.

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
