"""What an output format of `foveal predict` is. `formats.py` has the list of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from foveal.output_files import saving
from foveal.values import LabelMap

#: Where predictions are written: a file or folder by name, or an open text stream.
Target = Path | TextIO


def _ignore(*_: object) -> None:
    """The default for what is reported."""


def _not_ours(_: Path) -> bool:
    """The default of a format: none of its files is known again."""
    return False


@dataclass(frozen=True)
class OutputOptions:
    """What a format may need besides the predictions.

    Attributes:
        topk: how many classes a row lists; no more than there are.
        label_map: of predicted masks.
        classes: of the model.
        inputs: paths of the images that are predicted on; a folder that holds one of them is not written to.
        on_file: told of each file that a format writes for one image.
        on_error: told path and reason of each image without a file, by formats that write files for each image.
        on_record: given the JSON object in which a format lists its files.
        on_partial: told of the file that holds the predictions so far, when a format can't go on.
        overwrite: whether files that foveal did not write may be replaced; images are kept all the same.
    """

    topk: int = 1
    label_map: LabelMap | None = None
    classes: Sequence[str] = ()
    inputs: Sequence[str] = ()
    on_file: Callable[[str], None] = _ignore
    on_error: Callable[[str, str], None] = _ignore
    on_record: Callable[[Mapping[str, Any]], None] = _ignore
    on_partial: Callable[[Path], None] = _ignore
    overwrite: bool = False


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
        is_ours: whether an existing file was written by this format: only then it is replaced without asking. An
            OSError or ValueError means that it was not.
    """

    name: str
    write: Callable[[Iterable[Any], Target, OutputOptions], int]
    tasks: tuple[str, ...] = ("classify",)
    suffixes: tuple[str, ...] = ()
    streams: bool = True
    folder: bool = False
    note: str = ""
    is_ours: Callable[[Path], bool] = _not_ours


@contextmanager
def text_stream(target: Target, options: OutputOptions | None = None) -> Iterator[TextIO]:
    """The target if it is a stream; otherwise a text file that takes its place when it is complete.

    Names that are not UTF-8 keep their bytes. When the block fails, what it wrote stays beside the target, and
    `on_partial` of the options is told.
    """
    if not isinstance(target, Path):
        yield target
        return
    with (
        saving(target, options.on_partial if options else _ignore) as part,
        part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        yield stream
