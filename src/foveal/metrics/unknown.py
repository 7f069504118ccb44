"""Is an image unlike everything that a model was trained on? A conformal p-value says how unusual it is.

The features of an image are divided by their length (Müller and Hein 2025, "Mahalanobis++") and described by three
distances in the leading principal directions of the training images: to the nearest class (Mahalanobis, Lee 2018), the
same relative to the distance from all images together (Ren 2021), and what lies outside of these directions (ViM,
Wang 2022). The covariances are shrunken (Ledoit and Wolf 2004). The distances are standardised and added up: the
relative one sees new classes of the same kind of image, the residual sees images of another kind.

Models of several folds score the images that they were not fitted on, and a new image is compared in each fold with
that fold's images (cross-conformal prediction: Vovk 2015). Groups are the units, weighted as in hierarchical conformal
prediction (Lee, Barber and Willett 2023), since near-duplicates are not exchangeable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Labels = NDArray[np.int64]

#: The distances, in the order of `Subspace.distances`.
DISTANCES = ("mahalanobis", "relative", "residual")
#: Score → the standardised distances that are added up. Each has the residual: a score without it may see the classes
#: that were held out to choose it, and yet miss images of another kind.
SCORES: dict[str, tuple[str, ...]] = {
    "relative+residual": ("relative", "residual"),
    "residual": ("residual",),
    "mahalanobis+residual": ("mahalanobis", "residual"),
}
#: Used where no class can be held out, and unless another is clearly better; `bench/unknown.py` compares them.
DEFAULT_SCORE = "relative+residual"
#: Of a network whose features are not at hand: the entropy of its probabilities.
ENTROPY = "entropy"
#: Principal directions, where there are not more classes: with more, a few images make the relative distance useless.
DIRECTIONS = 32
#: The most directions, and images for each direction.
_MOST_DIRECTIONS, _IMAGES_A_DIRECTION = 128, 4


@dataclass(frozen=True)
class Subspace:
    """Training images as a distribution of unit vectors; D features, R directions, K classes.

    Attributes:
        centre: `(D,)`.
        directions: `(D, R)`, orthonormal.
        within: `(R, R)`, makes the covariance within classes the identity.
        total: `(R, R)`, the same for all images together.
        means: `(K, R)`, of the classes, after `within`.
        standard: `(2, 3)`, mean and deviation of each distance over the images that it was fitted on.
    """

    centre: Array
    directions: Array
    within: Array
    total: Array
    means: Array
    standard: Array

    def distances(self, features: Array) -> Array:
        """Features `(N, D)` to standardised distances `(N, 3)`; see `DISTANCES`."""
        result: Array = (self._distances(unit(features)) - self.standard[0]) / self.standard[1]
        return result

    def _distances(self, units: Array) -> Array:
        centred = units - self.centre
        inside = centred @ self.directions
        placed = inside @ self.within
        lengths = np.square(placed).sum(axis=1)[:, None] + np.square(self.means).sum(axis=1)
        to_means = (lengths - 2 * placed @ self.means.T).min(axis=1)
        to_all = np.square(inside @ self.total).sum(axis=1)
        outside = np.square(centred).sum(axis=1) - np.square(inside).sum(axis=1)
        return np.stack([to_means, to_means - to_all, outside], axis=1).astype(np.float32)


@dataclass(frozen=True)
class FoldScores:
    """Scores of one fold's images by a model that was fitted without them.

    Attributes:
        scores: `(M,)`, descending.
        weights: `(M,)`, sums: the number of groups that score at least as high.
    """

    scores: Array
    weights: Array

    @classmethod
    def of(cls, scores: Array, weights: Array) -> FoldScores:
        """From scores in any order, and the weight of each: one over the images of its group."""
        order = np.argsort(-scores, kind="stable")
        sums = np.cumsum(weights[order].astype(np.float64))
        return cls(scores[order].astype(np.float32), sums.astype(np.float32))

    def groups_above(self, scores: Array) -> NDArray[np.float64]:
        """How many groups score at least as high as each of these, `(N,)`."""
        places = len(self.scores) - np.searchsorted(self.scores[::-1], scores, side="left")
        sums = np.concatenate([[0.0], self.weights]).astype(np.float64)
        result: NDArray[np.float64] = sums[places]
        return result


@dataclass(frozen=True)
class UnknownDetector:
    """Gives the p-value of an image: the share of images like the training images that are as unusual.

    Attributes:
        score: a key of `SCORES`, or `ENTROPY`.
        folds: the scores to compare with, of each fold.
        subspaces: of each fold; none for `ENTROPY`.
    """

    score: str
    folds: tuple[FoldScores, ...]
    subspaces: tuple[Subspace, ...] = ()

    @property
    def groups(self) -> int:
        """That it is calibrated on."""
        return round(sum(float(fold.weights[-1]) for fold in self.folds if len(fold.weights)))

    def p_values(self, features: Array, logits: Array) -> NDArray[np.float64]:
        """P-values `(N,)` of images, to six digits: where groups are just enough, the smallest equals the rate.

        For an image from the distribution of the training images, `p <= a` has about the probability `a`; never more
        than twice that.

        Args:
            features: `(N, D)`, the mean of the views.
            logits: `(N, K)`, not calibrated.
        """
        above = np.ones(len(logits), dtype=np.float64)  # the image itself
        for number, fold in enumerate(self.folds):
            if self.subspaces:
                scores = score_of(self.subspaces[number].distances(features), self.score)
            else:
                scores = entropy(logits)
            above += fold.groups_above(scores)
        result: NDArray[np.float64] = np.minimum(1.0, np.round(above / (self.groups + 1), 6))
        return result

    def tensors(self) -> dict[str, Array]:
        """Its numbers by name, the folds stacked along the first axis."""
        found = {
            "scores": np.concatenate([fold.scores for fold in self.folds]),
            "weights": np.concatenate([fold.weights for fold in self.folds]),
            "images": np.array([len(fold.scores) for fold in self.folds], dtype=np.int64),
        }
        if self.subspaces:
            for name in Subspace.__annotations__:
                found[name] = np.stack([getattr(subspace, name) for subspace in self.subspaces])
        return found

    @classmethod
    def of_tensors(cls, score: str, tensors: Mapping[str, NDArray[Any]]) -> UnknownDetector:
        """What `tensors` gave.

        Raises:
            KeyError, ValueError: when some are missing or do not fit together.
        """
        counts = tensors["images"]
        if counts.ndim != 1 or not len(counts) or counts.dtype != np.int64 or (counts < 1).any():
            raise ValueError("images: not the number of images in each fold")
        ends = np.cumsum(counts)[:-1]
        for name in ("scores", "weights"):
            if tensors[name].shape != (int(counts.sum()),):
                raise ValueError(f"{name}: shape {tensors[name].shape} for {int(counts.sum())} images")
        parts = zip(np.split(tensors["scores"], ends), np.split(tensors["weights"], ends), strict=True)
        folds = tuple(FoldScores(scores, weights) for scores, weights in parts)
        if score == ENTROPY:
            return cls(score, folds)
        if score not in SCORES:
            raise ValueError(f"unknown score {score!r}: one of {', '.join((*SCORES, ENTROPY))}")
        if tensors["directions"].ndim != 3 or tensors["means"].ndim != 3:
            raise ValueError("directions, means: not one matrix for each fold")
        width, count = tensors["directions"].shape[1:]
        shapes = {
            "centre": (width,),
            "directions": (width, count),
            "within": (count, count),
            "total": (count, count),
            "means": (tensors["means"].shape[1], count),
            "standard": (2, len(DISTANCES)),
        }
        for name, shape in shapes.items():
            if tensors[name].shape != (len(counts), *shape):
                raise ValueError(f"{name}: shape {tensors[name].shape} instead of {(len(counts), *shape)}")
        subspaces = (Subspace(**{name: tensors[name][i] for name in shapes}) for i in range(len(counts)))
        return cls(score, folds, tuple(subspaces))


def groups_needed(rate: float) -> int:
    """The fewest groups with which an image can be called unknown at a rate of false alarms."""
    return math.ceil(1 / rate - 1e-9) - 1


def unit(features: Array) -> Array:
    """Rows `(N, D)` divided by their length."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    result: Array = (features / np.maximum(lengths, 1e-12)).astype(np.float32)
    return result


