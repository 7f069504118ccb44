"""Networks that others define, with fresh weights: timm's, torchvision's, and functions of any Python module."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from foveal.errors import BundleError, FovealError, UnknownName, UsageError

if TYPE_CHECKING:
    from torch import nn

#: Channels, height, width of an image.
Shape = tuple[int, int, int]


def timm_network(name: str, classes: int, shape: Shape) -> nn.Module:
    """A network of timm, for images of this shape.

    Args:
        name: as timm has it.
        classes: outputs.
        shape: of the images.
    """
    import timm

    arguments = {"num_classes": classes} | ({"in_chans": shape[0]} if shape[0] != 3 else {})
    network: nn.Module
    try:
        network = timm.create_model(name, **arguments, img_size=tuple(shape[1:]))
    except TypeError:  # convolutional networks take any size
        network = timm.create_model(name, **arguments)
    return network


def torchvision_network(name: str, classes: int, shape: Shape, *, auxiliary: bool = True) -> nn.Module:
    """A classifier of torchvision.

    Args:
        name: as torchvision has it.
        classes: outputs.
        shape: of the images.
        auxiliary: keep the auxiliary classifiers of GoogLeNet and Inception, which give several outputs in training.

    Raises:
        UsageError: for images that are not in colour.
    """
    from torchvision import models

    if shape[0] != 3:
        side = torchvision_side(name)
        raise UsageError(f"{name} takes 3 channels, not {shape[0]}", hint=f"--input 3x{side}x{side}")
    options = {} if auxiliary or name not in _AUXILIARY else {"aux_logits": False}
    with warnings.catch_warnings():  # two of them announce that their initial weights may change
        warnings.simplefilter("ignore", FutureWarning)
        network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **options)
    return network


#: Those of torchvision's networks that have auxiliary classifiers.
_AUXILIARY = ("googlenet", "inception_v3")


def torchvision_side(name: str) -> int:
    """The side of the images that a classifier of torchvision was published for, pixels."""
    from torchvision import models

    side: int = models.get_model_weights(name).DEFAULT.transforms.keywords["crop_size"]
    return side


def find_function(text: str) -> Callable[..., Any] | None:
    """The function that `package.module:function` names; None for a text of another form.

    The current folder is searched, too.

    Raises:
        UsageError: when the function does not exist.
    """
    module_name, colon, function_name = text.partition(":")
    if not colon or not all(part.isidentifier() for part in module_name.split(".")):
        return None
    if not function_name.isidentifier():
        raise UsageError(f"{text}: no function is named after the colon", hint="as in torchvision.models:resnet18")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        with _contained(f"the module {module_name}"):
            module = importlib.import_module(module_name)
    except FovealError:
        raise
    except ImportError as error:
        raise UsageError(
            f"{text}: {error}", hint="is the package installed, or the file in this folder?"
        ) from None
    except Exception as error:
        raise UsageError(f"{text}: {type(error).__name__}: {error}", hint="correct that module first") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UnknownName(f"function of {module_name}", function_name, known)
    return function  # type: ignore[no-any-return]


def call_function(text: str, function: Callable[..., Any]) -> nn.Module:
    """The network that a function makes.

    Args:
        text: `package.module:function`, for messages.
        function: takes no arguments, or none that are required.

    Raises:
        UsageError: when it needs arguments, fails, or returns something else.
    """
    from torch import nn

    needed = [
        p.name
        for p in _parameters(function)
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    if needed:
        raise UsageError(
            f"{text} needs arguments: {', '.join(needed)}", hint="give a function without required arguments"
        )
    try:
        with _contained(f"the function {text}"):
            module = function()
    except FovealError:
        raise
    except Exception as error:
        raise UsageError(f"{text}: {type(error).__name__}: {error}", hint="correct that function first") from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"{text} returns {type(module).__name__}", hint="it should return a torch.nn.Module")
    return module


def function_network(name: str, shape: Shape) -> nn.Module:
    """The network of a bundle that names a function. Lazy layers get the sizes that images of this shape give them.

    Raises:
        BundleError: when the function is not on this machine.
        UsageError: when it does not make a network.
    """
    try:
        function = find_function(name)
    except UsageError as error:
        raise BundleError(
            f"the network is made by the function {name}, which is not found: {error.message}",
            hint="install its package, or start foveal in the folder of its file",
        ) from None
    if function is None:
        raise BundleError(f"network: {name!r} is not of the form package.module:function", hint="train again")
    return with_sizes(call_function(name, function), shape)


def with_sizes(module: nn.Module, shape: Shape) -> nn.Module:
    """A network whose lazy layers have their sizes: one image of zeros goes through those that do not yet.

    Raises:
        RuntimeError: when the network can't take such an image.
    """
    import torch
    from torch import nn

    tensors = (*module.parameters(), *module.buffers())
    if not any(isinstance(t, nn.UninitializedParameter | nn.UninitializedBuffer) for t in tensors):
        return module
    was, device = module.training, "meta" if any(t.is_meta for t in tensors) else "cpu"
    with torch.no_grad():
        module.eval()(torch.zeros(1, *shape, device=device))
    return module.train(was)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Those of a function; none where Python can't tell, as for some that are written in C."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []


@contextmanager
def _contained(what: str) -> Iterator[None]:
    """The user's code: what it prints goes to stderr, and it does not end the program.

    Raises:
        UsageError: when it tries to; not for a signal, whose handler exits as well.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except SystemExit as request:
        if request.code in (130, 143):
            raise
        raise UsageError(
            f"{what} ends the program", hint="give a function that returns a torch.nn.Module"
        ) from None
