"""Remedies that change a network in place: what is planned with them is what is then run."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

_NUMBERS = itertools.count()
#: A sequence of this many plain layers or more is cut into pieces that are each checkpointed.
_LONG = 6


def freeze_backbone(module: nn.Module) -> None:
    """Only the last layer that has parameters is trained; nothing is kept for the gradients of the others."""
    owners = [m for m in module.modules() if any(True for _ in m.parameters(recurse=False))]
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    for parameter in owners[-1].parameters() if owners else ():
        parameter.requires_grad_(True)


def blocks_of(module: nn.Module) -> dict[str, nn.Module]:
    """The repeated parts of a network, by name: what lies in its sequences and is itself made of layers.

    A network that is one long sequence of layers (VGG) has its sequences instead, which are cut in pieces.
    """
    blocks: dict[str, nn.Module] = {}

    def walk(name: str, part: nn.Module) -> None:
        for child_name, child in part.named_children():
            full = f"{name}.{child_name}" if name else child_name
            if isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict):
                if any(any(True for _ in c.children()) for c in child.children()):
                    walk(full, child)
                elif isinstance(child, nn.Sequential) and len(child) >= _LONG:
                    blocks[full] = child
            elif any(True for _ in child.children()):
                if isinstance(part, nn.Sequential | nn.ModuleList | nn.ModuleDict) or not _has_sequence(child):
                    blocks[full] = child
                else:
                    walk(full, child)

    walk("", module)
    if not blocks and isinstance(module, nn.Sequential) and len(module) >= 2:
        blocks[""] = module
    return blocks


def _has_sequence(module: nn.Module) -> bool:
    return any(isinstance(m, nn.Sequential | nn.ModuleList | nn.ModuleDict) for m in module.modules())


def checkpoint_blocks(module: nn.Module, names: Collection[str] | None = None) -> None:
    """Blocks compute their activations again in the backward pass (Chen et al. 2016), instead of keeping them.

    Batch normalisation would count its statistics twice; while a block is computed again, they are left alone.

    Args:
        module: changed in place.
        names: of `blocks_of`; None for all.
    """
    for name, block in blocks_of(module).items():
        if names is None or name in names:
            plain = _in_pieces(block) if isinstance(block, nn.Sequential) else [block.forward]
            block.forward = partial(_checkpointed, block, plain)


def _in_pieces(sequence: nn.Sequential) -> list[Callable[..., Any]]:
    """A sequence as about √n pieces, so that neither their number nor their length costs most.

    No piece begins with a layer that works in place: what goes into a piece has to be there for the second time.
    """
    layers = list(sequence)
    length = max(2, round(len(layers) ** 0.5))
    pieces: list[list[nn.Module]] = [[]]
    for layer in layers:
        if len(pieces[-1]) >= length and not getattr(layer, "inplace", False):
            pieces.append([])
        pieces[-1].append(layer)
    return [partial(_run, piece) for piece in pieces]


def _run(layers: list[nn.Module], value: Any) -> Any:  # noqa: ANN401
    for layer in layers:
        value = layer(value)
    return value


def _checkpointed(block: nn.Module, pieces: list[Callable[..., Any]], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
    if not (block.training and torch.is_grad_enabled()):
        result, *rest = pieces[0](*args, **kwargs), *pieces[1:]
        for piece in rest:
            result = piece(result)
        return result
    contexts = partial(_contexts, block)
    args = tuple(list(a) if isinstance(a, list) else a for a in args)  # DenseNet's lists grow after the call
    result = checkpoint(pieces[0], *args, use_reentrant=False, context_fn=contexts, **kwargs)
    for piece in pieces[1:]:
        result = checkpoint(piece, result, use_reentrant=False, context_fn=contexts)
    return result


def _contexts(block: nn.Module) -> tuple[Any, Any]:
    from contextlib import nullcontext

    return nullcontext(), _statistics_alone(block)


@contextmanager
def _statistics_alone(block: nn.Module) -> Iterator[None]:
    """Batch normalisations compute as in training, and leave their running statistics as they are.

    With a momentum of 0 the statistics are written and stay the same: autograd still saves as many tensors.
    """
    norms = [m for m in block.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    kept = [(m, m.momentum, m.num_batches_tracked) for m in norms]
    for m in norms:
        m.momentum, m.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for m, momentum, count in kept:
            m.momentum, m.num_batches_tracked = momentum, count


@contextmanager
def offloaded(module: nn.Module) -> Iterator[None]:
    """What is saved for the backward pass lies in a temporary folder until it is needed (Rhu et al. 2016).

    The module's own parameters and buffers stay where they are. For a GPU, torch's own `save_on_cpu` does the same
    into the host's memory.
    """
    own = {t.untyped_storage()._cdata for t in (*module.parameters(), *module.buffers())}
    with (
        tempfile.TemporaryDirectory(prefix="foveal-") as folder,
        torch.autograd.graph.saved_tensors_hooks(partial(_put_away, folder, own), _brought_back),
    ):
        yield


def _put_away(folder: str, own: set[int], tensor: Tensor) -> Any:  # noqa: ANN401
    if tensor.untyped_storage()._cdata in own:  # autograd hands over aliases, not the parameters themselves
        return tensor
    if isinstance(tensor, FakeTensor):
        return tuple(tensor.shape), tensor.stride(), tensor.dtype, None
    plain = tensor.detach()
    name = f"{folder}/{next(_NUMBERS)}"
    plain.reshape(-1).view(torch.uint8).numpy().tofile(name) if plain.numel() else Path(name).touch()
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, name


def _brought_back(kept: Any) -> Tensor:  # noqa: ANN401
    if isinstance(kept, Tensor):
        return kept
    shape, _, dtype, name = kept
    fresh = torch.empty(shape, dtype=dtype)
    if name is not None and fresh.numel():
        with Path(name).open("rb") as file:
            file.readinto(fresh.view(-1).view(torch.uint8).numpy().data)
    return fresh
