"""A disk that is full from the n-th write of a training on: nothing is lost, and the run continues once space is free.

    uv run --group bench python bench/full_disk.py

For every write of a training into its run folder, and into the cache and the state folder, a run is begun in which the
disk is full from that write on. It may end with a warning, or with exit code 2; no half file may have a final name,
what was there before has to be as it was, and with free space again the run ends in the weights of an undisturbed
one. Where a small disk can be mounted it is really full; elsewhere writes fail halfway. A row for each point is kept in
`bench/results/full_disk.json`.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from common import Results
from foveal import flow
from foveal.config import TrainConfig
from foveal.errors import FovealError
from foveal.inference.bundle import load_bundle
from foveal.schema import check_listed
from kills import draw_classes

#: Strategy → settings.
RUNS = {
    "frozen": TrainConfig(strategy="frozen", time="10m"),
    "lenet5": TrainConfig(from_scratch="lenet5", time="20s"),
}
#: Where the disk is that is full.
DISKS = ("run", "cache")
#: Bytes of a disk: more than a run and its cache take.
_SIZE = "200m"
_FILLER = "filler"


class FullDisk:
    """A disk that has no space from a certain write on.

    Args:
        folder: on the disk.
        writes: how many succeed; of a disk that is mounted less than 0: it was full before.
        mounted: whether the folder is a disk of its own, which is then filled; otherwise late writes fail halfway.
    """

    def __init__(self, folder: Path, writes: float, *, mounted: bool = False) -> None:
        self.folder, self.writes, self.mounted = folder, writes, mounted
        self.count = 0

    @property
    def full(self) -> bool:
        """Whether there was a write that came too late."""
        return self.count > self.writes

    @contextmanager
    def entered(self) -> Iterator[FullDisk]:
        """Count the writes, and let the late ones fail. Afterwards there is room again."""
        write_bytes, fsync, write = Path.write_bytes, os.fsync, os.write
        counted: set[Path] = set()

        def written(path: Path, content: bytes) -> int:
            counted.add(path)
            if self._fails(path):
                write_bytes(path, content[: len(content) // 2])
                raise _no_space(path)
            return write_bytes(path, content)

        def flushed(handle: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{handle}"))
            if path not in counted and path.is_file() and self._fails(path):  # written by a library
                raise _no_space(path)
            fsync(handle)

        def appended(handle: int, content: bytes) -> int:
            path = Path(os.readlink(f"/proc/self/fd/{handle}"))
            return write(handle, content[: len(content) // 2] if self._fails(path) else content)

        with (
            mock.patch.object(Path, "write_bytes", written),
            mock.patch.object(os, "fsync", flushed),
            mock.patch.object(os, "write", appended),
        ):
            try:
                if self.mounted and self.writes < 0:
                    fill(self.folder)
                yield self
            finally:
                (self.folder / _FILLER).unlink(missing_ok=True)

    def _fails(self, path: Path) -> bool:
        """Count a write to the disk; whether it has to fail although the disk is not really full."""
        if not path.is_relative_to(self.folder) or path.name == _FILLER:
            return False
        self.count += 1
        if self.mounted and self.count == self.writes + 1:
            fill(self.folder)
        return self.full and not self.mounted


def fill(disk: Path) -> None:
    """Take all space of a disk."""
    with (disk / _FILLER).open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def _no_space(path: Path) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


class Subject:
    """A small data set, and the undisturbed run of each strategy.

    Args:
        folder: to work in.
        names: of `RUNS`.
        warm: a cache, in which the converted networks may be already.
    """

    def __init__(self, folder: Path, names: list[str], warm: Path) -> None:
        self.folder, self.warm = folder, warm
        self.data = draw_classes(folder / "data", classes=3, each=12)
        self.weights = {name: weights_of(self._undisturbed(name)) for name in names}

    def _undisturbed(self, name: str) -> Path:
        with cache_in(self.warm):
            return flow.train(str(self.data), RUNS[name], out=str(self.folder / f"whole-{name}"))[0]

    def point(self, name: str, disk: FullDisk, out: Path, cache: Path) -> dict[str, Any]:
        """What became of a run whose disk was full at some write, as a row. `wrong` lists what must not be."""
        wrong: list[str] = []
        earlier = disk.folder / "earlier"
        shutil.copytree(self.folder / f"whole-{name}", earlier)
        warnings = Warnings()
        with cache_in(cache), warnings.heard():
            try:
                with disk.entered():
                    flow.train(str(self.data), RUNS[name], out=str(out))
                outcome = "finished"
            except FovealError as error:
                outcome = f"exit {error.exit_code}"
                if error.exit_code != 2 or not error.hint:
                    wrong.append(f"{type(error).__name__}: {error}")
            except Exception as error:
                outcome = "exit 3"
                wrong.append(f"{type(error).__name__}: {error}")
            files = sorted(str(f.relative_to(out)) for f in out.rglob("*") if f.is_file()) if out.exists() else []
            wrong += [f"half a file: {f}" for f in files if f.endswith(".part")]
            wrong += damaged(out)
            if tree(earlier) != tree(self.folder / f"whole-{name}"):
                wrong.append("the earlier run was changed")
            if outcome == "finished" and disk.full and not warnings.said:
                wrong.append("no warning")
            if outcome != "finished":
                self._go_on(name, out, wrong)
            if load_weights(out) is None or (name == "frozen" and weights_of(out) != self.weights[name]):
                wrong.append("other weights")
        return {
            "full": disk.full,
            "outcome": outcome,
            "warnings": len(warnings.said),
            "files": files,
            "wrong": wrong,
        }

    def _go_on(self, name: str, out: Path, wrong: list[str]) -> None:
        try:
            if (out / "config.json").exists():
                _, summary = flow.resume(str(out))
            else:
                _, summary = flow.train(str(self.data), RUNS[name], out=str(out))
            if summary["status"] != "done":
                wrong.append(f"status {summary['status']}")
        except FovealError as error:
            wrong.append(f"with room again: {error}")


class Warnings(logging.Handler):
    """What foveal warned of."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.said.append(record.getMessage())

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listen."""
        logger = logging.getLogger("foveal")
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """Cache and state are kept there."""
    with mock.patch.dict(os.environ, {"FOVEAL_CACHE": str(folder), "FOVEAL_STATE": str(folder / "state")}):
        yield


def damaged(run: Path) -> list[str]:
    """What a run folder holds that can't be read."""
    found = []
    for file in run.rglob("*.json"):
        try:
            json.loads(file.read_bytes())
        except ValueError:
            found.append(f"damaged: {file.name}")
    try:
        for name in ("audit.json", "split.csv"):
            if (run / name).exists():
                check_listed(run / name)
        if (run / "model" / "bundle.json").exists():
            load_bundle(run)
    except FovealError as error:
        found.append(f"damaged: {error}")
    return found


