"""How linear heads of a task are fitted, as a value that a linear probe is given. A new kind is a value here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foveal.clock import Deadline
from foveal.models.linear_head import LinearHead
from foveal.training import linear_head, one_vs_rest
from foveal.training.compare import LabelEvidence
from foveal.training.linear_head import CrossValidation
from foveal.values import SplitRecord

Array = NDArray[np.float32]
Targets = NDArray[np.int64]


class CrossValidate(Protocol):
    """Chooses a strength; see `linear_head.cross_validate`."""

    def __call__(
        self, views: Array, targets: Targets, folds: NDArray[np.int64] | None, /, *, deadline: Deadline
    ) -> CrossValidation | None:
        """Views `(V, N, D)`, encoded targets `(N, …)` and fold numbers `(N,)`."""
        ...


@dataclass(frozen=True)
class HeadSolver:
    """The parts of one kind of head; features are `(V, N, D)`, targets `(N, …)` as the task encodes them.

    Attributes:
        cross_validate: chooses the strength.
        out_of_fold_logits: features, targets, folds, strength → `(N, K)`, each by a head without the image's fold.
        fit: features, targets, strength → the head on all of them.
        evidence: records and a cross-validation of them → predictions to compare models by.
        exclusive: whether an image has one class, so that classes have a prior that can be adjusted.
        has_all_classes: whether targets show every one of so many classes, so that each can be learned.
    """

    cross_validate: CrossValidate
    out_of_fold_logits: Callable[[Array, Any, NDArray[np.int64], float], Array]
    fit: Callable[[Array, Any, float], LinearHead]
    evidence: Callable[[Sequence[SplitRecord], CrossValidation, Any], LabelEvidence]
    has_all_classes: Callable[[Any, int], bool]
    exclusive: bool = True


def out_of_fold(
    records: Sequence[SplitRecord], chosen: CrossValidation, labels: NDArray[np.int64]
) -> LabelEvidence:
    """Predictions of a cross-validation of one label for each image, as evidence."""
    return LabelEvidence.of(records, np.log(np.maximum(chosen.probabilities, 1e-7)), labels)


#: One label for each image.
SOFTMAX = HeadSolver(
    linear_head.cross_validate,
    linear_head.out_of_fold_logits,
    linear_head.fit_head,
    out_of_fold,
    lambda labels, classes: len(np.unique(labels)) == classes,
)
#: Any number of labels for each image.
ONE_VS_REST = HeadSolver(
    one_vs_rest.cross_validate,
    one_vs_rest.out_of_fold_logits,
    one_vs_rest.fit_one_vs_rest,
    one_vs_rest.label_set_evidence,
    one_vs_rest.all_seen,
    exclusive=False,
)
