"""What a strategy can do, and the state of the search that it is handed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from foveal.training.candidate import Candidate
from foveal.training.context import RunContext


@dataclass
class LadderState:
    """What was tried so far, in order.

    Attributes:
        candidates: every model that was trained.
        best: the one that is kept so far; None before the first.
        rejected: names of strategies whose model did not replace the best one.
    """

    candidates: list[Candidate] = field(default_factory=list)
    best: Candidate | None = None
    rejected: set[str] = field(default_factory=set)

    @property
    def first(self) -> Candidate | None:
        """The model of the first strategy."""
        return self.candidates[0] if self.candidates else None

    def of(self, strategy: str) -> Candidate | None:
        """The model that a strategy trained."""
        return next((c for c in self.candidates if c.strategy == strategy), None)

    def kept(self, strategy: str) -> Candidate | None:
        """The model that a strategy trained, if it was kept when it was compared."""
        return None if strategy in self.rejected else self.of(strategy)

    @property
    def pending_seconds(self) -> float:
        """Seconds that the best model will take after the search, should it stay the best."""
        return self.best.pending_seconds if self.best else 0.0


class Strategy(Protocol):
    """One way to train a model."""

    @property
    def name(self) -> str:
        """As in `--strategy NAME`."""
        ...

    @property
    def keep_unless_worse(self) -> bool:
        """Whether it is known to beat the strategies before it, so that it is kept unless it is clearly worse."""
        ...

    @property
    def continues(self) -> str | None:
        """The strategy whose model it trains further; None where it starts by itself, so that it can be pinned."""
        ...

    def refuse(self, context: RunContext, state: LadderState) -> str | None:
        """Why it is not worth trying now, in words; None when it is. Costs nothing."""
        ...

    def estimate(self, context: RunContext, state: LadderState) -> float:
        """Seconds that it will take."""
        ...

    def fit(self, context: RunContext, state: LadderState) -> Candidate:
        """Train."""
        ...


def below_noise_floor(share: float, before: Candidate) -> str | None:
    """Why a gain of this share of the errors could not be told from chance; None when it could."""
    error, std_error = before.error_and_std_error
    if share * error >= std_error:
        return None
    usual, noise = f"{100 * share * error:.2f}", f"{100 * std_error:.2f}"
    return f"its typical gain ({usual} points) is below the standard error of the score ({noise})"