def tree(folder: Path) -> dict[str, bytes]:
    """All files of a folder, by name."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def load_weights(run: Path) -> bytes | None:
    """The file of a run's weights."""
    file = run / "model" / "weights.safetensors"
    return file.read_bytes() if file.exists() else None


def weights_of(run: Path) -> bytes:
    """The file of a run's weights, which has to be there."""
    return (run / "model" / "weights.safetensors").read_bytes()


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A disk of its own at a new folder; False where mounting is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def writes_of(subject: Subject, name: str, where: str, folder: Path) -> int:
    """How often a run writes to such a disk."""
    folder.mkdir()
    disk = FullDisk(folder, float("inf"))
    measure_point(subject, name, where, disk, folder)
    return disk.count


def measure_point(subject: Subject, name: str, where: str, disk: FullDisk, folder: Path) -> dict[str, Any]:
    """One run; its folder, or cache and state, are on the disk."""
    if where == "run":
        return subject.point(name, disk, disk.folder / "run", subject.warm)
    cache = disk.folder / "cache"
    shutil.copytree(subject.warm / "models", cache / "models")  # so that they are not converted again
    return subject.point(name, disk, Path(f"{folder}-run"), cache)


def main() -> None:
    """Measure all points that were not measured yet."""
    results = Results("full_disk")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        subject = Subject(folder, list(RUNS), folder / "warm")
        for name in RUNS:
            for where in DISKS:
                count = writes_of(subject, name, where, folder / f"{name}-{where}")
                for number in range(-1, count):
                    if results.of(strategy=name, disk=where, write=number + 1):
                        continue
                    place = folder / f"{name}-{where}-{number}"
                    with small_disk(place) as mounted:
                        if number < 0 and not mounted:
                            continue
                        disk = FullDisk(place, number, mounted=mounted)
                        row = measure_point(subject, name, where, disk, place)
                    results.add(strategy=name, disk=where, write=number + 1, of=count, mounted=mounted, **row)
    wrong = [row for row in results.rows if row["wrong"]]
    results.save(summary={"points": len(results.rows), "wrong": len(wrong)})
    print(f"{len(results.rows)} points, {len(wrong)} wrong")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
