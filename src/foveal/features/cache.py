"""Features on disk, keyed by content, preprocessing, weights, engine and view, so that none is computed twice.

A *space* is one folder, for features that were computed in the same way. It holds shards, each written once and
atomically. The cache can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from foveal.files import cache_dir, cannot_write, digest_of, replacing

#: Above this size, the least recently used spaces are deleted.
MAX_BYTES = 4 << 30
SHARD_ROWS = 4096
#: When more than this share of the rows of a shard is wanted, all of them are read at once.
_MANY = 0.25


class FeatureCache:
    """One space: SHA-256 of an image → its feature vector.

    Args:
        key: everything that features depend on besides the image; any value that `digest_of` takes.
        enabled: whether anything is read or written.
        shard_rows: vectors in a full shard.
        max_bytes: of all spaces together; above it the least recently used are deleted.
    """

    def __init__(
        self, key: object, *, enabled: bool = True, shard_rows: int = SHARD_ROWS, max_bytes: int = MAX_BYTES
    ) -> None:
        self.folder = cache_dir() / "features" / digest_of(key)
        self._enabled, self._shard_rows, self._max_bytes = enabled, shard_rows, max_bytes
        self._new: dict[str, NDArray[np.float32]] = {}

    def load(self, wanted: Sequence[str], width: int | None = None) -> dict[str, NDArray[np.float32]]:
        """The cached vectors `(dimension,)` of these hashes. Damaged shards are deleted.

        Args:
            wanted: SHA-256 of images.
            width: the dimension; vectors of another one are not used. None: any, but of a shard all have the same.
        """
        missing, cached = set(wanted), dict[str, NDArray[np.float32]]()
        for shard in self._shards():
            if not missing:
                break
            try:
                found = _rows(shard, missing, width)
            except Exception:  # whatever is wrong with it, it can be computed again
                with contextlib.suppress(OSError):
                    shutil.rmtree(shard) if shard.is_dir() else shard.unlink()
                continue
            cached.update(found)
            missing.difference_update(found)
        return cached

    def _shards(self) -> list[Path]:
        if not self._enabled:
            return []
        try:
            if not self.folder.is_dir():
                return []
            with contextlib.suppress(OSError):
                os.utime(self.folder)  # marks the space as used: see `_prune`
            return sorted(self.folder.glob("*.safetensors"))
        except OSError:  # a folder that can't be entered
            return []

    def add(self, sha256: str, features: NDArray[np.float32]) -> None:
        """Add one vector. Full shards are written at once, the last one by `flush`."""
        if self._enabled:
            self._new[sha256] = features
            if len(self._new) >= self._shard_rows:
                self.flush()

    def flush(self) -> None:
        """Write what is not written yet. A disk that can't be written is reported: only the cache is lost."""
        if not self._new:
            return
        names = np.stack([np.frombuffer(bytes.fromhex(k), dtype=np.uint8) for k in self._new])
        rows = np.stack(list(self._new.values()))
        self._new.clear()
        try:
            with replacing(self.folder / f"{secrets.token_hex(8)}.safetensors") as part:
                save_file({"sha256": names, "features": rows, "digests": _digests(names, rows)}, part)
            _prune(self.folder, self._max_bytes)
        except OSError as error:
            cannot_write(error)
        except SafetensorError as error:  # its word for a full disk
            cannot_write(OSError(errno.EIO, str(error)))


def _digests(names: NDArray[np.uint8], rows: NDArray[Any]) -> NDArray[np.uint8]:
    """SHA-256 of each row with its name, `(N, 32)`."""
    return np.stack([np.frombuffer(_digest(*pair), dtype=np.uint8) for pair in zip(names, rows, strict=True)])


def _digest(name: NDArray[np.uint8], row: NDArray[Any]) -> bytes:
    digest = hashlib.sha256(name.tobytes())
    digest.update(row.tobytes())
    return digest.digest()


def _rows(shard: Path, wanted: Collection[str], width: int | None) -> dict[str, NDArray[np.float32]]:
    """The rows of a shard that are wanted; only these are read and compared with their digests.

    Raises:
        KeyError, ValueError, SafetensorError: whatever is wrong with it.
    """
    with safe_open(shard, framework="numpy") as tensors:
        names, digests, features = (
            tensors.get_tensor("sha256"),
            tensors.get_tensor("digests"),
            tensors.get_slice("features"),
        )
        count, dimension = features.get_shape()
        if not names.shape == digests.shape == (count, 32) or not names.dtype == digests.dtype == np.uint8:
            raise ValueError("the names are not SHA-256 hashes")
        if features.get_dtype() != "F32" or dimension != (width or dimension):
            raise ValueError(f"features {features.get_dtype()} {(count, dimension)}")
        places = [(i, name) for i, name in enumerate(map(bytes.hex, map(bytes, names))) if name in wanted]
        rows = tensors.get_tensor("features") if len(places) > count * _MANY else features
        found = {name: rows[i : i + 1][0] for i, name in places}
    for i, name in places:
        if _digest(names[i], found[name]) != digests[i].tobytes() or not np.isfinite(found[name]).all():
            raise ValueError("the content is not what was written")
    return found


def _prune(newest: Path, max_bytes: int) -> None:
    """Delete whole spaces, the least recently used first, until the rest fits."""
    spaces = [s for s in newest.parent.iterdir() if s.is_dir()]
    sizes = {s: sum(f.stat().st_size for f in s.iterdir()) for s in spaces}
    for space in sorted(spaces, key=lambda s: s.stat().st_mtime):
        if sum(sizes.values()) <= max_bytes or space == newest:
            continue
        shutil.rmtree(space, ignore_errors=True)
        sizes.pop(space)
