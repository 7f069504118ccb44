"""A run folder: created before the run starts, filled file by file, `summary.json` last."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from foveal.clock import Clock
from foveal.config import TrainConfig
from foveal.data.dataset import Dataset, reopen_dataset
from foveal.data.sources.list_data import is_named
from foveal.decisions import Decisions
from foveal.errors import BundleError, UsageError
from foveal.files import read_json, write_json, write_text
from foveal.machine import versions
from foveal.progress import logged_seconds

#: What a run returns: its folder, and the content of its `summary.json`.
Run = tuple[Path, dict[str, Any]]


@dataclass
class Start:
    """What a run starts from: data, settings, and the earlier decisions of a run that is resumed or replayed."""

    data: str
    config: TrainConfig
    decisions: Decisions = field(default_factory=Decisions)
    dataset: Dataset | None = None
    budgets: Mapping[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """The task of the data, once they are read; before that the task in the settings."""
        return self.dataset.task if self.dataset is not None else self.config.task

    def keep_in(self, run: RunFolder, clock: Clock) -> None:
        """Write `config.json` now, and after each decision.

        Decisions after a request to stop are not written: they would be different in a run that goes on.
        """
        run.write("config.json", self.to_dict())

        def on_new() -> None:
            clock.check()
            run.write("config.json", self.to_dict())

        self.decisions.on_new = on_new

    def to_dict(self) -> dict[str, Any]:
        """As `config.json`."""
        data = self.data if is_named(self.data) else os.path.abspath(self.data)
        return {
            **self.config.to_dict(),
            "data": data,
            "versions": versions(),
            **self.budgets,
            **self.decisions.to_dict(),
        }


def continued(path: Path) -> tuple[RunFolder, Start]:
    """A run that was stopped, to be resumed in its own folder.

    Raises:
        UsageError: when it is finished already.
        BundleError: when it is not a run, or was stopped before its images were read.
    """
    if (path / "summary.json").exists():
        raise UsageError(f"{path} is a finished run", hint=f"repeat it with --replay {path}")
    return RunFolder(path, made=False), _start(path)


def repeated(path: Path) -> Start:
    """A finished run, to be repeated elsewhere.

    Raises:
        BundleError: when it is not a run, or not finished.
    """
    if not (path / "summary.json").exists() and (path / "config.json").exists():
        raise UsageError(f"{path} is not finished", hint=f"resume it: --resume {path}")
    return _start(path)


def _start(path: Path) -> Start:
    known = read_run(path, "config.json")
    try:
        config = TrainConfig.from_dict(known)
        decisions, data = Decisions.from_dict(known), str(known["data"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path / 'config.json'}: {error}", hint="was it written by another version?") from None
    return Start(data, config, decisions, reopen_dataset(path))


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run. `made`: whether foveal created it, rather than the user."""

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
        try:
            base.parent.mkdir(parents=True, exist_ok=True)
            for n in count(2):
                try:
                    path.mkdir()
                    return cls(path, made=True)
                except FileExistsError:
                    if out:
                        break
                path = base.with_name(f"{base.name}-{n}")  # another run began in the same second
            if any(path.iterdir()):
                raise UsageError(f"{path} exists and is not empty", hint="give a new folder with --out")
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", hint="give another folder with --out") from None
        return cls(path, made=False)

    @property
    def model(self) -> Path:
        """Where the bundle is."""
        return self.path / "model"

    def clock_going_on(self, clock: Clock, budget: float, more: float | None) -> Clock:
        """The clock of a resumed run: its earlier seconds count against the budget, or `more` seconds are left."""
        spent = logged_seconds(self.path / "log.jsonl")
        clock.born -= spent
        clock.budget = budget if more is None else spent + more
        return clock

    def write(self, name: str, value: Mapping[str, Any] | str) -> None:
        """A JSON or text file, whole or not at all."""
        if isinstance(value, str):
            write_text(self.path / name, value)
        else:
            write_json(self.path / name, value)

    def discard_if_bare(self) -> None:
        """Remove the folder, if foveal created it, when the run ended before anything but its log was written."""
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
