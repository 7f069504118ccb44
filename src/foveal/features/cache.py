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
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from foveal.files import cache_dir, cannot_write, digest_of, replacing

#: Above this size, the least recently used spaces are deleted.
MAX_BYTES = 4 << 30
SHARD_ROWS = 4096


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
        missing, cached = set(wanted), {}
        for shard in self._shards():
            try:
                names, rows = _checked(shard.read_bytes(), width)
            except Exception:  # whatever is wrong with it, it can be computed again
                with contextlib.suppress(OSError):
                    shutil.rmtree(shard) if shard.is_dir() else shard.unlink()
                continue
            for name, row in zip(names, rows, strict=True):
                if name in missing:
                    cached[name] = row
                    missing.discard(name)
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
                save_file({"sha256": names, "features": rows, "digest": _digest(names, rows)}, part)
            _prune(self.folder, self._max_bytes)
        except OSError as error:
            cannot_write(error)
        except SafetensorError as error:  # its word for a full disk
            cannot_write(OSError(errno.EIO, str(error)))


def _digest(names: NDArray[np.uint8], rows: NDArray[np.float32]) -> NDArray[np.uint8]:
    """SHA-256 of the content of a shard, `(32,)`."""
    digest = hashlib.sha256(repr((names.shape, rows.shape, rows.dtype.str)).encode())
    digest.update(np.ascontiguousarray(names).tobytes())
    digest.update(np.ascontiguousarray(rows).tobytes())
    return np.frombuffer(digest.digest(), dtype=np.uint8)


def _checked(content: bytes, width: int | None) -> tuple[list[str], NDArray[np.float32]]:
    """The names and rows of a shard.

    Raises:
        KeyError, ValueError, SafetensorError: whatever is wrong with it.
    """
    tensors = load(content)
    names, rows = tensors["sha256"], tensors["features"]
    if names.dtype != np.uint8 or names.shape != (len(rows), 32):
        raise ValueError("the names are no hashes")
    if rows.dtype != np.float32 or rows.ndim != 2 or rows.shape[1] != (width or rows.shape[1]):
        raise ValueError(f"features {rows.dtype} {rows.shape}")
    if not np.array_equal(tensors["digest"], _digest(names, rows)) or not np.isfinite(rows).all():
        raise ValueError("the content is not what was written")
    return [bytes(name).hex() for name in names], rows


def _prune(newest: Path, max_bytes: int) -> None:
    """Delete whole spaces, the least recently used first, until the rest fits."""
    spaces = [s for s in newest.parent.iterdir() if s.is_dir()]
    sizes = {s: sum(f.stat().st_size for f in s.iterdir()) for s in spaces}
    for space in sorted(spaces, key=lambda s: s.stat().st_mtime):
        if sum(sizes.values()) <= max_bytes or space == newest:
            continue
        shutil.rmtree(space, ignore_errors=True)
        sizes.pop(space)
