"""Checkpoints that survive: killed at any moment, a full disk, a broken file.

Each is a pair: `last-ATTEMPT-STEP.safetensors`, and the same `.json` with its SHA-256 and its own, which is written
last and makes it count. Both are written to a temporary name, flushed to the disk and renamed. The one
before is kept, and used when the newest is broken. No pickle.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from foveal.files import read_json, write_bytes, write_json
from foveal.schema import is_signed, signed

Tensors = dict[str, NDArray[Any]]
_KEPT = 2


class Checkpoints:
    """The checkpoints of one training, in a folder of their own.

    Args:
        folder: made when the first is saved.
        say: told when one could not be saved, or was broken.
    """

    def __init__(self, folder: Path, say: Callable[[str], None] = lambda _: None) -> None:
        self.folder = folder
        self._say = say

    def save(self, step: int, tensors: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> bool:
        """Write one; False (and a word) when the disk is full or gone: what is there stays."""
        name = f"last-{facts.get('attempt', 0)}-{step:09d}"
        content: bytes = save({k: np.asarray(v, order="C") for k, v in tensors.items()})
        try:
            write_bytes(self.folder / f"{name}.safetensors", content)
            digest = hashlib.sha256(content).hexdigest()
            mark = signed({"step": step, "tensors": digest, "facts": dict(facts)})
            write_json(self.folder / f"{name}.json", mark)
        except OSError as error:
            self._say(f"checkpoint not saved ({error.strerror}): {self.folder}; the one before is kept")
            return False
        self._drop_old()
        return True

    def load(self) -> tuple[Tensors, dict[str, Any]] | None:
        """The newest that is whole, as tensors and facts; None when there is none. Halves that were being written
        when a process was killed go."""
        for half in self.folder.glob(".*.part"):
            with contextlib.suppress(OSError):
                half.unlink()
        for mark in sorted(self.folder.glob("last-*.json"), reverse=True):
            try:
                known = read_json(mark)
                content = mark.with_suffix(".safetensors").read_bytes()
                if not is_signed(known) or hashlib.sha256(content).hexdigest() != known["tensors"]:
                    raise ValueError("its content does not match its digest")
                return load(content), dict(known["facts"])
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                self._say(f"checkpoint {mark.name} is broken ({error}); the one before is tried")
        return None

    def _drop_old(self) -> None:
        marks = sorted(self.folder.glob("last-*.json"), reverse=True)
        kept = {m.stem for m in marks[:_KEPT]}
        for file in self.folder.glob("last-*"):
            if file.stem not in kept:
                with contextlib.suppress(OSError):
                    file.unlink()
