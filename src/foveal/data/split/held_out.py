"""`held_out.safetensors`: what a run predicted for images that the predicting model was not trained on.

`compare` and `suspects` read it, and need neither the images nor a network for that. `test` holds the predictions of
the measured model for the test subset; `out_of_fold` those for as many images as possible, each by a model that did not
learn from the image or its group: heads of a cross-validation, or a network before it went on with held-out images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from foveal.errors import DataError

FILE_NAME = "held_out.safetensors"

Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class Predictions:
    """Predicted probabilities of some images.

    Attributes:
        sha256: of the N images, each once.
        probabilities: `(N, K)`, calibrated.
    """

    sha256: tuple[str, ...]
    probabilities: Probabilities

    @classmethod
    def of(cls, rows: Mapping[str, Probabilities], classes: int) -> Predictions:
        """From rows by SHA-256."""
        stacked = np.stack(list(rows.values())) if rows else np.zeros((0, classes))
        return cls(tuple(rows), stacked.astype(np.float32))

    def __len__(self) -> int:
        return len(self.sha256)

    def rows(self) -> dict[str, Probabilities]:
        """By SHA-256."""
        return dict(zip(self.sha256, self.probabilities, strict=True))


@dataclass(frozen=True)
class HeldOut:
    """All that a run predicted for images that it had held out.

    Attributes:
        test: of the test subset, by the measured model.
        out_of_fold: of all images that there are such predictions of.
    """

    test: Predictions
    out_of_fold: Predictions

    def to_bytes(self) -> bytes:
        """The content of the file."""
        tensors = {}
        for name, predictions in self._parts():
            hashes = np.frombuffer(b"".join(map(bytes.fromhex, predictions.sha256)), dtype=np.uint8)
            tensors[f"{name}.sha256"] = hashes.reshape(-1, 32)
            tensors[f"{name}.probabilities"] = np.ascontiguousarray(predictions.probabilities, dtype=np.float32)
        content: bytes = save(tensors)
        return content

    def _parts(self) -> Iterator[tuple[str, Predictions]]:
        yield "test", self.test
        yield "out_of_fold", self.out_of_fold


def read_held_out(run: Path, classes: Sequence[str]) -> HeldOut | None:
    """The predictions of a run; None when it has no such file, as runs of earlier versions and of masks.

    Args:
        run: its folder.
        classes: K names.

    Raises:
        DataError: when the file is damaged, or of other classes.
    """
    file = run / FILE_NAME
    if not file.is_file():
        return None
    try:
        tensors = load_file(file)
        return HeldOut(*(_read(tensors, name, len(classes)) for name in ("test", "out_of_fold")))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"{file}: {error}", hint="the file is damaged; train again to have it anew") from None


def _read(tensors: Mapping[str, NDArray[np.generic]], name: str, classes: int) -> Predictions:
    hashes, probabilities = tensors[f"{name}.sha256"], tensors[f"{name}.probabilities"]
    expected = (len(hashes), classes)
    if hashes.dtype != np.uint8 or hashes.shape[1:] != (32,):
        raise ValueError(f"{name}.sha256: {hashes.dtype} {hashes.shape}")
    if probabilities.dtype != np.float32 or probabilities.shape != expected:
        raise ValueError(
            f"{name}.probabilities: {probabilities.dtype} {probabilities.shape} instead of {expected}"
        )
    values = probabilities.astype(np.float32)
    if not (np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()):
        raise ValueError(f"{name}.probabilities: not between 0 and 1")
    return Predictions(tuple(row.tobytes().hex() for row in hashes), values)
