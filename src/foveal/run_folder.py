"""A run folder: created before the run starts, filled file by file, `summary.json` last."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from foveal.clock import Clock
from foveal.config import TrainConfig, settings_of
from foveal.data.dataset import Dataset, read_audit, reopen_dataset
from foveal.data.images.storage import is_remote
from foveal.data.sources.list_data import is_named
from foveal.data.split.fingerprints import FILE_NAME as FINGERPRINTS
from foveal.decisions import Decisions
from foveal.errors import BundleError, UsageError
from foveal.files import dumps, encoded, move_folder, read_json, sha256_of, write_bytes
from foveal.machine import versions
from foveal.models.shipped import DELIVERED, MEASURED
from foveal.output_files import check_folder
from foveal.progress import logged_seconds, read_log
from foveal.schema import Sha256, checked, is_signed, signed

#: What a run returns: its folder, and the content of its `summary.json`.
Run = tuple[Path, dict[str, Any]]


@dataclass
class Start:
    """What a run starts from: data, settings, and the earlier decisions of a run that is resumed or replayed.

    Attributes:
        data, config: what was asked for.
        decisions, dataset, audit: of the run that is resumed or replayed; `audit` as in its `audit.json`.
        budgets: what was reserved for what, for `config.json`.
        files: names of the run's files → the hashes that each may have, see `schema.check_listed`.
    """

    data: str
    config: TrainConfig
    decisions: Decisions = field(default_factory=Decisions)
    dataset: Dataset | None = None
    audit: Mapping[str, Any] | None = None
    budgets: Mapping[str, Any] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """The task of the data, once they are read; before that the task in the settings."""
        return self.dataset.task if self.dataset is not None else self.config.task

    def keep_in(self, run: RunFolder, clock: Clock) -> None:
        """Write `config.json` now, with the hashes of the files that a resumed run reads, and after each decision.

        Decisions after a request to stop are not written: they would be different in a run that goes on.
        """
        self.files = {name: [sha256_of(run.path / name)] for name in ("audit.json", "split.csv")}
        run.write("config.json", self.to_dict())

        def on_new() -> None:
            clock.check()
            run.write("config.json", self.to_dict())

        self.decisions.on_new = on_new

    def write_listed(self, run: RunFolder, name: str, content: str) -> None:
        """Write a text file anew that is among `files`: first it is listed, so that either version is right."""
        self.files.setdefault(name, []).append(hashlib.sha256(encoded(content)).hexdigest())
        run.write("config.json", self.to_dict())
        run.write(name, content)

    def to_dict(self) -> dict[str, Any]:
        """As `config.json`, with its own hash."""
        data = self.data if is_named(self.data) or is_remote(self.data) else os.path.abspath(self.data)
        return signed(
            {
                **self.config.to_dict(),
                "data": data,
                "versions": versions(),
                **self.budgets,
                "files": self.files,
                **self.decisions.to_dict(),
            }
        )


def stopped(path: Path) -> RunFolder:
    """The folder of a run that was stopped, to be resumed in it.

    Raises:
        UsageError: when it is finished, or was stopped before there was anything to resume.
        BundleError: when it is not a run.
    """
    if _is_unbegun(path):
        raise UsageError(
            f"{path} was stopped while its images were read: there is nothing to resume",
            hint=f"start it again: foveal train DATA --out {path}",
        )
    folder = RunFolder(path, made=False)
    if not folder.has("config.json"):
        raise BundleError(f"{path / 'config.json'} is missing", hint="give the folder of a run that was stopped")
    folder.refuse_if_finished()
    return folder


def continued(run: RunFolder) -> Start:
    """What a run that was stopped goes on from; read while its folder is locked.

    Raises:
        UsageError: when another process has finished it.
        BundleError, DataError: when its files are damaged, or its images changed.
    """
    run.refuse_if_finished()
    return _start(run.path)


def repeated(path: Path) -> Start:
    """A finished run, to be repeated elsewhere.

    Raises:
        UsageError: when it is not finished.
        BundleError, DataError: when it is not a run, or its files are damaged.
    """
    if not (path / "summary.json").exists() and (path / "config.json").exists():
        raise UsageError(f"{path} is not finished", hint=f"resume it: --resume {path}")
    start = _start(path)
    start.files = {}
    return start


def _start(path: Path) -> Start:
    file, hint = path / "config.json", "was the file changed by hand? start a new run"
    known = read_run(path, "config.json")
    decisions = Decisions.from_dict(known)
    decisions.check()
    settings = {name: known[name] for name in settings_of(TrainConfig) if name in known}
    config: TrainConfig = checked(settings, TrainConfig, str(file), hint=hint)
    data: str = checked(known.get("data"), str, f"{file}: data", hint=hint)
    if not is_signed(known):
        raise BundleError(f"{file}: the content does not match its own hash", hint=hint)
    files: dict[str, list[str]] = checked(
        known.get("files", {}), dict[str, list[Sha256]], f"{file}: files", hint=hint
    )
    return Start(data, config, decisions, reopen_dataset(path), read_audit(path).values, files=files)


#: A bundle that is about to be delivered.
_NEW_MODEL = ".model.part"
#: What a run may have written before `config.json`; beside them halves of files.
_FIRST_FILES = {"log.jsonl", "audit.json", "split.csv", FINGERPRINTS, ".lock"}


def _is_unbegun(path: Path) -> bool:
    """Whether a folder holds nothing but what a run wrote that was killed before it could be resumed."""
    try:
        names = {f.name for f in path.iterdir()}
    except OSError:
        return False
    if not names or any(n not in _FIRST_FILES and not (n.startswith(".") and n.endswith(".part")) for n in names):
        return False
    log = path / "log.jsonl"
    if "log.jsonl" not in names or log.stat().st_size == 0:  # killed in its first moments
        return names <= {".lock", "log.jsonl"}
    return any("event" in event for event in read_log(log)[:1])


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run. `made`: whether foveal created it, rather than the user."""

    path: Path
    made: bool = True

    @classmethod
    def create(cls, out: str | None, name: str) -> RunFolder:
        """A new folder: `out`, or `runs/NAME-YYYYMMDD-HHMMSS` here.

        A run that was killed in this folder before it could be resumed is swept away.

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
            if _is_unbegun(path):
                with cls(path, made=False).locked():
                    for file in path.iterdir():
                        if file.name != ".lock":
                            file.unlink()
                return cls(path, made=False)
            if not path.is_dir():
                raise UsageError(f"{path} is a file: a run needs a folder", hint="give another name with --out")
            if any(path.iterdir()):
                raise UsageError(f"{path} exists and is not empty", hint=_instead(path))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", hint="give another folder with --out") from None
        check_folder(path)
        return cls(path, made=False)

    @property
    def model(self) -> Path:
        """Where the bundle is."""
        return self.path / DELIVERED

    @property
    def measured(self) -> Path:
        """Where the measured bundle is, once another one is delivered."""
        return self.path / MEASURED

    def replace_model(self, save: Callable[[Path], None]) -> None:
        """Deliver another bundle; the measured one moves to `measured/`.

        At every moment there is a whole bundle in one of the two folders.

        Args:
            save: writes the new bundle into a folder.
        """
        self.keep_model()
        save(self.path / _NEW_MODEL)
        move_folder(self.model, self.measured)
        move_folder(self.path / _NEW_MODEL, self.model)

    def keep_model(self) -> None:
        """Deliver the measured bundle: remove what a stopped process of this run left of another one."""
        for folder in (self.measured, self.path / _NEW_MODEL):
            if folder.exists():
                shutil.rmtree(folder)

    def resumed_clock(self, clock: Clock, budget: float, more: float | None) -> Clock:
        """The clock of a resumed run: its earlier seconds count against the budget, or `more` seconds are left."""
        spent = logged_seconds(self.path / "log.jsonl")
        clock.started_at -= spent
        clock.budget = budget if more is None else spent + more
        return clock

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.path / name).exists()

    def refuse_if_finished(self) -> None:
        """Raises `UsageError` for a finished run, which can't be resumed."""
        if not self.has("summary.json"):
            return
        if _was_interrupted(self.path):
            raise UsageError(
                f"{self.path} was stopped by Ctrl-C, and has finished with its best model until then",
                hint="start a new run for a better one, with the same DATA and settings",
            )
        raise UsageError(f"{self.path} is a finished run", hint=f"repeat it with --replay {self.path}")

    def write(self, name: str, value: Mapping[str, Any] | str | bytes) -> None:
        """A file of JSON, text or bytes, whole or not at all.

        Raises:
            UsageError: see `writing`.
        """
        text = value if isinstance(value, str | bytes) else dumps(value, indent=1) + "\n"
        content = encoded(text) if isinstance(text, str) else text
        with self.writing(len(content)):
            write_bytes(self.path / name, content)

    @contextmanager
    def writing(self, needed: int) -> Iterator[None]:
        """Around whatever writes `needed` bytes into the folder.

        Raises:
            UsageError: when that fails, with the space that is needed; what was there before stays.
        """
        try:
            yield
        except OSError as error:
            raise UsageError(
                f"{self.path} can't be written: {error.strerror or error}",
                hint=f"{needed / 1e6:.1f} MB more are needed there, {_free(self.path) / 1e6:.1f} MB are free; "
                f"make room, then {_go_on(self.path)}",
            ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process: the lock ends with the process, however that ends.

        Raises:
            UsageError: when another process holds it.
        """
        from filelock import FileLock, Timeout

        file = self.path / ".lock"
        lock = FileLock(file, blocking=False)
        try:
            lock.acquire()
        except NotImplementedError:  # a file system without locks
            yield
            return
        except Timeout:
            raise UsageError(
                f"another process works on {self.path}{_process_of(self.path)}",
                hint="wait for it to end, or stop it",
            ) from None
        except OSError as error:
            raise UsageError(
                f"{self.path} can't be written: {error.strerror or error}", hint="copy it, or make room for it"
            ) from None
        try:
            yield
        finally:
            with suppress(OSError):
                file.unlink()
            lock.release()

    def remove_if_empty(self) -> None:
        """Remove the folder, if foveal created it, when the run ended before anything but its log was written."""
        files = list(self.path.iterdir())
        if all(f.name == "log.jsonl" for f in files):
            for f in files:
                f.unlink()
            if self.made:
                self.path.rmdir()

    def remove_if_unbegun(self) -> None:
        """Remove the folder, if foveal created it, when the run ended before there was anything to resume."""
        if self.made and self.path.is_dir() and _is_unbegun(self.path):
            shutil.rmtree(self.path, ignore_errors=True)


def _instead(path: Path) -> str:
    """What to do about a folder that is not empty."""
    if (path / "config.json").exists() and not (path / "summary.json").exists():
        return f"a run was stopped there: continue it with --resume {path}, or give a new folder with --out"
    return "give a new folder with --out"


def _was_interrupted(path: Path) -> bool:
    """Whether a finished run was stopped early by Ctrl-C."""
    try:
        summary = read_json(path / "summary.json")
    except (OSError, ValueError):
        return False
    return isinstance(summary, dict) and summary.get("status") == "interrupted"


def _go_on(path: Path) -> str:
    return f"continue with --resume {path}" if (path / "config.json").exists() else "start again"


def _free(path: Path) -> int:
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return 0


def _process_of(path: Path) -> str:
    """The process that wrote to a run's log last, in words."""
    pids = [e["pid"] for e in read_log(path / "log.jsonl") if e.get("event") == "process" and "pid" in e]
    return f" (process {pids[-1]})" if pids else ""


def read_run(path: str | Path, name: str) -> dict[str, Any]:
    """A JSON file of a finished run.

    Raises:
        BundleError: when the run is not finished or not a run.
    """
    file = Path(path) / name
    try:
        content = read_json(file)
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}", hint="give the folder of a finished run") from None
    except ValueError as error:
        raise BundleError(f"{file}: {error}", hint="the file is damaged") from None
    return checked(content, dict[str, Any], str(file))