def score_of(distances: Array, score: str) -> Array:
    """Standardised distances `(N, 3)` to a score `(N,)`: larger is more unusual."""
    result: Array = distances[:, [DISTANCES.index(name) for name in SCORES[score]]].sum(axis=1)
    return result


def entropy(logits: Array) -> Array:
    """Of the probabilities of logits `(N, K)`, in nats, `(N,)`."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    sums = np.exp(shifted).sum(axis=1)
    result: Array = (np.log(sums) - (np.exp(shifted) * shifted).sum(axis=1) / sums).astype(np.float32)
    return result


def direction_count(images: int, classes: int, width: int) -> int:
    """How many principal directions to use of so many images, classes and features; some are left for the residual."""
    most = min(_MOST_DIRECTIONS, images // _IMAGES_A_DIRECTION, width // 2)
    return max(1, min(max(DIRECTIONS, classes), most))


def fit_subspace(features: Array, labels: Labels, count: int) -> Subspace:
    """From images of known classes.

    Args:
        features: `(N, D)`.
        labels: `(N,)`; any integers.
        count: of directions, see `direction_count`.
    """
    from sklearn.utils.extmath import randomized_svd

    units = unit(features)
    centre = units.mean(axis=0)
    classes, index = np.unique(labels, return_inverse=True)
    _, _, rows = randomized_svd(units - centre, n_components=count, n_iter=4, random_state=0)
    directions = np.ascontiguousarray(rows.T, dtype=np.float32)
    inside = (units - centre) @ directions
    means = np.stack([inside[index == k].mean(axis=0) for k in range(len(classes))])
    within = _whitening(inside - means[index])
    total, placed = _whitening(inside), (means @ within).astype(np.float32)
    fitted = Subspace(centre, directions, within, total, placed, np.zeros((2, len(DISTANCES)), np.float32))
    distances = fitted._distances(units)
    # With one class the relative distance is zero but for rounding, and must not be made large by standardising.
    deviation = np.maximum(distances.std(axis=0), 1e-3 * distances[:, 0].std() * np.array([1, 1, 0]) + 1e-9)
    standard = np.stack([distances.mean(axis=0), deviation]).astype(np.float32)
    return Subspace(**{**vars(fitted), "standard": standard})


def fit_detectors(
    features: Array, labels: Labels, folds: Labels, groups: Sequence[str], scores: Sequence[str] = tuple(SCORES)
) -> dict[str, UnknownDetector]:
    """A detector for each score, calibrated on the images that it is fitted on, each by a model without its fold.

    Args:
        features: `(N, D)`, the mean of the views.
        labels: `(N,)`.
        folds: number of the fold of each image, `(N,)`; groups are whole.
        groups: of the images.
        scores: keys of `SCORES`.
    """
    weights = group_weights(groups)
    fewest = len(labels) - int(np.bincount(folds).max())
    count = direction_count(fewest, len(np.unique(labels)), features.shape[1])
    subspaces, parts = [], []
    for number in np.unique(folds):
        outside = folds == number
        subspace = fit_subspace(features[~outside], labels[~outside], count)
        subspaces.append(subspace)
        parts.append((subspace.distances(features[outside]), weights[outside]))
    return {
        score: UnknownDetector(
            score,
            tuple(FoldScores.of(score_of(found, score), weight) for found, weight in parts),
            tuple(subspaces),
        )
        for score in scores
    }


def entropy_detector(logits: Array, groups: Sequence[str]) -> UnknownDetector:
    """The detector of a network, calibrated on images that it was not fitted on.

    Args:
        logits: `(N, K)`, not calibrated.
        groups: of the images.
    """
    return UnknownDetector(ENTROPY, (FoldScores.of(entropy(logits), group_weights(groups)),))


def group_weights(groups: Sequence[str]) -> Array:
    """One over the number of images in the group of each, `(N,)`."""
    _, index, sizes = np.unique(np.asarray(groups, dtype=str), return_inverse=True, return_counts=True)
    result: Array = (1 / sizes[index]).astype(np.float32)
    return result


def _whitening(centred: Array) -> Array:
    """`(R, R)`: the covariance of `(N, R)`, shrunken, becomes the identity."""
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(centred.astype(np.float64), assume_centered=True)
    ridge = 1e-9 * max(float(np.trace(covariance)) / len(covariance), 1e-12)
    inverse = np.linalg.inv(covariance + ridge * np.eye(len(covariance)))
    result: Array = np.linalg.cholesky(inverse).astype(np.float32)
    return result
