"""Figures of a cross-validation over all images, in place of those of the test subset alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.wording import count_of
from foveal.evaluation.classification import Measurement, measure
from foveal.metrics.cross_validation import cross_validation_effect, difference_interval
from foveal.values import SplitRecord

#: Figures of the test subset that are kept beside those of the cross-validation.
_KEPT = ("n", "accuracy", "accuracy_ci95", "balanced_accuracy", "balanced_accuracy_ci95", "log_loss")


def cross_validated(
    subset: Mapping[str, Any],
    records: Sequence[SplitRecord],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    thresholds: NDArray[np.float64],
    folds: NDArray[np.int64],
    classes: Sequence[str],
) -> Measurement:
    """Figures of all images, with what was measured on the test subset as `subset`.

    Args:
        subset: figures of the measured model on the test subset.
        records: N images.
        labels: `(N,)` positions in the classes.
        probabilities: `(N, K)`, each by a model that did not learn from the image.
        thresholds: of their prediction sets, `(N,)`.
        folds: the fold that each was predicted in, `(N,)`.
        classes: K names.
    """
    right, groups = probabilities.argmax(axis=1) == labels, [p.group for p in records]
    effect = cross_validation_effect(right, groups)
    measured = measure(
        probabilities,
        labels,
        [p.record.path for p in records],
        classes,
        set_threshold=thresholds.astype(np.float32)[:, None],
        effect=effect,
    )
    count = int(folds.max()) + 1
    measured.figures.update(
        method="cv",
        folds=count,
        fold_images=round(len(records) * (count - 1) / count),
        groups=len(set(groups)),
        variance_effect=effect,
        selection=_selection(right, np.array([p.subset == "train" for p in records]), effect),
        subset={name: subset[name] for name in _KEPT},
    )
    return measured


def _selection(right: NDArray[np.bool_], chosen_on: NDArray[np.bool_], effect: float) -> dict[str, Any] | None:
    """Accuracy on the images that the strategy was chosen by, and on the others: what the choice may flatter.

    None if the strategy was chosen on all images, or on none.
    """
    there, elsewhere = right[chosen_on], right[~chosen_on]
    if not len(there) or not len(elsewhere):
        return None
    hits = int(there.sum()), int(elsewhere.sum())
    return {
        "n": len(there),
        "accuracy": float(there.mean()),
        "other_n": len(elsewhere),
        "other_accuracy": float(elsewhere.mean()),
        "difference_ci95": list(difference_interval(hits[0], len(there), hits[1], len(elsewhere), effect)),
    }


def tested_how(summary: Mapping[str, Any]) -> str:
    """A sentence that says which images and models the figures belong to."""
    test, looks = summary["test"], summary["test_looks"]
    if test.get("method") == "cv":
        return _cross_validated_words(test)
    looked = (
        f"This is evaluation {looks} on this test set: each evaluation, and each choice made after it, biases the "
        "figures upwards."
        if looks > 1
        else "This was the first evaluation on them."
    )
    return f"The test images were not used for training or for choosing a model. {looked}"


def _cross_validated_words(test: Mapping[str, Any]) -> str:
    subset, selection = test["subset"], test["selection"]
    words = (
        f"Each of {count_of(test['n'], 'image')} was predicted once, by one of {test['folds']} models that had not "
        f"seen it or its group; each of them learned from about {count_of(test['fold_images'], 'image')}, and "
        "chose its regularisation and temperature there. The figures are those of these models together. "
    )
    if subset["n"]:
        low, high = (100 * end for end in subset["accuracy_ci95"])
        words += (
            f"The measured model alone was right for {100 * subset['accuracy']:.1f} % of the "
            f"{count_of(subset['n'], 'image')} of the test subset (95 % interval {low:.1f}–{high:.1f} %). "
        )
    if selection:
        low, high = (100 * end for end in selection["difference_ci95"])
        words += (
            f"The strategy was chosen on {count_of(selection['n'], 'image')}: {100 * selection['accuracy']:.1f} % of "
            f"these were right, and {100 * selection['other_accuracy']:.1f} % of the others (difference "
            f"{low:+.1f} to {high:+.1f} points)."
        )
    return words.strip()
