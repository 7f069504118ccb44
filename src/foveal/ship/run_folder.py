"""A run folder: created before the work, filled file by file, `summary.json` last."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foveal.errors import BundleError, UsageError
from foveal.files import read_json, write_json, write_text


@dataclass(frozen=True)
class RunFolder:
    """One run's folder; `made` unless the user had made it, empty, before."""

    path: Path
    made: bool = True

    @classmethod
    def create(cls, out: str | None, name: str) -> RunFolder:
        """A new folder: `out`, or `runs/NAME-YYYYMMDD-HHMMSS` here.

        Raises:
            UsageError: when it exists with something in it, or can't be made.
        """
        plain = re.sub(r"[^\w.-]+", "-", name)
        base = Path(out) if out else Path("runs") / f"{plain}-{time.strftime('%Y%m%d-%H%M%S')}"
        path = base
        for n in range(2, 100):
            if out or not path.exists():
                break
            path = base.with_name(f"{base.name}-{n}")
        try:
            if path.exists() and any(path.iterdir()):
                raise UsageError(f"{path} exists and is not empty", hint="give a new folder with --out")
            made = not path.exists()
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", hint="give another folder with --out") from None
        return cls(path, made)

    @property
    def model(self) -> Path:
        """Where the bundle lies."""
        return self.path / "model"

    def write(self, name: str, value: Mapping[str, Any] | str) -> None:
        """A JSON or text file, whole or not at all."""
        if isinstance(value, str):
            write_text(self.path / name, value)
        else:
            write_json(self.path / name, value)

    def discard_if_bare(self) -> None:
        """Remove the folder, if it is ours, when the run ended before anything but its log was written."""
        files = list(self.path.iterdir())
        if all(f.name == "log.jsonl" for f in files):
            for f in files:
                f.unlink()
            if self.made:
                self.path.rmdir()


def read_run(path: str | Path, name: str) -> dict[str, Any]:
    """A JSON file of a finished run.

    Raises:
        BundleError: when the run is not finished or not a run.
    """
    file = Path(path) / name
    try:
        content: dict[str, Any] = read_json(file)
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}", hint="give the folder of a finished run") from None
    except ValueError as error:
        raise BundleError(f"{file}: {error}", hint="the file is damaged") from None
    return content
