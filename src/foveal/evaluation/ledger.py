"""How often a test set was used: each evaluation, and each choice made after it, biases the figures upwards."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from foveal.files import cannot_write, dumps, loads, state_dir


def test_set_key(sha256s: Iterable[str]) -> str:
    """What identifies a test set: the contents of its files, in no order."""
    return hashlib.sha256("\n".join(sorted(sha256s)).encode()).hexdigest()


def record_test_evaluation(key: str, *, run: str) -> int:
    """Record one evaluation and return how many there have been, this one included; 0 for an empty test set."""
    if key == test_set_key(()):
        return 0
    ledger = state_dir() / "test_looks.jsonl"
    before = test_evaluations(key)
    line = dumps({"key": key, "run": run, "time": round(time.time())}) + "\n"
    try:
        _append(ledger, line)
    except OSError as error:
        cannot_write(error, state=True)
        return before + 1
    return test_evaluations(key)


def test_evaluations(key: str) -> int:
    """How many evaluations on this test set are on record; what is damaged in the ledger counts for nothing."""
    try:
        lines = (state_dir() / "test_looks.jsonl").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    count = 0
    for line in lines:
        with suppress(ValueError):  # a line that a crash cut short
            event = loads(line)
            count += isinstance(event, dict) and event.get("key") == key
    return count


def _append(ledger: Path, line: str) -> None:
    """Add a line, in one short write in append mode: whole, also when two runs end at the same moment.

    A folder in the ledger's place, which nothing of foveal's makes, is moved aside.
    """
    ledger.parent.mkdir(parents=True, exist_ok=True)
    if ledger.is_dir():
        ledger.rename(ledger.with_name(f"{ledger.name}-{secrets.token_hex(4)}"))
    if not _ends_whole(ledger):  # a crash cut the last line short: it must not swallow this one
        line = "\n" + line
    handle = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        written = os.write(handle, line.encode())
        if written < len(line.encode()):  # the disk is full
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(handle)


def _ends_whole(ledger: Path) -> bool:
    try:
        with ledger.open("rb") as handle:
            handle.seek(-1, os.SEEK_END)
            return handle.read(1) == b"\n"
    except OSError:  # absent, or empty
        return True
