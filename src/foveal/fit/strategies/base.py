"""What every strategy is given and gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foveal.clock import Clock
from foveal.config import MAX_PIXELS
from foveal.data.mask_files import Mask
from foveal.data.pairs import load_pairs
from foveal.data.pixels import Pixels, load_pixels
from foveal.data.spool import Spool
from foveal.errors import UsageError
from foveal.features import Extractor
from foveal.fit.evidence import Evidence
from foveal.fit.learned import Learned
from foveal.fit.mask_evidence import MaskEvidence
from foveal.models.backbones import DEFAULT
from foveal.progress import Bar, Progress
from foveal.values import Decisions, Legend, Placed, Preprocess, Side, Split

Array = NDArray[np.float32]

#: A rung is stepped on only when this much more than its estimate is left.
MARGIN = 1.3
#: A training that went on with more pictures went wrong when its loss ends so much higher.
WORSE = 0.1
#: Bytes of rendered pictures that are kept between trainings.
_KEPT = 512 << 20


@dataclass(frozen=True)
class Work:
    """The job at hand: everything a strategy may use.

    Attributes:
        split: who learns, calibrates and tests.
        extractor: features of a frozen trunk; None where nothing is to be frozen.
        clock, seed, progress: of the run.
        reserve: seconds that belong to evaluation and report.
        preprocess: how pictures become the input of a network that is trained.
        spool: what is rendered already.
        decisions: what earlier choices are obeyed, and new ones written down.
        checkpoints: the folder for them; None: none are kept.
        augment: how much pictures may change while a network is tuned: `none`, `light`, `strong`, `auto`.
        memory: bytes that the process was told to stay within; None: what the machine has.
        plans: recordings of training steps, so that each is made once.
        backbone: the pretrained network to begin from, by name.
        max_pixels: of a picture; larger ones were refused when they were first read.
        only: the strategy that was pinned; None: the ladder climbs.
        beneath: what frozen parts of networks made of the training side, so that it is computed once.
    """

    split: Split
    extractor: Extractor | None
    clock: Clock
    seed: int
    progress: Progress
    reserve: float = 4.0
    preprocess: Preprocess = field(default_factory=Preprocess)
    spool: Spool | None = None
    decisions: Decisions = field(default_factory=Decisions)
    checkpoints: Path | None = None
    augment: str = "auto"
    memory: int | None = None
    plans: dict[Any, Any] = field(default_factory=dict, repr=False)
    backbone: str = DEFAULT
    max_pixels: int = MAX_PIXELS
    only: str | None = None
    beneath: dict[Any, Any] = field(default_factory=dict, repr=False)
    _pixels: dict[Side, Pixels] = field(default_factory=dict, repr=False)
    _pairs: dict[Any, tuple[Pixels, Mask]] = field(default_factory=dict, repr=False)
    _rendered: dict[int, dict[str, Pixels]] = field(default_factory=dict, repr=False)

    @property
    def features(self) -> Extractor:
        """The extractor, for strategies that can't do without.

        Raises:
            UsageError: when this run has none.
        """
        if self.extractor is None:
            raise UsageError("these pictures are too small for a frozen trunk", hint="leave --strategy out")
        return self.extractor

    def make_room(self) -> None:
        """Let go of what can be had again: pictures rendered for the trunk, and the engines that compute it."""
        if self.spool is not None:
            self.spool.forget()
        if self.extractor is not None:
            self.extractor.engine.release()
        for key in [k for k in self.beneath if k[0] == "engine"]:
            del self.beneath[key]

    def pixels(self, side: Side) -> Pixels:
        """All pictures of a side, rendered, `(N, C, size, size)`; read once.

        Raises:
            DataError: when pictures changed since they were first read.
        """
        if side not in self._pixels:
            placed = self.split.on(side)
            with self.clock.lap("features"), self.progress.stage(f"pictures ({side})", len(placed)) as bar:
                self._pixels[side] = self._loaded(placed, self.preprocess, self.spool, bar)
        return self._pixels[side]

    def rendered(self, placed: Sequence[Placed], preprocess: Preprocess) -> Pixels:
        """These pictures, `(N, C, size, size)`; kept for the next time while that takes little memory.

        Raises:
            DataError: when pictures changed since they were first read.
        """
        if self.memory is not None:
            return self._read(placed, preprocess)
        kept = self._rendered.setdefault(preprocess.size, {})
        new = [p for p in placed if p.record.sha256 not in kept]
        held = sum(row.nbytes for rows in self._rendered.values() for row in rows.values())
        if not placed or held + len(new) * 3 * preprocess.size**2 > _KEPT:
            return self._read(placed, preprocess)
        if new:
            kept.update(zip((p.record.sha256 for p in new), self._read(new, preprocess), strict=True))
        return np.stack([kept[p.record.sha256] for p in placed])

    def _read(self, placed: Sequence[Placed], preprocess: Preprocess) -> Pixels:
        with (
            self.clock.lap("features"),
            self.progress.stage(f"pictures ({preprocess.size} px)", len(placed)) as bar,
        ):
            return self._loaded(placed, preprocess, None, bar)

    def _loaded(self, placed: Sequence[Placed], preprocess: Preprocess, spool: Spool | None, bar: Bar) -> Pixels:
        return load_pixels(
            [p.record for p in placed], preprocess, spool,
            max_pixels=self.max_pixels, memory=self.memory, on_each=bar,
        )  # fmt: skip

    def pairs(self, placed: Sequence[Placed], preprocess: Preprocess) -> tuple[Pixels, Mask]:
        """These pictures and their masks in the box of a `fit`, see `data.pairs.load_pairs`; read once.

        Raises:
            DataError: when files changed since they were first read.
        """
        assert self.split.legend is not None
        key = preprocess, tuple(p.record.sha256 for p in placed)
        if key not in self._pairs:
            self._pairs[key] = self._read_pairs(placed, preprocess, self.split.legend)
        return self._pairs[key]

    def _read_pairs(self, placed: Sequence[Placed], preprocess: Preprocess, legend: Legend) -> tuple[Pixels, Mask]:
        height, width = preprocess.box
        with (
            self.clock.lap("features"),
            self.progress.stage(f"pictures ({width} × {height})", len(placed)) as bar,
        ):
            return load_pairs(
                [p.record for p in placed], preprocess, legend,
                max_pixels=self.max_pixels, memory=self.memory, on_each=bar,
            )  # fmt: skip

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
        score: accuracy (of masks: mIoU), cross-validated inside the training side (`frozen`) or on the validation
            side (networks); None when there was too little to tell.
        score_ci95: Wilson's interval of the score.
        score_n: pictures that the score stands on.
        learned: the model.
        logits: side → `(N, K)` on `seen[side]`, not yet calibrated; the training side is not among them. Empty
            where answers are maps, which are asked for again when they are needed.
        answer: pictures → their logits, for a side that is not there yet: it is asked for only of the model that
            is handed over.
        seen: side → the pictures it had time for.
        settings: what was chosen on the way, for `decisions`.
        handicap: sum of z-values by which it may be behind and is kept: its training goes on.
        owes: seconds that its `answer` about the test side will take.
        evidence: answers to training pictures that it had not learned from, to compare it by.
    """

    strategy: str
    seconds: float
    score: float | None
    score_ci95: tuple[float, float] | None
    score_n: int
    learned: Learned
    logits: dict[Side, Array]
    seen: dict[Side, list[Placed]]
    settings: dict[str, Any]
    evidence: Evidence | MaskEvidence | None = None
    answer: Callable[[Sequence[Placed]], Array] | None = None
    owes: float = 0.0
    handicap: float = 0.0

    def logits_on(self, side: Side) -> Array:
        """`(N, K)` on `seen[side]`, asked for now if need be."""
        if side not in self.logits and self.answer is not None:
            self.logits[side] = self.answer(self.seen[side])
        return self.logits[side]

    def unreached(self, split: Split) -> set[str]:
        """Hashes of the placed pictures that the time did not suffice for."""
        reached = {p.record.sha256 for members in self.seen.values() for p in members}
        return {p.record.sha256 for p in split.placed} - reached

    @property
    def error_and_doubt(self) -> tuple[float, float]:
        """Error rate by the score, and its standard error."""
        score, n = self.score or 0.0, max(1, self.score_n)
        return 1 - score, float(np.sqrt(max(score * (1 - score), 1 / n) / n))


def untellable(share: float, before: Candidate) -> str | None:
    """Why nobody could tell from chance that this share of the errors was saved; None when one could."""
    error, doubt = before.error_and_doubt
    if share * error >= doubt:
        return None
    usual, noise = f"{100 * share * error:.2f} points", f"{100 * doubt:.2f}"
    return f"its usual gain here, {usual}, is under the score's standard error, {noise}"


def best_of(so_far: Sequence[Candidate], decisions: Decisions) -> Candidate | None:
    """The last of these that was kept; the first one always is."""
    kept = [c for c in so_far if decisions.made.get(f"keep {c.strategy}", {"value": True})["value"]]
    return kept[-1] if kept else None


def owed(so_far: Sequence[Candidate], decisions: Decisions) -> float:
    """Seconds that the best so far still has to be asked for, should it stay the best."""
    best = best_of(so_far, decisions)
    return 0.0 if best is None else best.owes


class Strategy(Protocol):
    """One rung."""

    @property
    def name(self) -> str:
        """As in `--strategy NAME`."""
        ...

    @property
    def surely_better(self) -> bool:
        """Whether it is known to beat the rungs before, so that it stays unless it is clearly worse here."""
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
