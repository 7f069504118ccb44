"""Class labels in the type in which they were given: integers come back as integers, although a bundle stores names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from foveal.data.images.array_batches import SupportsArray, is_array
from foveal.errors import UsageError

#: By the kind of a NumPy type: its name in a bundle.
_KINDS = {"i": "int", "u": "int", "f": "float", "b": "bool"}
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

    @classmethod
    def of_column(cls, column: NDArray[np.generic], classes: Sequence[str]) -> ClassLabels:
        """The labels of a column whose names are among the classes."""
        values = np.unique(column)
        index = {name: i for i, name in enumerate(classes)}
        places = np.array([index.get(name, -1) for name in names_of(values)], dtype=np.intp)
        return cls(values[places >= 0], places[places >= 0])

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
        given = y.detach().cpu().numpy() if hasattr(y, "detach") else _as_array(y)
        column: NDArray[np.generic] = column_or_1d(given, warn=True)
        if column.size:
            assert_all_finite(column, input_name="y")
            check_classification_targets(column)
    except (ValueError, TypeError) as error:
        raise UsageError(f"y: {error}", hint=_HINT) from None
    if empty := sum(not name.strip() for name in names_of(column)):
        raise UsageError(f"y: {empty} empty labels", hint=_HINT)
    return column


def _as_array(y: Iterable[object] | SupportsArray) -> NDArray[np.generic]:
    return np.asarray(y) if is_array(y) else np.asarray(list(cast("Iterable[object]", y)))


def names_of(column: NDArray[np.generic]) -> list[str]:
    """The names of labels `(N,)` in bundles, tables and reports."""
    return [str(label) for label in column.tolist()]


def kind_of(column: NDArray[np.generic]) -> str:
    """`int`, `float`, `bool` or `str`."""
    return _KINDS.get(column.dtype.kind, "str")
