"""Any number of labels for each image: multi-label classification. Each label is a question of its own, yes or no."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from foveal.data.targets.folds import FOLDS
from foveal.data.targets.label_text import is_list, labels_in, read_labels
from foveal.data.targets.stratification import iterative_stratification
from foveal.data.targets.target import Array, Target
from foveal.data.wording import count_of, first_few
from foveal.errors import DataError
from foveal.metrics.calibration import Calibration, HeldOutLogits
from foveal.metrics.multi_label import (
    average_precisions,
    best_thresholds,
    fit_binary_temperature,
    map_interval,
    mean_of,
    sigmoid,
)
from foveal.values import Entry, Excluded, Finding, ImageRecord, Split, SplitRecord, Subset

if TYPE_CHECKING:
    from torch import Tensor

    from foveal.data.targets.target import Loss

#: Images with a label below which no figure about it is reliable.
FEW = 20
#: `predict` gives logits in this unit, as whole numbers.
_UNIT = 1e-6
#: Logits beyond it are equal to it: their sigmoid can't be told from 0 or 1.
_LARGEST = 100.0


class LabelSets(Target):
    """See `Target`. The label of a record is the text of its labels, see `label_text`."""

    task: ClassVar[str] = "multi-label"
    annotation: ClassVar[Literal["label", "mask", "labels"]] = "labels"
    column: ClassVar[str] = "label"
    aliases: ClassVar[Mapping[str, str]] = {"labels": "label", "tags": "label"}
    plural: ClassVar[str] = "lists of labels"
    item: ClassVar[str] = "image with a list of labels"
    layout: ClassVar[str] = (
        'a table of images, one a line in a .jsonl file: {"path": "a.jpg", "label": ["cat", "dog"]}'
    )
    absent: ClassVar[str] = "no_label"
    cell_hint: ClassVar[str] = (
        'write ["cat", "dog"], or [] for none of them; or cat|dog in a CSV, with --label-separator "|"'
    )
    stratified: ClassVar[bool] = True

    @classmethod
    def create(cls, folders: Sequence[str] = (), *, classes: str | None = None, ignore: str | None = None) -> Self:
        """Labels need nothing but themselves."""
        return cls()

    @classmethod
    def reads(cls, values: Iterable[object], separator: str | None = None) -> bool:
        """Where one of them is a list, or there is a separator."""
        return separator is not None or any(map(is_list, values))

    @classmethod
    def cell(cls, value: object, separator: str | None = None) -> str:
        """The text of the labels."""
        return read_labels(value, separator)

    def names(self, label: str) -> Collection[str]:
        """Each of the labels."""
        return labels_in(label)

    def entry(
        self, path: str, annotation: str, root: str, split: Subset | None = None, group: str | None = None
    ) -> Entry:
        """An image with its labels."""
        return Entry(path, annotation, split, group)

    def key(self, record: ImageRecord) -> str | None:
        """The text of the labels."""
        return record.label

    def class_counts(self, records: Sequence[ImageRecord]) -> dict[str, int]:
        """Images with each label."""
        return dict(sorted(Counter(name for r in records for name in labels_in(r.label)).items()))

    def classes_in(self, record: ImageRecord) -> Collection[str]:
        """Its labels."""
        return labels_in(record.label)

    def findings(self, records: Sequence[ImageRecord], declared_classes: Collection[str]) -> Iterable[Finding]:
        """Labels that no image has, or few, or all; and images that have none."""
        counts, n = self.class_counts(records), len(records)
        if empty := sorted(set(declared_classes) - set(counts)):
            yield Finding(
                "empty_classes",
                "warning",
                f"{count_of(len(empty), 'label')} without a readable image: {first_few(empty)}",
                "add images, or remove the label",
                len(empty),
            )
        if few := sorted((count, name) for name, count in counts.items() if count < FEW):
            yield Finding(
                "few_pictures",
                "warning",
                f"{count_of(len(few), 'label')} of fewer than {FEW} images: {first_few(f'{c} ({k})' for k, c in few)}",
                "collect more: 100 images with each label are a good start",
                len(few),
            )
        if everywhere := [name for name, count in counts.items() if count == n]:
            yield Finding(
                "label_everywhere",
                "warning",
                f"{count_of(len(everywhere), 'label')} of every image: {first_few(everywhere)}",
                "there is nothing to learn about it without images that do not have it",
                len(everywhere),
            )
        if without := sum(not labels_in(r.label) for r in records):
            yield Finding(
                "no_labels",
                "note",
                f"{count_of(without, 'image')} with an empty list: none of the labels",
                "nothing to do, if these images were looked at for every label",
                without,
            )

    def build_split(self, placed: Sequence[SplitRecord], excluded: Sequence[Excluded]) -> Split:
        """Refuse to go on without a label that some training images have and others do not.

        Labels that no training image has are not learned; their images are kept for the other labels.
        """
        train = [p.record for p in placed if p.subset == "train"]
        counts = self.class_counts(train)
        if not any(0 < count < len(train) for count in counts.values()):
            named = ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:5]) or "none"
            late = sum(item.reason == "no_time" for item in excluded)
            hint = "`foveal audit` says what was excluded and why; add images with the label, and others without"
            unread = count_of(late, "image was", "images were")
            raise DataError(
                f"training needs a label that some of the {count_of(len(train), 'training image')} have, and others "
                f"do not; there are: {named}",
                hint=f"{unread} not read in time: allow more, --time 10m" if late else hint,
            )
        return self.restore_split(sorted(placed, key=lambda p: p.record.path), excluded)

    def restore_split(self, placed: Sequence[SplitRecord], excluded: Sequence[Excluded]) -> Split:
        """The split of an earlier run, as it was."""
        trained = self.class_counts([p.record for p in placed if p.subset == "train"])
        return Split(tuple(placed), tuple(excluded), tuple(trained))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Restored from `to_dict`."""
        return cls()

    def encode(self, placed: Sequence[SplitRecord], classes: Sequence[str]) -> NDArray[np.int64]:
        """1 where an image has the label, `(N, K)`; labels that are not among the classes are left out."""
        index = {name: k for k, name in enumerate(classes)}
        encoded = np.zeros((len(placed), len(classes)), dtype=np.int64)
        for i, p in enumerate(placed):
            for name in labels_in(p.record.label):
                if name in index:
                    encoded[i, index[name]] = 1
        return encoded

    def strata(self, records: Sequence[ImageRecord]) -> list[str | None]:
        """The rarest label of each image among these; None of an image without any."""
        counts = self.class_counts(records)
        return [min(labels_in(r.label), key=lambda name: (counts[name], name), default=None) for r in records]

    def shared(self, record: ImageRecord) -> str | None:
        """All labels."""
        return record.label

    def folds(
        self, placed: Sequence[SplitRecord], seed: int, *, most: int = FOLDS, rare: bool = False
    ) -> NDArray[np.int64] | None:
        """By iterative stratification of groups, in an order that follows from the seed and their names; labels may
        be in fewer groups than there are folds, whether `rare` or not.

        Returns:
            None for fewer than two groups.
        """
        names, member_of = np.unique([p.group for p in placed], return_inverse=True)
        if len(names) < 2:
            return None
        encoded = self.encode(placed, tuple(self.class_counts([p.record for p in placed])))
        order = np.random.default_rng(seed).permutation(len(names))
        counts = np.zeros((len(names), encoded.shape[1]), dtype=np.int64)
        np.add.at(counts, member_of, encoded)
        sizes = np.bincount(member_of)
        parts = np.empty(len(names), dtype=np.int64)
        parts[order] = iterative_stratification(counts[order], sizes[order], [1.0] * min(most, len(names)))
        folds: NDArray[np.int64] = parts[member_of]
        return folds

    def loss(
        self, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None, dice: float = 0.0
    ) -> Loss:
        """Binary cross-entropy of `(N, K)` logits, the mean over images and labels."""
        if dice:
            raise ValueError("labels have no area: there is no Dice loss for them")
        from torch.nn import functional

        def loss(logits: Tensor, targets: Tensor) -> Tensor:
            weight = None if class_weights is None else class_weights.to(logits.device)
            smooth = targets.to(logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
            return functional.binary_cross_entropy_with_logits(logits, smooth, weight)

        return loss

    def initial_loss(self, classes: Sequence[str]) -> float:
        """Of a probability of one half for every label."""
        return math.log(2)

    @staticmethod
    def probabilities(logits: Array, temperature: float = 1.0) -> Array:
        """The sigmoid of each logit: labels do not exclude each other."""
        return sigmoid(logits, temperature)

    def predict(self, logits: Array) -> NDArray[np.int64]:
        """The logits `(N, K)` as whole numbers, in millionths: images are ranked by them, label by label."""
        bounded = np.clip(logits.astype(np.float64), -_LARGEST, _LARGEST)
        return np.round(bounded / _UNIT).astype(np.int64)

    def tally(
        self, predictions: Sequence[NDArray[Any]] | NDArray[Any], targets: NDArray[Any], classes: Sequence[str]
    ) -> NDArray[np.int64]:
        """What `predict` gave for each image, beside whether it has the label, `(N, K, 2)`."""
        given = np.asarray(predictions, dtype=np.int64).reshape(len(targets), len(classes))
        return np.stack([given, np.asarray(targets, dtype=np.int64)], axis=-1)

    def score(self, tallies: NDArray[np.int64]) -> float:
        """Mean average precision over the labels that some image has."""
        return mean_of(average_precisions(tallies[..., 1], tallies[..., 0])) if len(tallies) else math.nan

    def interval(
        self, tallies: NDArray[np.int64], groups: Sequence[str] | None = None
    ) -> tuple[float, float] | None:
        """By a bootstrap over groups."""
        return map_interval(tallies[..., 1], tallies[..., 0], groups) if len(tallies) else None

    def calibrate(
        self, held_out: Sequence[HeldOutLogits], *, coverage: float, score: float | None = None, n: int = 0
    ) -> Calibration:
        """One temperature for all labels, from the first logits; thresholds from all, each at its own temperature.

        Raises:
            ValueError: without logits.
        """
        if not held_out:
            raise ValueError("labels are calibrated on the logits of images that were held out")
        temperatures = [fit_binary_temperature(one.logits, one.targets) for one in held_out]
        rows = [self.probabilities(one.logits, t) for one, t in zip(held_out, temperatures, strict=True)]
        targets, first = np.concatenate([one.targets for one in held_out]), held_out[0]
        precision = mean_of(average_precisions(first.targets, first.logits)) if len(first.targets) else math.nan
        validation = {"n": len(first.targets), "map": precision if math.isfinite(precision) else None}
        thresholds = best_thresholds(np.concatenate(rows), targets)
        return Calibration(validation, temperatures[0], thresholds=tuple(thresholds.tolist()))
