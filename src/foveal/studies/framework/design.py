"""The parts that a study declares: what is compared, what is measured, and which difference would settle it.

    Setting        the data and the scale that a study runs at
    Arm            one of the things compared; the planner computes its cost
    Equal          a cost that is the same for several arms; checked against the planner
    Measure        a quantity measured for each arm and seed
    Contrast       a difference between measures of arms, paired by seed, with the smallest effect of interest
    Check          a statement that is simply true or false, where no statistics are needed
    NotebookClaim  a sentence of the notebook under review, and the contrasts or checks that test it

No torch and no numpy here: listing all studies imports this module.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from foveal.progress import Progress

#: The three verdicts.
SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"


@dataclass(frozen=True)
class Setting:
    """The data and the scale that a study runs at.

    Attributes:
        data: training data, as on the command line; empty where a study needs none.
        share: fraction of the steps, images or repeats. Below 1 only in tests: such results mean nothing.
        progress: notified about each run.
    """

    data: str = ""
    share: float = 1.0
    progress: Progress = field(default_factory=Progress)

    def scaled(self, count: int, least: int = 1) -> int:
        """A number of steps or images, multiplied by `share`."""
        return max(least, round(count * self.share))


@dataclass(frozen=True)
class Arm:
    """One of the things compared.

    Attributes:
        name: short; labels its line or row in the figure.
        description: how it differs from the other arms.
    """

    name: str
    description: str


@dataclass(frozen=True)
class Equal:
    """A promise that arms cost the same, checked against what the planner computes.

    Attributes:
        what: a key of the sizes: `parameters` or `macs`.
        arms: the arms that it holds for; empty means all.
        within: largest difference, as a fraction of the smallest cost.
    """

    what: str
    arms: tuple[str, ...] = ()
    within: float = 0.02


@dataclass(frozen=True)
class Measure:
    """A quantity measured for each arm and seed.

    Attributes:
        name: key in a row.
        description: what it is, for a table's heading.
        unit: `share` (0 to 1, shown in per cent), `s`, `bytes`, `count`, or any other text, printed as it is.
    """

    name: str
    description: str
    unit: str = "share"


#: A weight, the name of an arm and the name of a measure.
Term = tuple[float, str, str]


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of measures of arms, computed for each seed separately: the comparison is paired by seed.

    Attributes:
        name: short, unique within the study.
        statement: what holds when it is supported, as "A is more accurate than B".
        terms: `((1, "cnn", "accuracy"), (-1, "dense", "accuracy"))` is a difference; four terms are a
            difference of differences.
        min_effect: the smallest effect of interest, in the measure's unit; for a ratio a factor above 1.
        kind: `more`: the difference is above zero; `same`: it lies within ± `min_effect`; `no more`: it is below
            `min_effect`.
        role: `claim`: the study's verdict depends on it; `notebook`: it tests a sentence of the notebook;
            `finding`: neither.
        ratio: the terms are multiplied, with their weights as exponents, instead of added: for times and sizes.
        unit: as `Measure.unit`.
    """

    name: str
    statement: str
    terms: tuple[Term, ...]
    min_effect: float
    kind: str = "more"
    role: str = "claim"
    ratio: bool = False
    unit: str = "share"


def difference(more: str, less: str, measure: str, *, than: str | None = None) -> tuple[Term, ...]:
    """The terms of arm `more` − arm `less` in a measure; `than` is the measure of `less` where it differs."""
    return ((1.0, more, measure), (-1.0, less, than or measure))


@dataclass(frozen=True)
class Check:
    """A statement that is true or false.

    Attributes:
        name, statement: as for a contrast.
        holds: whether it is true.
        evidence: the figures behind it, formatted for reading.
        role: as for a contrast.
    """

    name: str
    statement: str
    holds: bool
    evidence: str
    role: str = "claim"


@dataclass(frozen=True)
class NotebookClaim:
    """A sentence of the notebook under review, paraphrased, and the names of the contrasts or checks that test it.
    All of them must hold."""

    sentence: str
    by: tuple[str, ...]
