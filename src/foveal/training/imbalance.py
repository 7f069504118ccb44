"""Logit adjustment for classes of very different sizes, chosen by cross-validation.

A model of unbalanced classes gives the rare ones too little where each class is to count alike. Subtracting
`tau × log(share of the class)` from the logits corrects this (Menon et al. 2021, "Long-tail learning via logit
adjustment"): tau 0 assumes new images to come in the shares of the training images, tau 1 in equal shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.targets.labels import IMBALANCE
from foveal.metrics.classification import balanced_accuracy, confusion

Array = NDArray[np.float32]
Labels = NDArray[np.int64]

#: The values of tau that are tried.
TAUS = (0.0, 0.5, 1.0)


def adjustment(labels: Labels, classes: int, tau: float) -> Array:
    """What is subtracted from the logits of each class, `(K,)`; of a class without images as of one image.

    Args:
        labels: of the images that the model was fitted on, `(N,)`.
        classes: K.
        tau: see above.
    """
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    result: Array = (tau * np.log(counts / counts.sum())).astype(np.float32)
    return result


def choose_tau(logits: Array, labels: Labels, *, wanted: bool = True) -> tuple[float, str]:
    """The tau of the highest balanced accuracy, the smallest of equal ones; and why.

    Args:
        logits: of images that the predicting models had not seen, `(N, K)`.
        labels: `(N,)`.
        wanted: whether to adjust where classes are unbalanced.
    """
    if not wanted:
        return 0.0, "--imbalance none"
    counts = np.bincount(labels, minlength=logits.shape[1])
    if counts.max() <= IMBALANCE * max(1, counts[counts > 0].min()):
        return 0.0, f"the largest class has at most {IMBALANCE:g} times as many images as the smallest"
    tried = {tau: _balanced(logits - adjustment(labels, logits.shape[1], tau), labels) for tau in TAUS}
    words = ", ".join(f"{tau:g}: {100 * value:.1f} %" for tau, value in tried.items())
    return max(TAUS, key=lambda tau: tried[tau]), f"balanced accuracy in cross-validation of {words}"


def stated_prior(labels: Labels, classes: Sequence[str], tau: float) -> dict[str, Any]:
    """As `prior` in `summary.json`: tau, and the shares in which the model assumes new images to come.

    Args:
        labels: of the images that it was fitted on, `(N,)`.
        classes: K names.
        tau: of its logit adjustment.
    """
    weights = np.maximum(np.bincount(labels, minlength=len(classes)), 1.0) ** (1 - tau)
    shares = (weights / weights.sum()).tolist()
    return {"tau": tau, "shares": dict(zip(classes, shares, strict=True))}


def _balanced(logits: Array, labels: Labels) -> float:
    return balanced_accuracy(confusion(labels, logits.argmax(axis=1), logits.shape[1])) or 0.0
