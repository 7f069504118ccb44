"""The base classes of scikit-learn's estimators, with types.

scikit-learn has no type hints: without these, type checkers would accept every attribute of an estimator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["BaseEstimator", "ClassifierMixin", "NotFittedError", "Tags"]

if TYPE_CHECKING:
    from typing import Protocol, Self

    class NotFittedError(ValueError, AttributeError):
        """As in scikit-learn."""

    class InputTags(Protocol):
        """The kinds of X that an estimator takes."""

        two_d_array: bool
        three_d_array: bool
        string: bool

    class TargetTags(Protocol):
        """What an estimator needs of y."""

        required: bool

    class ClassifierTags(Protocol):
        """What a classifier can learn."""

        multi_label: bool

    class Tags(Protocol):
        """What scikit-learn asks an estimator about itself."""

        input_tags: InputTags
        target_tags: TargetTags
        classifier_tags: ClassifierTags | None
        non_deterministic: bool

    class BaseEstimator:
        """The part of scikit-learn's that is used or overridden here."""

        def get_params(self, deep: bool = True) -> dict[str, object]:
            """The parameters of the constructor."""

        def set_params(self, **params: object) -> Self:
            """Set parameters of the constructor."""

        def _repr_html_inner(self) -> str: ...
        def _repr_mimebundle_(self, **options: object) -> dict[str, str]: ...
        def __getstate__(self) -> dict[str, object]: ...
        def __setstate__(self, state: dict[str, object]) -> None: ...
        def __sklearn_tags__(self) -> Tags: ...

    class ClassifierMixin:
        """Marks a classifier."""

else:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.exceptions import NotFittedError
    from sklearn.utils import Tags
