"""The output formats of `foveal predict`, by task and name. A new one is a file and a line here.

A format from outside is registered with `register_format`, which needs no change in this package.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from foveal.errors import UsageError
from foveal.inference.outputs.label_set_rows import LABEL_SET_CSV, LABEL_SET_PARQUET
from foveal.inference.outputs.mask_files import MASK_FILES, MASK_JSON
from foveal.inference.outputs.output_format import OutputFormat
from foveal.inference.outputs.table_csv import CSV
from foveal.inference.outputs.table_json import JSON
from foveal.inference.outputs.table_parquet import PARQUET
from foveal.output_files import check_file, check_folder

#: By task and name. The first format of a task is the one that is used where nothing else is asked for.
FORMATS: dict[tuple[str, str], OutputFormat] = {}


def register_format(output: OutputFormat) -> None:
    """Offer a format for its tasks; one of the same name is replaced."""
    for task in output.tasks:
        FORMATS[task, output.name] = output


for _format in (CSV, LABEL_SET_CSV, JSON, PARQUET, LABEL_SET_PARQUET, MASK_FILES, MASK_JSON):
    register_format(_format)


def formats_of(task: str) -> list[OutputFormat]:
    """The formats in which predictions of a task can be written, the usual one first."""
    return [output for (known, _), output in FORMATS.items() if known == task]


def choose_format(
    task: str, *, name: str | None = None, out: Path | None = None, json: bool = False
) -> OutputFormat:
    """The format that a command line asks for.

    Args:
        task: of the predictions.
        name: of the format; None: by the suffix of `out`.
        out: the file or folder to write; None: stdout.
        json: whether stdout is to be JSON.

    Raises:
        UsageError: when there is no such format, or it does not fit the target.
    """
    known = formats_of(task)
    if not known:
        raise UsageError(f"no output format is registered for the task {task!r}")
    if name is not None:
        chosen = _named(name.lower(), known)
    elif out is not None:
        chosen = _by_suffix(out, known)
    else:
        chosen = known[0]
    if out is None:
        chosen = _named("json", known) if json and (chosen.streams or chosen.folder) else chosen
        if chosen.folder:
            raise UsageError(
                f"{chosen.name} are written as a set of files", hint="say where: --out DIR; or --json"
            )
        if not chosen.streams:
            hint = f"name a file: --out predictions{chosen.suffixes[0] if chosen.suffixes else ''}"
            raise UsageError(f"{chosen.name} can't be written to a terminal", hint=hint)
    return chosen


def check_output(output: OutputFormat, out: Path, *, inputs: Iterable[str] = (), overwrite: bool = False) -> None:
    """Refuse a target before the work: see `check_file` and `check_folder`.

    Raises:
        UsageError: when writing there would destroy something, or can't succeed.
    """
    if output.folder:
        check_folder(out)
    else:
        hint = "give another name, or --overwrite"
        check_file(out, is_ours=wrote, inputs=inputs, overwrite=overwrite, hint=hint)


def wrote(path: Path) -> bool:
    """Whether an existing file was written in one of the registered formats."""
    return any(_wrote(output, path) for output in dict.fromkeys(FORMATS.values()))


def _wrote(output: OutputFormat, path: Path) -> bool:
    try:
        return output.is_ours(path)
    except (OSError, ValueError):  # it can't be read, or has another encoding
        return False


def _named(name: str, known: list[OutputFormat]) -> OutputFormat:
    for output in known:
        if output.name == name:
            return output
    raise UsageError(f"unknown output format {name!r}", hint=_one_of(known))


def _by_suffix(out: Path, known: list[OutputFormat]) -> OutputFormat:
    for output in known:
        if out.suffix.lower() in output.suffixes:
            return output
    for output in known:
        if output.folder:
            return output
    raise UsageError(f"{out.name!r} does not name an output format", hint=f"use --format: {_one_of(known)}")


def _one_of(known: list[OutputFormat]) -> str:
    return f"one of {', '.join(output.name for output in known)}"
