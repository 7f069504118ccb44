"""Several labels for each image as scikit-learn has them: a matrix `(N, L)` of 0 and 1, a column for each label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from foveal.data.images.array_batches import SupportsArray
from foveal.data.targets.label_text import text_of
from foveal.errors import UsageError
from foveal.inference.class_labels import COUNT, KIND, ClassLabels, as_array, kind_of, names_of
from foveal.inference.multi_label import thresholds_of
from foveal.values import Manifest

_HINT = "give a list of labels for each image, or a matrix (N, L) of 0 and 1"
_ROWS = (list, tuple, set, frozenset, np.ndarray)


@dataclass(frozen=True)
class LabelColumns:
    """The labels of a bundle in their own type, each a column.

    Attributes:
        values: `(L,)`, sorted.
        places: `(L,)`, the position of each among the classes of the bundle; -1: it was not learned, as no training
            image has it.
        thresholds: `(L,)`.
    """

    values: NDArray[np.generic]
    places: NDArray[np.intp]
    thresholds: NDArray[np.float32]
    figure: ClassVar[str] = "subset_accuracy"

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> LabelColumns:
        """The classes of a bundle; where it was trained on a matrix, all columns of that."""
        known = ClassLabels.of_manifest(manifest)
        count = manifest.provenance.get(COUNT)
        values = np.arange(count) if isinstance(count, int) else known.values
        return cls._of(values, manifest)

    @classmethod
    def _of(cls, values: NDArray[np.generic], manifest: Manifest) -> LabelColumns:
        index = {name: k for k, name in enumerate(manifest.classes)}
        places = np.array([index.get(name, -1) for name in names_of(values)], dtype=np.intp)
        thresholds = np.where(places >= 0, thresholds_of(manifest)[places], 2.0).astype(np.float32)
        return cls(values, places, thresholds)

    def arranged(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities `(N, K)` of the bundle's classes as `(N, L)`; 0 of labels that were not learned."""
        return np.where(self.places >= 0, probabilities[:, self.places], np.float32(0))

    def predicted(self, probabilities: NDArray[np.float32]) -> NDArray[np.generic]:
        """`(N, L)` of 0 and 1, of arranged probabilities."""
        decided: NDArray[np.generic] = (probabilities >= self.thresholds).astype(np.int64)
        return decided

    def right(self, y: Iterable[object] | SupportsArray, predicted: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Which images have all labels right, `(N,)`.

        Raises:
            UsageError: when there is not one row for each image.
        """
        rows = label_rows(y).names
        if len(rows) != len(predicted):
            raise UsageError(f"{len(predicted)} images and {len(rows)} lists of labels", hint=_HINT)
        names = np.array(names_of(self.values))
        return np.array(
            [set(row) == set(names[p == 1]) for row, p in zip(rows, predicted, strict=True)], dtype=np.bool_
        )


@dataclass(frozen=True)
class LabelRows:
    """What y says of the images.

    Attributes:
        names: the labels of each of the N images, as text.
        kind: of the labels, see `class_labels.kind_of`.
        count: columns of the matrix; None where y had lists.
    """

    names: Sequence[Sequence[str]]
    kind: str
    count: int | None = None

    def __len__(self) -> int:
        return len(self.names)

    def texts(self) -> list[str]:
        """As a table holds them."""
        return [text_of(row) for row in self.names]

    def check(self) -> None:
        """Raises `UsageError` unless there is something to learn: a label that some images have and others do not."""
        counts = Counter(name for row in self.names for name in set(row))
        if not any(count < len(self.names) for count in counts.values()):
            raise UsageError("y has no label that some images have and others do not", hint=_HINT)

    def noted(self, manifest: Manifest) -> Manifest:
        """A manifest that says of what type the labels are."""
        kept = {**manifest.provenance, KIND: self.kind}
        return replace(manifest, provenance=kept if self.count is None else {**kept, COUNT: self.count})


def are_label_rows(y: object) -> bool:
    """Whether y gives several labels for each image: lists, or a matrix of at least two columns."""
    if isinstance(y, list | tuple):
        return bool(y) and all(isinstance(row, _ROWS) for row in y)
    shape: tuple[int, ...] = getattr(y, "shape", ())
    if len(shape) == 2:
        return shape[1] > 1
    return getattr(getattr(y, "dtype", None), "kind", "") == "O" and are_label_rows(
        list(cast("Iterable[object]", y))
    )


def label_rows(y: Iterable[object] | SupportsArray) -> LabelRows:
    """Labels as rows of names, checked.

    Args:
        y: N lists of text or integers; or a matrix `(N, L)`, an array or a tensor, of 0 and 1. As in scikit-learn lists
            of one length, of at least two 0 and 1 each, are the rows of a matrix.

    Raises:
        UsageError: for anything else.
    """
    if len(getattr(y, "shape", ())) == 2:
        return _of_matrix(as_array(y))
    rows = [list(row) for row in cast("Iterable[Iterable[object]]", y)]
    if len({len(row) for row in rows}) == 1 and len(rows[0]) > 1 and all(map(_is_bit, chain.from_iterable(rows))):
        return _of_matrix(np.array(rows))
    items = [item for row in rows for item in row]
    if strange := [i for i in items if isinstance(i, bool | float) or not isinstance(i, str | int | np.integer)]:
        raise UsageError(f"y: {strange[0]!r} is not a label", hint=_HINT)
    if any(not str(item).strip() for item in items):
        raise UsageError("y: a label is empty", hint=_HINT)
    whole = bool(items) and not any(isinstance(item, str) for item in items)
    return LabelRows([[str(item).strip() for item in row] for row in rows], "int" if whole else "str")


def _is_bit(item: object) -> bool:
    return isinstance(item, int | np.integer) and item in (0, 1)


def _of_matrix(matrix: NDArray[np.generic]) -> LabelRows:
    if kind_of(matrix.ravel()) == "str" or not np.isin(matrix, (0, 1)).all():
        raise UsageError(f"y: a matrix of shape {matrix.shape} that is not of 0 and 1", hint=_HINT)
    names = [[str(k) for k in np.flatnonzero(row).tolist()] for row in matrix]
    return LabelRows(names, "int", matrix.shape[1])
