"""An exported model's folder: the files of its format and `export.json`, which appear at once and are hash-checked."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foveal.errors import BundleError, UsageError
from foveal.export.format import ExportFormat, Runner
from foveal.export.formats import find_format
from foveal.files import move_folder, read_json, sha256_of, write_json
from foveal.output_files import check_folder
from foveal.schema import CHANGED, Name, Sha256, checked, is_signed, signed
from foveal.values import SCHEMA

RECORD = "export.json"


@dataclass(frozen=True)
class _Record:
    """What is read back of `export.json`."""

    format: Name
    files: dict[str, Sha256]


def check_target(out: Path) -> None:
    """Refuse a folder that holds anything but an earlier export.

    Raises:
        UsageError: with the folder.
    """
    check_folder(out)
    if out.is_dir() and any(out.iterdir()) and not (out / RECORD).is_file():
        raise UsageError(f"{out} is not empty, and holds no earlier export", hint="give a new folder: --out DIR")


class Unpublished:
    """A folder beside the one that is to be published, in which its files are made. A context manager.

    Args:
        out: the folder that will hold the export; an earlier export in it is replaced.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._folder: Path | None = None

    def __enter__(self) -> Path:
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix=f".{self._out.name}-", suffix=".part", dir=self._out.parent))
        self._folder.chmod(0o755)
        return self._folder

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def publish(self, format: ExportFormat, record: Mapping[str, Any]) -> None:
        """Write `export.json` and rename the folder.

        Raises:
            OSError: when that fails; what was there before stays.
        """
        assert self._folder is not None
        files = {name: sha256_of(self._folder / name) for name in format.files}
        write_json(
            self._folder / RECORD, signed({"schema": SCHEMA, "format": format.name, "files": files, **record})
        )
        if not self._out.exists():
            move_folder(self._folder, self._out)
            return
        earlier = self._folder.with_suffix(".earlier")
        move_folder(self._out, earlier)
        try:
            move_folder(self._folder, self._out)
        except OSError:
            move_folder(earlier, self._out)
            raise
        shutil.rmtree(earlier, ignore_errors=True)


def read_record(folder: Path) -> dict[str, Any]:
    """`export.json`, once the files are known to be those that were checked.

    Raises:
        BundleError: when it is missing, of a newer schema, or a file does not have its hash.
    """
    file = folder / RECORD
    try:
        values = read_json(file)
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}", hint="give a folder that `foveal export` wrote") from None
    except ValueError as error:
        raise BundleError(f"{file}: {error}", hint="the file is damaged: export again") from None
    if not isinstance(values, Mapping):
        raise BundleError(f"{file} holds no object", hint=CHANGED)
    if values.get("schema") != SCHEMA:
        raise BundleError(
            f"{file}: this export has schema {values.get('schema')!r}, this foveal reads {SCHEMA}",
            hint="upgrade foveal, or export again",
        )
    if not is_signed(values):
        raise BundleError(f"{file}: the content does not match its own hash", hint=CHANGED)
    record: _Record = checked({k: values.get(k) for k in ("format", "files")}, _Record, str(file))
    for name, digest in record.files.items():
        _check_file(folder / name, digest)
    return dict(values)


def open_export(folder: Path) -> Runner:
    """An exported model at work, once its files are known to be those that were checked.

    Raises:
        BundleError: see `read_record`.
        UnknownName: for a format that is not registered.
    """
    return find_format(read_record(folder)["format"]).open(folder)


def _check_file(file: Path, digest: str) -> None:
    try:
        found = sha256_of(file)
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}", hint="copy the whole folder, or export again") from None
    if found != digest:
        raise BundleError(
            f"{file}: the content does not match its hash in {RECORD}",
            hint="the copy is incomplete or damaged: copy the folder again, or export again",
        )
