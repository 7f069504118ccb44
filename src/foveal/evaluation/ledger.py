"""How often a test set was used: each evaluation, and each choice made after it, biases the figures upwards."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from foveal.files import dumps, state_dir


def test_set_key(sha256s: Iterable[str]) -> str:
    """What identifies a test set: the contents of its files, in no order."""
    return hashlib.sha256("\n".join(sorted(sha256s)).encode()).hexdigest()


def record_test_evaluation(key: str, *, run: str) -> int:
    """Record one evaluation and return how many there have been, this one included; 0 for an empty test set."""
    if key == test_set_key(()):
        return 0
    ledger = state_dir() / "test_looks.jsonl"
    ledger.parent.mkdir(parents=True, exist_ok=True)
    line = dumps({"key": key, "run": run, "time": round(time.time())}) + "\n"
    if not _ends_whole(ledger):  # a crash cut the last line short: it must not swallow this one
        line = "\n" + line
    # One short write in append mode is whole, also when two runs end at the same moment.
    handle = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)
    return test_evaluations(key)


def test_evaluations(key: str) -> int:
    """How many evaluations on this test set are on record."""
    ledger = state_dir() / "test_looks.jsonl"
    count = 0
    try:
        for line in ledger.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                count += json.loads(line).get("key") == key
            except (ValueError, AttributeError):
                continue  # a line that a crash cut short
    except OSError:
        return 0
    return count


def _ends_whole(ledger: Path) -> bool:
    try:
        with ledger.open("rb") as handle:
            handle.seek(-1, os.SEEK_END)
            return handle.read(1) == b"\n"
    except OSError:  # absent, or empty
        return True
