"""Features on disk, keyed by content, preprocessing, weights, engine and view, so that none is computed twice.

A *space* is one folder, for features that were computed in the same way. It holds shards, each written once and
atomically. The cache can be deleted at any time.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from foveal.files import cache_dir, digest_of, replacing

#: Above this size, the least recently used spaces are deleted.
MAX_BYTES = 4 << 30
_SHARD_ROWS = 4096


class FeatureCache:
    """One space: SHA-256 of an image → its feature vector.

    Args:
        key: everything that features depend on besides the image; any value that `digest_of` takes.
        enabled: whether anything is read or written.
    """

    def __init__(self, key: object, *, enabled: bool = True) -> None:
        self.folder = cache_dir() / "features" / digest_of(key)
        self._enabled = enabled
        self._new: dict[str, NDArray[np.float32]] = {}

    def load(self, wanted: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The cached vectors `(dimension,)` of these hashes. Damaged shards are deleted."""
        missing, cached = set(wanted), {}
        with contextlib.suppress(OSError):
            os.utime(self.folder)  # marks the space as used: see `_prune`
        shards = sorted(self.folder.glob("*.safetensors")) if self._enabled and self.folder.is_dir() else []
        for shard in shards:
            try:
                content = load_file(shard)
                names = [bytes(row).hex() for row in content["sha256"]]
                rows = content["features"]
                if len(rows) != len(names):
                    raise ValueError("the numbers of rows and names differ")
            except Exception:  # whatever is wrong with it, it can be computed again
                with contextlib.suppress(OSError):
                    shard.unlink()
                continue
            for name, row in zip(names, rows, strict=True):
                if name in missing:
                    cached[name] = row
                    missing.discard(name)
        return cached

    def add(self, sha256: str, features: NDArray[np.float32]) -> None:
        """Add one vector. Full shards are written at once, the last one by `flush`."""
        if self._enabled:
            self._new[sha256] = features
            if len(self._new) >= _SHARD_ROWS:
                self.flush()

    def flush(self) -> None:
        """Write what is not written yet. Errors of the disk are ignored: only the cache is lost."""
        if not self._new:
            return
        content = {
            "sha256": np.stack([np.frombuffer(bytes.fromhex(k), dtype=np.uint8) for k in self._new]),
            "features": np.stack(list(self._new.values())),
        }
        self._new.clear()
        with contextlib.suppress(OSError):
            with replacing(self.folder / f"{secrets.token_hex(8)}.safetensors") as part:
                save_file(content, part)
            _prune(self.folder)


def _prune(newest: Path) -> None:
    """Delete whole spaces, the least recently used first, until the rest fits."""
    spaces = [s for s in newest.parent.iterdir() if s.is_dir()]
    sizes = {s: sum(f.stat().st_size for f in s.iterdir()) for s in spaces}
    for space in sorted(spaces, key=lambda s: s.stat().st_mtime):
        if sum(sizes.values()) <= MAX_BYTES or space == newest:
            continue
        shutil.rmtree(space, ignore_errors=True)
        sizes.pop(space)
