"""A bundle as a graph of tensor operations."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from foveal.errors import UsageError
from foveal.export.format import FREE, INPUT, Traced
from foveal.export.whole import whole
from foveal.inference.bundle import Bundle


def traced(bundle: Bundle, metadata: Callable[[Sequence[str]], Mapping[str, str]]) -> Traced:
    """A bundle, traced.

    Args:
        bundle: the model.
        metadata: the names of the outputs → what the file says about itself.

    Raises:
        UsageError: when it can't be: for its task, its preprocessing, or a layer.
    """
    module: Any = whole(bundle)
    example = torch.randint(0, 256, (2, *(module.size or (75, 100)), 3), dtype=torch.uint8)
    free = {i: torch.export.Dim.DYNAMIC for i in FREE if i == 0 or module.size is None}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, (example,), dynamic_shapes={INPUT: free})
    except Exception as error:  # whatever an exporter raises for a network that it can't take
        words = " ".join(str(error).split())[:200]
        raise UsageError(
            f"this network can't be exported: {type(error).__name__}: {words}",
            hint="does it decide by the values of its input? predict with foveal instead",
        ) from None
    return Traced(program, module.outputs, metadata(module.outputs), module.size)
