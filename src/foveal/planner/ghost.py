"""A network whose tensors have form and no content: the same modules, nothing to compute."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from foveal.errors import UsageError


def built(build: Callable[[], nn.Module]) -> nn.Module:
    """A network made without its weights, where its constructor can do without them."""
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return build()
    except (RuntimeError, NotImplementedError, ValueError, TypeError):
        return build()  # some constructors look at values (`linspace(…).item()`)


def ghost_of(module: nn.Module, fake: FakeTensorMode) -> nn.Module:
    """A copy of a network with fake tensors in place of its parameters and buffers; shared ones stay shared.

    The network itself is not touched, whatever device it is on.
    """
    replaced: dict[int, object] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        if id(tensor) not in replaced:
            replaced[id(tensor)] = _ghost(tensor, fake)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return copy.deepcopy(module, replaced)


def _ghost(tensor: Tensor, fake: FakeTensorMode) -> Tensor:
    """A fake tensor, made without asking the dispatcher: networks have hundreds of parameters."""
    with torch._C._DisableTorchDispatch():
        content = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    made = FakeTensor(fake, content, torch.device("cpu"))
    if isinstance(tensor, nn.Parameter):
        made.requires_grad_(tensor.requires_grad)
        made._is_param = True  # what nn.Parameter itself sets on tensors of another class
    return made


def give_gradients(ghost: nn.Module, fake: FakeTensorMode) -> None:
    """Gradients for all that learns, as after a backward pass."""
    for parameter in ghost.parameters():
        if parameter.requires_grad:
            parameter.grad = _ghost(parameter.data, fake)


def materialised(module: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
    """A network whose lazy layers know their sizes: one picture of noise goes through those that do not yet.

    Raises:
        UsageError: when the network can't take such a picture.
    """
    tensors = (*module.parameters(), *module.buffers())
    if not any(isinstance(t, nn.UninitializedParameter | nn.UninitializedBuffer) for t in tensors):
        return module
    was = module.training
    try:
        with torch.no_grad():
            if any(t.is_meta for t in tensors):
                module.to_empty(device="cpu")
            module.eval()(torch.zeros(1, *shape))
    except RuntimeError as error:
        raise refused(error, shape) from None
    return module.train(was)


def refused(error: Exception, shape: tuple[int, int, int]) -> UsageError:
    """What to say when a network does not take the input."""
    form = "x".join(map(str, shape))
    said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return UsageError(
        f"the network does not take pictures of {form}: {said}",
        hint="give channels, height and width: --input CxHxW",
    )
