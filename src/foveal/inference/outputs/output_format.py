"""What an output format of `foveal predict` is. `formats.py` has the list of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from foveal.files import replacing
from foveal.values import LabelMap

#: Where predictions are written: a file or folder by name, or an open text stream.
Target = Path | TextIO


def _ignore(*_: object) -> None:
    """The default for what is reported."""


@dataclass(frozen=True)
class OutputOptions:
    """What a format may need besides the predictions.

    Attributes:
        topk: how many classes a row lists.
        label_map: of predicted masks.
        inputs: paths of the images that are predicted on; a folder that holds one of them is not written to.
        on_file: told of each file that a format writes for one image.
        on_error: told path and reason of each image without a file, by formats that write files for each image.
        on_record: given the JSON object in which a format lists its files.
    """

    topk: int = 1
    label_map: LabelMap | None = None
    inputs: Sequence[str] = ()
    on_file: Callable[[str], None] = _ignore
    on_error: Callable[[str, str], None] = _ignore
    on_record: Callable[[Mapping[str, Any]], None] = _ignore


@dataclass(frozen=True)
class OutputFormat:
    """A form in which predictions are written.

    Attributes:
        name: as in `--format NAME`.
        write: writes predictions to a target as they come and returns how many; a file or folder appears whole.
        tasks: whose predictions it can write.
        suffixes: of the file names by which it is chosen, with the dot.
        streams: whether it can be written to a stream, stdout for one.
        folder: whether its target is a folder, with files for each image.
        note: what else the user finds there, for a message.
    """

    name: str
    write: Callable[[Iterable[Any], Target, OutputOptions], int]
    tasks: tuple[str, ...] = ("classify",)
    suffixes: tuple[str, ...] = ()
    streams: bool = True
    folder: bool = False
    note: str = ""


@contextmanager
def text_stream(target: Target) -> Iterator[TextIO]:
    """The target if it is a stream; otherwise a text file that takes its place when it is complete.

    Names that are not UTF-8 keep their bytes.
    """
    if not isinstance(target, Path):
        yield target
        return
    with (
        replacing(target) as part,
        part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        yield stream
