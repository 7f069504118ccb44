"""What a format of exported models is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Images = NDArray[np.uint8]

#: The only input of an exported model, and its dimensions that may be of any size, by position.
INPUT = "images"
FREE = {0: "count", 1: "height", 2: "width"}


@dataclass(frozen=True)
class Traced:
    """A model as a graph of tensor operations.

    Attributes:
        program: `(N, H, W, 3)`, 8 bits, of any size, to the outputs.
        outputs: their names, in order.
        metadata: what the file says about itself: text by name.
        size: height and width of the images, where only those of one size are taken; None: any.
    """

    program: ExportedProgram
    outputs: tuple[str, ...]
    metadata: Mapping[str, str]
    size: tuple[int, int] | None = None


class Runner(Protocol):
    """An exported model at work, by its own runtime."""

    def __call__(self, images: Images) -> Mapping[str, NDArray[Any]]:
        """`(N, H, W, 3)`, 8 bits, to the outputs by name."""
        ...


@dataclass(frozen=True)
class ExportFormat:
    """One format.

    Attributes:
        name: as `--to` takes it.
        files: what it writes.
        write: writes the files of a traced model into a folder.
        open: a folder that holds them → the model at work.
        graph: the file of OpenVINO's format that can be made one of 8-bit integers; None: there is none.
    """

    name: str
    files: tuple[str, ...]
    write: Callable[[Traced, Path], None]
    open: Callable[[Path], Runner]
    graph: str | None = None
