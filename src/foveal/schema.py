"""What values that come back from disk may be: types with their ranges, and the one function that checks them.

JSON that foveal wrote may have been damaged, edited, or written by another version. Whoever reads it states a type,
a dataclass say, and gets either a value of that type or an error that names the file and the field.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import Meta, ValidationError, convert

from foveal.errors import BundleError, DataError, FovealError
from foveal.files import cannot_write, read_json, sha256_of, sha256_of_json, write_json

T = TypeVar("T")

#: Names are what people see: a class, a backbone.
Name = Annotated[str, Meta(min_length=1, max_length=1000)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Positive = Annotated[int, Meta(ge=1, le=2**53)]
#: Sides of images and boxes, pixels, and widths of layers: more would ask for more memory than there is.
Side = Annotated[int, Meta(ge=1, le=4096)]
SideOrZero = Annotated[int, Meta(ge=0, le=4096)]
Byte = Annotated[int, Meta(ge=0, le=255)]
#: A number between 0 and 1: a share, a probability, a threshold.
Share = Annotated[float, Meta(ge=0, le=1)]
#: A mean of 8-bit values, and their standard deviation, which is divided by.
Level = Annotated[float, Meta(ge=0, le=255)]
Deviation = Annotated[float, Meta(ge=1e-3, le=1e4)]
#: Logits are divided by it; `metrics.calibration.fit_temperature` stays within [0.05, 20].
Temperature = Annotated[float, Meta(ge=0.01, le=100)]
#: Neither infinite nor "not a number".
Finite = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
#: Up to three years.
Seconds = Annotated[float, Meta(ge=0, le=1e8)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]

CHANGED = "was the file changed by hand?"


def checked(
    values: Any,  # noqa: ANN401
    kind: type[T] | Any,  # noqa: ANN401
    where: str,
    *,
    error: type[FovealError] = BundleError,
    hint: str = CHANGED,
) -> T:
    """Values from JSON as a type.

    Args:
        values: what `json.loads` gave.
        kind: a dataclass, whose fields have types as above, or any other type that msgspec knows.
        where: the file, and where in it.
        error: what is raised.
        hint: of the error.

    Raises:
        FovealError: of the class `error`, for a value of another type or out of range, and for a field of a
            dataclass that is missing or not known; with the name of the field.
    """
    try:
        if is_dataclass(kind) and isinstance(values, Mapping):
            unknown = sorted(set(map(str, values)) - {f.name for f in fields(kind)})
            if unknown:
                raise ValidationError(f"unknown field `{unknown[0]}`")
        result: T = convert(values, kind)
    except (ValidationError, RecursionError, UnicodeError) as refusal:  # the last: halves of surrogate pairs
        raise error(f"{where}: {_in_words(refusal)}", hint=hint) from None
    return result


def signed(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-able values with their own hash, as `sha256`."""
    rest = {k: v for k, v in values.items() if k != "sha256"}
    return {**rest, "sha256": sha256_of_json(rest)}


def is_signed(values: Any) -> bool:  # noqa: ANN401
    """Whether values from JSON are what `signed` gave."""
    try:
        return isinstance(values, Mapping) and values.get("sha256") == signed(values)["sha256"]
    except RecursionError:  # nested as deeply as foveal never writes
        return False


def read_cached(file: Path, kind: Any) -> Any:  # noqa: ANN401
    """What `write_cached` wrote, as a type; None when there is nothing, or whatever is wrong with it."""
    try:
        known = read_json(file)
        return convert(known["value"], kind) if is_signed(known) and "value" in known else None
    except (OSError, ValueError, RecursionError, ValidationError):
        return None


def write_cached(file: Path, value: object) -> None:
    """Write JSON that can be computed again. A folder in its place goes; a disk that can't be written is reported."""
    try:
        if file.is_dir():
            shutil.rmtree(file)
        write_json(file, signed({"value": value}))
    except OSError as error:
        cannot_write(error)


def check_listed(file: Path) -> None:
    """Compare a file of a run with the hashes that the run's `config.json` lists for it.

    Raises:
        DataError: when it is none of these, or `config.json` was changed. A file alone, or one that is not listed,
            passes: there is nothing to compare it with.
    """
    try:
        config = read_json(file.with_name("config.json"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise DataError(f"{file.with_name('config.json')}: {error}", hint=CHANGED) from None
    if not is_signed(config):
        raise DataError(f"{file.with_name('config.json')}: the content does not match its own hash", hint=CHANGED)
    listed: dict[str, list[str]]
    listed = checked(config.get("files", {}), dict[str, list[str]], "config.json: files", error=DataError)
    if file.name in listed and sha256_of(file) not in listed[file.name]:
        raise DataError(f"{file}: the content does not match its hash in config.json", hint=CHANGED)


def _in_words(refusal: Exception) -> str:
    """msgspec names the place as `$.preprocess.std[0]`, last."""
    text, _, place = str(refusal).partition(" - at `$")
    place = place.rstrip("`").removeprefix(".")
    return f"{place}: {text}" if place else text
