"""Which group of images to show next, what label to propose for it, and which of its images look out of place.

An image is worth a label in so far as the labels given so far do not tell its class: the linear model of them is
unsure, or nothing like it was labelled at all. A group is worth the sum over its images, since one action labels all
of them. Classes that have enough images count for less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.engines.base import Features

#: What an image is worth, of whose class there are enough already.
_ENOUGH = 0.3
#: A label is proposed when the images of a group have it with this mean probability.
_PROPOSED = 0.5
#: No label is proposed for a group whose images are, in the median, newer than this (0: known, 1: like nothing).
_NEW = 0.6
#: A group of similar images is mixed when the mean probability of each class is less.
_PURE = 0.7
#: Of images that stayed behind, those with this probability are shown together, but no fewer than these.
_SURE, _AT_LEAST = 0.6, 12
#: Images that the usual distance between neighbours is measured on.
_MEASURED = 500

_Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Guess:
    """What the labels given so far say about the images without one.

    Attributes:
        classes: K names.
        probabilities: `(N, K)`.
        novelty: 0 for an image as near to a labelled one as neighbours are, 1 for one like none of them, `(N,)`.
    """

    classes: Sequence[str]
    probabilities: Features
    novelty: _Floats

    def at(self, rows: Sequence[int]) -> Guess:
        """About some of the images."""
        return Guess(self.classes, self.probabilities[rows], self.novelty[rows])


@dataclass(frozen=True)
class Proposal:
    """A group as it is shown.

    Attributes:
        label: what its images seem to be; None: nothing that was labelled so far.
        order: rows of the group, those that look out of place first.
        selected: whether each row of the group seems to belong to the rest, `(N,)`.
        worth: how much its labels would tell.
    """

    label: str | None
    order: list[int]
    selected: NDArray[np.bool_]
    worth: float


def usual_cosine(points: Features) -> float:
    """The median cosine between an image and its nearest neighbour, of some of `points` `(N, d)`; 1 for a few."""
    if len(points) < 3:
        return 1.0
    some = points[:: max(1, len(points) // _MEASURED)]
    cosines = some @ points.T
    second = np.partition(cosines, -2, axis=1)[:, -2]  # the first is the image itself
    return max(0.05, float(np.median(second)))


def novelty_of(nearest: _Floats, usual: float) -> _Floats:
    """See `Guess.novelty`.

    Args:
        nearest: the cosine with the most similar labelled image, `(N,)`.
        usual: of `usual_cosine`.
    """
    result: _Floats = np.clip(1 - nearest / usual, 0, 1).astype(np.float32)
    return result


def propose(points: Features, guess: Guess, counts: Mapping[str, int], goal: int) -> Proposal:
    """How a group is shown.

    Args:
        points: of its images, `(N, d)`, N ≥ 1.
        guess: about these images.
        counts: images that each class has.
        goal: images that each class should have.
    """
    mean = points.mean(axis=0)
    cohesion = float(np.linalg.norm(mean))
    if not guess.classes:
        odd = 1 - points @ mean
        order = np.argsort(-odd, kind="stable").tolist()
        return Proposal(None, order, np.ones(len(points), dtype=bool), cohesion * len(points))
    best = guess.probabilities.argmax(axis=1)
    unsure = np.maximum(1 - guess.probabilities.max(axis=1), guess.novelty)
    enough = np.array([counts.get(name, 0) >= goal for name in guess.classes])
    need = unsure * np.where(enough[best], _ENOUGH, 1.0)
    share = guess.probabilities.mean(axis=0)
    top = int(share.argmax())
    worth = cohesion * float(need.sum())
    if share[top] < _PROPOSED or float(np.median(guess.novelty)) > _NEW:
        odd = 1 - points @ mean
        return Proposal(None, np.argsort(-odd, kind="stable").tolist(), np.ones(len(points), dtype=bool), worth)
    doubt = 1 - guess.probabilities[:, top]
    return Proposal(guess.classes[top], np.argsort(-doubt, kind="stable").tolist(), best == top, worth)


def is_mixed(guess: Guess) -> bool:
    """Whether images that look alike are of several known classes: they are better shown by class then."""
    if len(guess.classes) < 2 or float(np.median(guess.novelty)) > _NEW:
        return False
    return float(guess.probabilities.mean(axis=0).max()) < _PURE


def surest(guess: Guess, most: int) -> list[int]:
    """Rows of images of one likely class that are shown together: those that are sure, or else a few of the others."""
    sureness = guess.probabilities.max(axis=1, initial=0)
    order = np.argsort(-sureness, kind="stable")
    count = max(_AT_LEAST, int((sureness >= _SURE).sum()))
    rows: list[int] = order[: min(most, count)].tolist()
    return rows


def without_denied(guess: Guess, denied: Sequence[Sequence[str]]) -> Features:
    """Probabilities `(N, K)` of classes that a person did not rule out for an image; rows of zeros where none is left.

    Args:
        guess: about N images.
        denied: of each image, the classes that were ruled out.
    """
    result = guess.probabilities.copy()
    places = {name: number for number, name in enumerate(guess.classes)}
    for row, names in enumerate(denied):
        for name in names:
            if name in places:
                result[row, places[name]] = 0
    sums = result.sum(axis=1, keepdims=True)
    scaled: Features = np.divide(result, sums, out=np.zeros_like(result), where=sums > 1e-6)
    return scaled
