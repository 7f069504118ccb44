"""The interface of a target: everything that differs between tasks, from files to loss, score and calibration.

The stages call these methods and never ask which task they work on. A new task is one subclass in a file of its
own and one line in `registry.py`.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from foveal.config import MAX_PIXELS
from foveal.data.targets.folds import FOLDS, stratified_folds
from foveal.metrics.calibration import Calibration, HeldOutLogits, softmax
from foveal.values import Entry, Excluded, Finding, ImageRecord, Split, SplitRecord, Subset

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    #: Logits and encoded targets to a scalar.
    Loss = Callable[[Tensor, Tensor], Tensor]

Array = NDArray[np.float32]


class Target(ABC):
    """What a model learns to predict, for one data set. Picklable.

    Attributes:
        task: its name, as in `--task` and `summary.json`.
        annotation: the field of an `Entry` that it is read from; decides which folder layouts can hold it.
        column, aliases: its column in a table of images, and other names for the columns of such a table.
        plural: what it is called in messages.
        item, layout: what one image with its target is called, and a hint how to lay out such data.
        absent: reason code of an image without a target.
        cell_hint: what to do about a value of a table that `cell` refuses.
        csv_columns: columns that it adds to `split.csv`.
        rank_few_groups: whether a small number of groups is spread evenly over the subsets (see `split.assign`).
        stratified: whether the subsets are drawn by iterative stratification over `classes_in`.
    """

    task: ClassVar[str]
    annotation: ClassVar[Literal["label", "mask", "labels"]]
    column: ClassVar[str]
    aliases: ClassVar[Mapping[str, str]] = {}
    plural: ClassVar[str]
    item: ClassVar[str]
    layout: ClassVar[str]
    absent: ClassVar[str]
    cell_hint: ClassVar[str] = "give one for each image; several labels for an image are --task multi-label"
    csv_columns: ClassVar[tuple[str, ...]] = ()
    rank_few_groups: ClassVar[bool] = False
    stratified: ClassVar[bool] = False

    # Reading the data.

    @classmethod
    @abstractmethod
    def create(cls, folders: Sequence[str] = (), *, classes: str | None = None, ignore: str | None = None) -> Self:
        """The target of a data set that is about to be listed.

        Args:
            folders: where a file of class names may lie.
            classes: that file, if the user named it.
            ignore: class or value to ignore, if the user named one.
        """

    @classmethod
    def reads(cls, values: Iterable[object], separator: str | None = None) -> bool:
        """Whether the values of its column in a table are for this target, where the data decides.

        Args:
            values: as the table holds them.
            separator: between the labels in one cell, if the user named one.
        """
        return True

    @classmethod
    def cell(cls, value: object, separator: str | None = None) -> str:
        """A value of its column in a table as the annotation that `entry` takes; empty: there is none.

        Raises:
            ValueError: for a value that makes no sense, in words.
        """
        if isinstance(value, list | dict):
            raise ValueError(f"{cls.column} is {json.dumps(value, default=str)[:60]}, not one value")
        return "" if value is None else str(value)

    def names(self, label: str) -> Collection[str]:
        """The classes that the label of an entry names."""
        return (label,)

    @abstractmethod
    def entry(
        self, path: str, annotation: str, root: str, split: Subset | None = None, group: str | None = None
    ) -> Entry:
        """One row of a table; relative paths start at `root`."""

    def complete(self, record: ImageRecord, entry: Entry, *, max_pixels: int = MAX_PIXELS) -> ImageRecord:
        """The record of an image with what must be read from the target's own files.

        Raises:
            UnreadableImage: naming the file.
        """
        return record

    def resolve(self, records: Sequence[ImageRecord]) -> tuple[list[ImageRecord], list[Excluded], list[Finding]]:
        """Settle what only all images together can tell.

        Returns:
            Usable records, unusable ones with the reason, and findings.
        """
        return list(records), [], []

    def files(self, record: ImageRecord) -> list[tuple[str, str]]:
        """Path and SHA-256 of the files of a target other than the image itself."""
        return []

    # Audit and split.

    @abstractmethod
    def key(self, record: ImageRecord) -> str | None:
        """A value that is equal for two images exactly when their targets agree."""

    @abstractmethod
    def class_counts(self, records: Sequence[ImageRecord]) -> dict[str, int]:
        """In how many images each class occurs."""

    def classes_in(self, record: ImageRecord) -> Collection[str]:
        """The classes that one image shows."""
        return [name for name, count in self.class_counts([record]).items() if count]

    @abstractmethod
    def findings(self, records: Sequence[ImageRecord], declared_classes: Collection[str]) -> Iterable[Finding]:
        """What is wrong, or worth knowing, about the classes.

        Args:
            records: what was read.
            declared_classes: classes that the data names, with readable images or without.
        """

    def sequences(self, records: Sequence[ImageRecord]) -> list[list[int]]:
        """Images that must stay in one subset because they follow each other, as indices."""
        return []

    def separations(self, records: Sequence[ImageRecord]) -> list[tuple[int, int]]:
        """Pairs that may be in one subset, but must not be divided between training and a held-out subset."""
        return []

    @abstractmethod
    def build_split(self, placed: Sequence[SplitRecord], excluded: Sequence[Excluded]) -> Split:
        """The split, when there is enough to learn from.

        Raises:
            DataError: when there is not.
        """

    @abstractmethod
    def restore_split(self, placed: Sequence[SplitRecord], excluded: Sequence[Excluded]) -> Split:
        """The split of an earlier run, as it was."""

    # What a run folder keeps.

    def to_dict(self) -> dict[str, Any]:
        """As `audit.json` keeps it, with `task`."""
        return {"task": self.task}

    @classmethod
    @abstractmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Restored from `to_dict`.

        Raises:
            KeyError, TypeError: when a value is missing or of another kind.
        """

    def to_row(self, record: ImageRecord) -> list[str]:
        """The cells of `csv_columns`."""
        return []

    def from_row(self, record: ImageRecord, row: Mapping[str, str]) -> ImageRecord:
        """A record of `split.csv` with what `to_row` wrote."""
        return record

    # Training.

    def encode(self, placed: Sequence[SplitRecord], classes: Sequence[str]) -> NDArray[Any]:
        """The targets as the loss takes them: positions in `classes`, `(N, …)`.

        Targets that are files of their own are loaded together with the images instead (`pairs.load_pairs`).

        Args:
            placed: N images.
            classes: K names.

        Raises:
            NotImplementedError: for such a target.
        """
        raise NotImplementedError(f"{self.plural} are loaded together with their images")

    def strata(self, records: Sequence[ImageRecord]) -> list[str | None]:
        """What stratified folds and a fair order go by, one for each image; by default all are alike."""
        return [None] * len(records)

    def shared(self, record: ImageRecord) -> str | None:
        """What near-duplicates of an image have in common with it, if nothing is wrong; None: they may differ."""
        return self.strata([record])[0]

    def folds(
        self, placed: Sequence[SplitRecord], seed: int, *, most: int = FOLDS, rare: bool = False
    ) -> NDArray[np.int64] | None:
        """Fold numbers `(N,)` with whole groups in one fold, stratified; see `stratified_folds`.

        Returns:
            None when some stratum has fewer than two groups, so that no fold could be held out.
        """
        strata = [str(s) for s in self.strata([p.record for p in placed])]
        codes = np.unique(strata, return_inverse=True)[1].astype(np.int64)
        return stratified_folds(codes, [p.group for p in placed], seed, most=most, rare=rare)

    def fair_order(self, placed: Sequence[SplitRecord]) -> list[SplitRecord]:
        """One image of each stratum in turn, shuffled by content: any beginning of it is a fair part of all."""
        shuffled = sorted(placed, key=lambda p: hashlib.md5(p.record.sha256.encode()).digest())
        by_stratum: dict[str | None, list[SplitRecord]] = {}
        for p, stratum in zip(shuffled, self.strata([p.record for p in shuffled]), strict=True):
            by_stratum.setdefault(stratum, []).append(p)
        rounds = zip_longest(*(by_stratum[s] for s in sorted(by_stratum, key=str)))
        return [p for p in chain.from_iterable(rounds) if p is not None]

    @abstractmethod
    def loss(
        self, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None, dice: float = 0.0
    ) -> Loss:
        """Logits `(N, K, …)` and encoded targets `(N, …)` to the mean loss.

        Args:
            label_smoothing: share of the target that is spread over all classes (Szegedy et al. 2016).
            class_weights: `(K,)`; None: all classes count alike.
            dice: weight of the soft Dice loss (Milletari et al. 2016), for targets that have an area.

        Raises:
            ValueError: for an option that this target has no loss for.
        """

    @abstractmethod
    def initial_loss(self, classes: Sequence[str]) -> float:
        """The loss of a model without any information: a training above it has diverged."""

    @staticmethod
    def probabilities(logits: Array, temperature: float = 1.0) -> Array:
        """Logits `(N, K, …)` as probabilities of the same shape."""
        return softmax(logits, temperature)

    def predict(self, logits: Array) -> NDArray[np.int64]:
        """The likeliest class of logits `(N, K, …)`, `(N, …)`."""
        positions: NDArray[np.int64] = logits.argmax(axis=1)
        return positions

    # Evaluation.

    @abstractmethod
    def tally(
        self, predictions: Sequence[NDArray[Any]] | NDArray[Any], targets: NDArray[Any], classes: Sequence[str]
    ) -> NDArray[np.int64]:
        """Counts for each image, `(N, …)`, from which `score` is computed: predictions are class positions."""

    @abstractmethod
    def score(self, tallies: NDArray[np.int64]) -> float:
        """The task's main figure over all images that were tallied, `(N, …)`; nan without any."""

    def interval(
        self, tallies: NDArray[np.int64], groups: Sequence[str] | None = None
    ) -> tuple[float, float] | None:
        """95 % interval of `score`; None where none can be given.

        Args:
            tallies: of N images, `(N, …)`.
            groups: which images belong together, N names, for targets whose images are not independent;
                None: each image is a group of its own.
        """
        return None

    @abstractmethod
    def calibrate(
        self, held_out: Sequence[HeldOutLogits], *, coverage: float, score: float | None = None, n: int = 0
    ) -> Calibration:
        """What images that a model was not fitted on say about it.

        Args:
            held_out: logits that were kept; first those that the model itself gave, then those of models like it.
            coverage: of prediction sets.
            score, n: the model's score and the number of images behind it.
        """
