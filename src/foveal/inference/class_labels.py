"""Class labels in the type in which they were given: integers come back as integers, although a bundle stores names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from foveal.data.images.array_batches import SupportsArray, is_array
from foveal.data.wording import count_of
from foveal.errors import UsageError
from foveal.values import Manifest

#: By the kind of a NumPy type: its name in a bundle.
_KINDS = {"i": "int", "u": "int", "f": "float", "b": "bool"}
#: Where a bundle keeps the type of its labels, and how many columns a matrix of them had.
KIND, COUNT = "label_type", "label_columns"
_HINT = "give one label for each image: text, integers or truth values"


@dataclass(frozen=True)
class ClassLabels:
    """The classes of a bundle in their own type.

    Attributes:
        values: `(K,)`, sorted, as `classes_` of scikit-learn.
        order: `(K,)`, the position of each among the names of the bundle.
    """

    values: NDArray[np.generic]
    order: NDArray[np.intp]
    figure: ClassVar[str] = "accuracy"

    @classmethod
    def of_column(cls, column: NDArray[np.generic], classes: Sequence[str]) -> ClassLabels:
        """The labels of a column whose names are among the classes."""
        values = np.unique(column)
        index = {name: i for i, name in enumerate(classes)}
        places = np.array([index.get(name, -1) for name in names_of(values)], dtype=np.intp)
        return cls(values[places >= 0], places[places >= 0])

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> ClassLabels:
        """The classes of a bundle in the type that it notes."""
        return cls.of_bundle(manifest.classes, manifest.provenance.get(KIND, "str"))

    def arranged(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities `(N, K)` of the bundle's classes in the order of `values`."""
        return probabilities[:, self.order]

    def predicted(self, probabilities: NDArray[np.float32]) -> NDArray[np.generic]:
        """The likeliest class of each row of arranged probabilities, `(N,)`."""
        likeliest: NDArray[np.generic] = self.values[probabilities.argmax(axis=1)]
        return likeliest

    def right(self, y: Iterable[object] | SupportsArray, predicted: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Which predictions are the labels of y, `(N,)`.

        Raises:
            UsageError: when there is not one label for each image.
        """
        expected, names = names_of(label_column(y)), names_of(predicted)
        if len(expected) != len(names):
            raise UsageError(
                f"{count_of(len(names), 'image')} and {count_of(len(expected), 'label')}",
                hint="give one label for each image",
            )
        found: NDArray[np.bool_] = np.array(expected) == np.array(names)
        return found

    @classmethod
    def of_bundle(cls, classes: Sequence[str], kind: object = "str") -> ClassLabels:
        """The classes of a bundle as this kind, one of `kind_of`; as text where they are not of it."""
        values: NDArray[np.generic] = np.array(classes, dtype=np.str_)
        if kind == "bool" and set(classes) <= {"False", "True"}:
            values = values == "True"
        elif kind in ("int", "float"):
            try:
                values = values.astype(np.int64 if kind == "int" else np.float64)
            except ValueError:
                kind = "str"
        order = np.arange(len(classes)) if kind == "str" else np.argsort(values, kind="stable")
        return cls(values[order], order.astype(np.intp))


def label_column(y: Iterable[object] | SupportsArray) -> NDArray[np.generic]:
    """Labels as an array `(N,)`, checked as scikit-learn does.

    Args:
        y: a sequence, an array or a tensor `(N,)`; of `(N, 1)` with scikit-learn's `DataConversionWarning`.

    Raises:
        UsageError: for several labels per image, continuous or missing values.
    """
    from sklearn.utils import assert_all_finite, column_or_1d
    from sklearn.utils.multiclass import check_classification_targets

    try:
        column: NDArray[np.generic] = column_or_1d(as_array(y), warn=True)
        if column.size:
            assert_all_finite(column, input_name="y")
            check_classification_targets(column)
    except (ValueError, TypeError) as error:
        raise UsageError(f"y: {error}", hint=_HINT) from None
    if empty := sum(not name.strip() for name in names_of(column)):
        raise UsageError(f"y: {empty} empty labels", hint=_HINT)
    return column


def as_array(y: Iterable[object] | SupportsArray) -> NDArray[np.generic]:
    """y as an array; a tensor may be on a GPU."""
    if hasattr(y, "detach"):
        return np.asarray(y.detach().cpu().numpy())
    return np.asarray(y) if is_array(y) else np.asarray(list(cast("Iterable[object]", y)))


def names_of(column: NDArray[np.generic]) -> list[str]:
    """The names of labels `(N,)` in bundles, tables and reports."""
    return [str(label) for label in column.tolist()]


def kind_of(column: NDArray[np.generic]) -> str:
    """`int`, `float`, `bool` or `str`."""
    return _KINDS.get(column.dtype.kind, "str")
