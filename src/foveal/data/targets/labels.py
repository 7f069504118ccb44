"""One label for each image: classification."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from foveal.data.targets.target import Target
from foveal.data.wording import count_of, first_few
from foveal.errors import DataError
from foveal.metrics.calibration import (
    Calibration,
    HeldOutLogits,
    fit_temperature,
    prediction_sets,
    score_histogram,
)
from foveal.metrics.intervals import wilson
from foveal.values import Entry, Excluded, Finding, ImageRecord, Split, SplitRecord, Subset

if TYPE_CHECKING:
    from torch import Tensor

    from foveal.data.targets.target import Loss

#: Images of a class below which no figure about it is reliable.
FEW = 20
#: Ratio of the largest to the smallest class above which accuracy misleads.
IMBALANCE = 5.0


class Labels(Target):
    """See `Target`."""

    task: ClassVar[str] = "classify"
    annotation: ClassVar[Literal["label", "mask"]] = "label"
    column: ClassVar[str] = "label"
    plural: ClassVar[str] = "labels"
    item: ClassVar[str] = "labelled image"
    layout: ClassVar[str] = "one folder a class, with the images inside: photos/cat/1.jpg, photos/dog/7.jpg"
    absent: ClassVar[str] = "no_label"

    @classmethod
    def create(cls, folders: Sequence[str] = (), *, classes: str | None = None, ignore: str | None = None) -> Self:
        """Labels need nothing but themselves."""
        return cls()

    def entry(
        self, path: str, annotation: str, root: str, split: Subset | None = None, group: str | None = None
    ) -> Entry:
        """An image with its label."""
        return Entry(path, annotation, split, group)

    def key(self, record: ImageRecord) -> str | None:
        """The label."""
        return record.label

    def class_counts(self, records: Sequence[ImageRecord]) -> dict[str, int]:
        """Images of each class."""
        return dict(sorted(Counter(str(r.label) for r in records).items()))

    def classes_in(self, record: ImageRecord) -> Collection[str]:
        """The label alone."""
        return (str(record.label),)

    def findings(self, records: Sequence[ImageRecord], declared_classes: Collection[str]) -> Iterable[Finding]:
        """Classes that are empty, small, or far larger than others."""
        sizes = Counter(r.label for r in records)
        empty = sorted(set(declared_classes) - set(sizes))
        if empty:
            yield Finding(
                "empty_classes",
                "warning",
                f"{count_of(len(empty), 'class', 'classes')} without a readable image: {first_few(empty)}",
                "add images, or remove the folder",
                len(empty),
            )
        few = sorted((n, str(label)) for label, n in sizes.items() if n < FEW)
        if few:
            words = first_few(f"{c} ({n})" for n, c in few)
            yield Finding(
                "few_pictures",
                "warning",
                f"{count_of(len(few), 'class', 'classes')} with fewer than {FEW} images: {words}",
                "collect more: 100 images a class is a good start",
                len(few),
            )
        if len(sizes) > 1 and max(sizes.values()) > IMBALANCE * min(sizes.values()):
            (largest, n), (smallest, k) = sizes.most_common()[0], sizes.most_common()[-1]
            yield Finding(
                "imbalance",
                "warning",
                f"{largest} has {n} images, {smallest} has {k}",
                "judge by balanced accuracy, not by accuracy; collect more images of the rare classes",
                len(sizes),
            )

    def build_split(self, placed: Sequence[SplitRecord], excluded: Sequence[Excluded]) -> Split:
        """Exclude classes without a training image; refuse to go on with fewer than two."""
        trained = {str(p.record.label) for p in placed if p.subset == "train"}
        kept = [p for p in placed if p.record.label in trained]
        lost = [p.record for p in placed if p.record.label not in trained]
        all_excluded = [
            *excluded,
            *(
                Excluded(
                    r.path,
                    "class_not_in_train",
                    f"no image of {r.label} is in the training subset",
                    r.label,
                    r.sha256,
                )
                for r in lost
            ),
        ]
        if len(trained) < 2:
            sizes = Counter(str(p.record.label) for p in placed)
            named = ", ".join(f"{c} ({n})" for c, n in sizes.most_common(5)) or "none"
            late = sum(item.reason == "no_time" for item in all_excluded)
            unread = count_of(late, "image was", "images were")
            hint = "`foveal audit` says what was excluded and why; add images to a second class folder"
            raise DataError(
                f"training needs two classes; with usable images there are: {named}",
                hint=f"{unread} not read in time: allow more, --time 10m" if late else hint,
            )
        kept.sort(key=lambda p: p.record.path)
        return Split(tuple(kept), tuple(all_excluded), tuple(sorted(trained)))

    def restore_split(self, placed: Sequence[SplitRecord], excluded: Sequence[Excluded]) -> Split:
        """The split of an earlier run, as it was."""
        classes = tuple(sorted({str(p.record.label) for p in placed if p.subset == "train"}))
        return Split(tuple(placed), tuple(excluded), classes)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Restored from `to_dict`."""
        return cls()

    def encode(self, placed: Sequence[SplitRecord], classes: Sequence[str]) -> NDArray[np.int64]:
        """Positions of the labels in `classes`, `(N,)`."""
        index = {c: i for i, c in enumerate(classes)}
        return np.array([index[str(p.record.label)] for p in placed], dtype=np.int64)

    def strata(self, records: Sequence[ImageRecord]) -> list[str | None]:
        """The labels."""
        return [r.label for r in records]

    def loss(
        self, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None, dice: float = 0.0
    ) -> Loss:
        """Cross-entropy of `(N, K)` logits."""
        if dice:
            raise ValueError("labels have no area: there is no Dice loss for them")
        from torch.nn import functional

        def loss(logits: Tensor, targets: Tensor) -> Tensor:
            weight = None if class_weights is None else class_weights.to(logits.device)
            return functional.cross_entropy(logits, targets, weight, label_smoothing=label_smoothing)

        return loss

    def initial_loss(self, classes: Sequence[str]) -> float:
        """Of the uniform distribution."""
        return math.log(len(classes))

    def tally(
        self, predictions: Sequence[NDArray[Any]] | NDArray[Any], targets: NDArray[Any], classes: Sequence[str]
    ) -> NDArray[np.int64]:
        """1 for each image whose predicted label is right, `(N,)`."""
        right: NDArray[np.int64] = (np.asarray(predictions) == targets).astype(np.int64)
        return right

    def score(self, tallies: NDArray[np.int64]) -> float:
        """Accuracy."""
        return float(tallies.mean()) if len(tallies) else math.nan

    def interval(
        self, tallies: NDArray[np.int64], groups: Sequence[str] | None = None
    ) -> tuple[float, float] | None:
        """Wilson's; images count as independent."""
        return wilson(int(tallies.sum()), len(tallies))

    def calibrate(
        self, held_out: Sequence[HeldOutLogits], *, coverage: float, score: float | None = None, n: int = 0
    ) -> Calibration:
        """Temperature and accuracy from the first logits; prediction sets from all, each at a temperature of its own.

        Raises:
            ValueError: without logits.
        """
        if not held_out:
            raise ValueError("labels are calibrated on the logits of images that were held out")
        temperatures = [fit_temperature(one.logits, one.targets) for one in held_out]
        rows = [self.probabilities(one.logits, t) for one, t in zip(held_out, temperatures, strict=True)]
        targets = held_out[0].targets
        right = int((rows[0].argmax(axis=1) == targets).sum()) if len(targets) else 0
        validation = {
            "n": len(targets),
            "accuracy": right / len(targets) if len(targets) else None,
            "scores": score_histogram(rows[0].max(axis=1)) if len(targets) else None,
        }
        sets = prediction_sets(
            np.concatenate(rows),
            np.concatenate([one.targets for one in held_out]),
            coverage,
            [group for one in held_out for group in one.groups],
        )
        return Calibration(validation, temperatures[0], sets)
