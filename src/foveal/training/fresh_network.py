"""`--from-scratch MODEL`: on which images a network is trained from fresh weights, and whether it can be.

The network is run on tensors without content for that, so that a mistake is found before the images are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from foveal.data.images.probe import ImageProbe
from foveal.errors import FovealError, MemoryShort, UsageError
from foveal.models.networks import build, completed
from foveal.models.resolve import Resolved, resolve
from foveal.values import Preprocess

if TYPE_CHECKING:
    from torch import nn

#: Channels, height, width of an image.
Shape = tuple[int, int, int]

#: Images are not made larger than this for a network that takes any size, pixels: larger ones cost too much.
LARGEST = 224
#: Networks that were published for large images halve them about five times: of fewer pixels, too little is left.
LEAST = 64
#: Sides that a function's network may be made for, where it does not take the images' own.
_USUAL_SIDES = (224, 32, 28, 64, 96, 128, 256, 299)


def choose_input(
    model: str, definition: Mapping[str, Any], probe: ImageProbe, classes: int, memory: int | None
) -> tuple[Preprocess, str]:
    """How images become the input of a network that is trained from scratch; and why, in words.

    Args:
        model: MODEL as the user gave it.
        definition: of the network, see `networks.completed`.
        probe: what the images are like.
        classes: how many are named in the data; images that are excluded later may leave fewer.
        memory: the memory limit in bytes, if one was given.

    Raises:
        UsageError: when the network takes no such images, does not give logits `(N, K)`, or has more outputs than
            there are classes.
        MemoryShort: when not even a training step of one image fits into the memory.
    """
    from foveal.planner.fake_network import built
    from foveal.planner.passes import outputs_of

    resolved, refusals = resolve(model), []
    for shape in _candidates(resolved, probe):
        network = completed(definition, shape, classes)
        try:
            module = built(lambda network=network: build(network))  # type: ignore[misc]
        except FovealError as refusal:
            refusals.append(refusal)
            continue
        _check_storable(model, module)
        try:
            outputs = outputs_of(module, shape)
        except UsageError as refusal:
            refusals.append(UsageError(refusal.message, hint="give a network that takes images of such a size"))
            continue
        _check_logits(model, outputs, classes, fewer=True)
        if definition["architecture"] == "function":
            _check_fresh(model, module, built(lambda network=network: build(network)))  # type: ignore[misc]
        cost = _cost(model, module, shape, memory)
        plain = Preprocess(size=shape[1], resize="pad", interpolation="bilinear")
        preprocess = replace(plain, channels=1 if shape[0] == 1 else 3, background=probe.background)
        return preprocess, f"{model}: {_form(shape, resolved, probe)}; {cost}"
    raise refusals[0]


def check_classes(network: Mapping[str, Any], name: str, shape: Shape, classes: int) -> None:
    """Check that a network whose definition fixes its number of outputs has one for each class.

    Args:
        network: what `networks.build` takes.
        name: for the message.
        shape: of the images.
        classes: how many there are to learn.

    Raises:
        UsageError: which names both numbers.
    """
    if "classes" in network:
        return
    from foveal.planner.fake_network import built
    from foveal.planner.passes import outputs_of

    _check_logits(name, outputs_of(built(lambda: build(network)), shape), classes, fewer=False)


def _candidates(resolved: Resolved, probe: ImageProbe) -> Iterator[Shape]:
    """Shapes of images to try, the best first."""
    side = probe.side or LARGEST
    if resolved.kind == "torchvision":
        channels: tuple[int, ...] = (3,)
    elif resolved.kind == "sketch":
        channels = (1,) if probe.grey else (3,)
    else:
        channels = (1, 3) if probe.grey else (3, 1)
    if resolved.input is None:
        sides = [min(side, LARGEST)]
        sides += _USUAL_SIDES if resolved.kind != "sketch" else ()
    else:
        published = max(resolved.input[1:])
        sides = [min(published, max(side, LEAST)), published]
    for size in dict.fromkeys(sides):
        for count in channels:
            yield (count, size, size)


def _form(shape: Shape, resolved: Resolved, probe: ImageProbe) -> str:
    """The images as the network gets them, and why so."""
    channels, size, _ = shape
    if size == probe.side:
        why = "their own size"
    elif resolved.input is not None and size == max(resolved.input[1:]):
        why = "the size that the network is made for"
    elif resolved.input is not None and size == LEAST:
        why = f"enlarged from {probe.side}"
    else:
        why = f"reduced from {probe.side}" if size < probe.side else "a size that the network takes"
    if (channels == 1) == probe.grey:
        colour = "grey" if probe.grey else "in colour"
    else:
        colour = (
            "grey in three equal channels" if probe.grey else "without colour, as the network takes one channel"
        )
    return f"images of {channels} × {size} × {size} ({why}, {colour})"


def _check_logits(name: str, outputs: object, classes: int, *, fewer: bool) -> None:
    """Refuse what is not one logit for each class; with `fewer` there may turn out to be fewer classes."""
    from torch import Tensor

    if not isinstance(outputs, Tensor):
        raise UsageError(
            f"{name} gives a {type(outputs).__name__} in training, not a tensor of logits",
            hint="give a network that returns logits (N, classes) alone",
        )
    if outputs.ndim != 2 or len(outputs) != 2:  # of two images
        form = " × ".join(map(str, outputs.shape[1:])) or "one number"
        raise UsageError(
            f"{name} gives {form} for each image, not one logit for each of {classes} classes",
            hint=f"let it end with a linear layer of {classes} outputs, in a sketch -gap-dense{classes}",
        )
    count = outputs.shape[1]
    if count > classes or (count < classes and not fewer):
        raise UsageError(
            f"{name} has {count} outputs, the data have {classes} classes",
            hint=f"let its last layer have {classes} outputs, in a sketch dense{classes}",
        )


def _check_storable(name: str, module: nn.Module) -> None:
    """Refuse weights that a training in fp32, or a bundle, can't keep, before they are trained."""
    import torch

    for key, value in module.state_dict().items():
        if not isinstance(value, torch.Tensor) or value.dtype in (torch.bfloat16, torch.complex64):
            raise UsageError(
                f"{name}: {key} can't be kept in a bundle", hint="give a network with weights in fp32"
            )
    for key, parameter in module.named_parameters():
        if parameter.dtype != torch.float32:
            raise UsageError(f"{name}: {key} is {parameter.dtype}", hint="give a network with weights in fp32")


