"""Weights of the same architecture from elsewhere: torchvision's, timm's."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from foveal.errors import BundleError


def load_in_order(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give a network the tensors of a twin: the first to the first, and so on, whatever their names.

    Right for two modules that register their layers in the same order, as the zoo's do with torchvision's and
    timm's twins.

    Args:
        network: takes the weights.
        state: the twin's `state_dict()`.

    Raises:
        BundleError: when the number of tensors differs, or a shape, naming the first pair that does.
    """
    own = network.state_dict()
    if len(own) != len(state):
        raise BundleError(
            f"{len(state)} tensors for a network that has {len(own)}", hint="is it the same network?"
        )
    for (here, mine), (there, theirs) in zip(own.items(), state.items(), strict=True):
        if mine.shape != theirs.shape:
            raise BundleError(
                f"{there} is {tuple(theirs.shape)}, {here} takes {tuple(mine.shape)}",
                hint="is it the same network, with as many classes and channels?",
            )
    network.load_state_dict(dict(zip(own, state.values(), strict=True)))
