"""What every strategy is given and gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foveal.clock import Clock
from foveal.features import Extractor
from foveal.fit.head import LinearHead
from foveal.progress import Progress
from foveal.values import Placed, Side, Split

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Work:
    """The job at hand: everything a strategy may use."""

    split: Split
    extractor: Extractor
    clock: Clock
    seed: int
    progress: Progress

    #: Seconds that belong to evaluation and report.
    reserve: float = 4.0

    def labels(self, placed: Sequence[Placed]) -> NDArray[np.int64]:
        """Positions of these pictures' labels in `split.classes`, `(N,)`."""
        index = {c: i for i, c in enumerate(self.split.classes)}
        return np.array([index[str(p.record.label)] for p in placed], dtype=np.int64)


@dataclass(frozen=True)
class Candidate:
    """A model that could be handed over.

    Attributes:
        strategy: its strategy's name.
        seconds: what it cost.
        score: cross-validated accuracy inside the training side; None when there was too little to tell.
        score_ci95: Wilson's interval of the score.
        head, views: the model.
        logits: side → `(N, K)` on `seen[side]`, not yet calibrated; the training side is not among them.
        seen: side → the pictures it had time for.
        settings: what was chosen on the way, for `decisions`.
    """

    strategy: str
    seconds: float
    score: float | None
    score_ci95: tuple[float, float] | None
    head: LinearHead
    views: tuple[str, ...]
    logits: dict[Side, Array]
    seen: dict[Side, list[Placed]]
    settings: dict[str, Any]

    def unreached(self, split: Split) -> set[str]:
        """Hashes of the placed pictures that the time did not suffice for."""
        reached = {p.record.sha256 for members in self.seen.values() for p in members}
        return {p.record.sha256 for p in split.placed} - reached

    @property
    def error_and_doubt(self) -> tuple[float, float]:
        """Cross-validated error rate, and its standard error."""
        score, n = self.score or 0.0, max(1, len(self.seen["train"]))
        return 1 - score, float(np.sqrt(max(score * (1 - score), 1 / n) / n))


class Strategy(Protocol):
    """One rung."""

    @property
    def name(self) -> str:
        """As in `--strategy NAME`."""
        ...

    def refuse(self, work: Work, so_far: Sequence[Candidate]) -> str | None:
        """Why this rung is not worth climbing now, in words; None when it is."""
        ...

    def estimate(self, work: Work, so_far: Sequence[Candidate]) -> float:
        """Seconds it will take."""
        ...

    def fit(self, work: Work, so_far: Sequence[Candidate]) -> Candidate:
        """Climb it."""
        ...