def _check_fresh(name: str, one: nn.Module, other: nn.Module) -> None:
    """Refuse a function that gives the same weights again, since those of a replay would be trained ones."""
    if {id(p) for p in one.parameters()} & {id(p) for p in other.parameters()}:
        raise UsageError(f"{name} gives the same parameters twice", hint="make new layers in each call")


def _cost(name: str, module: nn.Module, shape: Shape, memory: int | None) -> str:
    """What a step of one image takes, in words: the loop makes a step so small where memory is short.

    Raises:
        MemoryShort: when that is more than there is.
    """
    from foveal.engines.torch_engine import best_device
    from foveal.planner.planning import plan
    from foveal.planner.sheet import size_text

    parameters = f"{sum(p.numel() for p in module.parameters()):,} parameters"
    if best_device() != "cpu":
        return parameters  # the loop plans with the memory that the GPU has by then
    needed = []
    for checkpoint in ("none", "blocks"):
        try:
            found = plan(
                module, input=shape, batch=1, optimizer="adamw-foreach", checkpoint=checkpoint, memory=memory,
                remedies=False,
            )  # fmt: skip
        except UsageError as refusal:  # trained all the same, and watched, as any network that can't be traced
            if checkpoint == "none":
                return f"{parameters}, not planned: {refusal.message}"
            break
        if found.fits.ok:
            return f"{parameters}, {size_text(found.train.upper_bound_bytes)} for a step of one image"
        needed.append(found.rss_bytes)
    raise MemoryShort(
        f"{size_text(found.fits.budget_bytes or 0)} of memory is too little: {name} needs at least "
        f"{size_text(min(needed))}",
        hint="allow more with --memory, or give a smaller network",
    )
