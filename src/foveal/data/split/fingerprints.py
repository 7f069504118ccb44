"""`fingerprints.safetensors`: what tells whether an image is nearly the same as one that a run was trained on.

The run folder keeps it, so that it can be told when the training files are elsewhere or gone. It holds the
perceptual hash and the thumb of 16 × 16 pixels of each image of the three subsets, 808 bytes an image: a model that
is refitted learns from the test subset as well. It is not part of the bundle, so it is not passed on with the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from foveal.errors import DataError
from foveal.values import Split

FILE_NAME = "fingerprints.safetensors"

_THUMB_BYTES = 16 * 16 * 3


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What near-duplicates of one image are found by; the fields are those of an `ImageRecord`."""

    sha256: str
    phash: int
    thumb: bytes = field(repr=False)


def fingerprints_to_bytes(split: Split) -> bytes:
    """The content of the file. Images that are too small for a thumb are not in it."""
    seen = {p.record.sha256: p.record for p in split.placed if p.record.thumb}
    records = [seen[sha256] for sha256 in sorted(seen)]
    hashes = np.frombuffer(b"".join(bytes.fromhex(r.sha256) for r in records), dtype=np.uint8)
    thumbs = np.frombuffer(b"".join(r.thumb for r in records), dtype=np.uint8)
    content: bytes = save(
        {
            "sha256": hashes.reshape(-1, 32),
            "phash": np.array([r.phash for r in records], dtype=np.uint64),
            "thumb": thumbs.reshape(-1, _THUMB_BYTES),
        }
    )
    return content


def read_fingerprints(run: Path) -> list[Fingerprint] | None:
    """The fingerprints of a run; None when it has no such file, as runs of earlier versions.

    Raises:
        DataError: when the file is damaged.
    """
    file = run / FILE_NAME
    if not file.is_file():
        return None
    try:
        tensors = load_file(file)
        sha256, phash, thumb = (tensors[name] for name in ("sha256", "phash", "thumb"))
        shapes = sha256.shape == (len(phash), 32), thumb.shape == (len(phash), _THUMB_BYTES)
        kinds = (sha256.dtype, phash.dtype, thumb.dtype) == (np.uint8, np.uint64, np.uint8)
        if not (all(shapes) and kinds and phash.ndim == 1):
            raise ValueError("tensors of another shape or type than expected")
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(
            f"{file}: {error}",
            hint="the file is damaged: delete it, and only exact copies of training images are recognised",
        ) from None
    return [
        Fingerprint(bytes(name).hex(), int(value), bytes(small))
        for name, value, small in zip(sha256, phash, thumb, strict=True)
    ]


def with_fingerprints(split: Split, run: Path) -> Split:
    """A split that was read from a run's `split.csv`, with what its images look like, where the run knows it.

    Raises:
        DataError: when the file is damaged.
    """
    known = {f.sha256: f for f in read_fingerprints(run) or ()}
    placed = [
        replace(p, record=replace(p.record, phash=f.phash, thumb=f.thumb))
        if (f := known.get(p.record.sha256)) is not None
        else p
        for p in split.placed
    ]
    return replace(split, placed=tuple(placed))
