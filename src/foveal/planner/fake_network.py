"""A network whose tensors have form and no content: the same modules, nothing to compute."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    UnsupportedOperatorException,
)

from foveal.errors import UsageError
from foveal.models.foreign import with_sizes


def built(build: Callable[[], nn.Module]) -> nn.Module:
    """A network made without its weights, where its constructor can do without them."""
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return build()
    except (RuntimeError, NotImplementedError, ValueError, TypeError):
        return build()  # some constructors read values (`linspace(…).item()`)


#: The mode that tensors without content live in; None: the tensors of a recording have content.
Fake = FakeTensorMode | None


def to_fake_network(module: nn.Module, fake: Fake) -> nn.Module:
    """A copy of a network with fake tensors in place of its parameters and buffers; shared ones stay shared.

    The network itself is not touched, whatever device it is on. Without a mode the copy has content: its own, or
    some noise where it was built without.
    """
    if fake is None:
        return _with_content(copy.deepcopy(module))
    replaced: dict[int, object] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        if id(tensor) not in replaced:
            replaced[id(tensor)] = _to_fake(tensor, fake)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return copy.deepcopy(module, replaced)


def _with_content(module: nn.Module) -> nn.Module:
    tensors = (*module.parameters(), *module.buffers())
    if any(t.is_meta for t in tensors):
        module.to_empty(device="cpu")
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.normal_(0, 0.02)
            for buffer in module.buffers():
                buffer.fill_(1 if buffer.is_floating_point() else 0)
    return module


def _to_fake(tensor: Tensor, fake: Fake) -> Tensor:
    """A fake tensor, made without asking the dispatcher: networks have hundreds of parameters."""
    if fake is None:
        return torch.zeros_like(tensor)
    with torch._C._DisableTorchDispatch():
        content = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    made = FakeTensor(fake, content, torch.device("cpu"))
    if isinstance(tensor, nn.Parameter):
        made.requires_grad_(tensor.requires_grad)
        made._is_param = True  # what nn.Parameter itself sets on tensors of another class
    return made


def add_gradients(fake_network: nn.Module, fake: Fake) -> None:
    """Gradients for all that is trained, as after a backward pass."""
    for parameter in fake_network.parameters():
        if parameter.requires_grad:
            parameter.grad = _to_fake(parameter.data, fake)


def materialised(module: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
    """A network whose lazy layers have the sizes that images of this shape give them.

    Raises:
        UsageError: when the network can't take such an image.
    """
    try:
        return with_sizes(module, shape)
    except RuntimeError as error:
        raise refused(error, shape) from None


def wants_content(refusal: UsageError) -> bool:
    """Whether a network was refused because it depends on the values of its tensors."""
    cause = refusal.__cause__
    kinds = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException)
    return isinstance(cause, kinds) or "FakeTensor" in str(cause) or "meta tensor" in str(cause)


def refused(error: Exception, shape: tuple[int, int, int]) -> UsageError:
    """What to say when a network does not take the input."""
    form = "x".join(map(str, shape))
    said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return UsageError(
        f"the network does not take images of {form}: {said}",
        hint="give channels, height and width: --input CxHxW",
    )
