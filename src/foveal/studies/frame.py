"""The nouns of a study: what is claimed, what is compared, and what would settle it. No torch, no numbers.

    Study       a claim in words, its arms, its measures, and the comparisons that decide it
    ├── Arm         one of the things compared; its size is computed by the planner
    ├── Equal       what is held equal between arms; checked against the sizes
    ├── Measure     what is measured of an arm, by one seed
    ├── Contrast    a difference between measures of arms, paired by seed, with the smallest effect of interest
    ├── Said        a sentence of the notebook, and the contrasts or checks that test it
    ├── Check       a statement that is true or false, for what needs no statistics
    └── Plot        the one picture that shows it

How a study runs: `runner.run_study` calls `Study.run(arm, seed, setting)` for each seed and arm and keeps each
answer as a row; `analysis.analyse` turns rows into intervals and a verdict; `page.render` draws the page.

How to write one: a file `NAME.py` (with `_` for `-`) that defines `STUDY`, imports torch inside its functions
only, and is entered in `studies.NAMES`. A statistical study has `contrasts`; a deterministic one has `checks`, and
then one seed suffices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from foveal.progress import Progress

if TYPE_CHECKING:
    from foveal.studies.analysis import Results

#: The three verdicts.
SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"


@dataclass(frozen=True)
class Setting:
    """Under what a study runs.

    Attributes:
        data: what to learn from, as on the command line; empty where a study needs none.
        share: of the steps, pictures or repeats; below 1 only in tests, and then no result means anything.
        progress: told about each run.
    """

    data: str = ""
    share: float = 1.0
    progress: Progress = field(default_factory=Progress)

    def scaled(self, count: int, least: int = 1) -> int:
        """A number of steps or pictures at this share."""
        return max(least, round(count * self.share))


@dataclass(frozen=True)
class Arm:
    """One of the things compared.

    Attributes:
        name: short, as it stands beside its line in the plot.
        words: in what it differs from the others.
    """

    name: str
    words: str


@dataclass(frozen=True)
class Equal:
    """A promise that arms cost the same, checked against what the planner computes.

    Attributes:
        what: a key of the sizes: `parameters` or `macs`.
        arms: between which; empty: all.
        within: largest difference as a share of the least.
    """

    what: str
    arms: tuple[str, ...] = ()
    within: float = 0.02


@dataclass(frozen=True)
class Measure:
    """What is measured of an arm by one seed.

    Attributes:
        name: key in a row.
        words: what it is.
        unit: `share` (0 to 1, shown as per cent), `s`, `bytes`, `count`, or other text, printed as it is.
    """

    name: str
    words: str
    unit: str = "share"


#: A weight, an arm and a measure.
Term = tuple[float, str, str]


@dataclass(frozen=True)
class Contrast:
    """A sum of weighted measures of arms, computed for each seed by itself: so it is paired by seed.

    Attributes:
        name: short, unique in the study.
        words: what is said when it is supported: "A is more than B".
        terms: `((1, "cnn", "accuracy"), (-1, "dense", "accuracy"))`, the difference; four terms are a
            difference of differences.
        least: the smallest effect of interest, in the measure's unit; for a ratio a factor over 1.
        kind: `more`: the difference is over zero, and may be as large as `least`; `same`: it is within ± `least`;
            `no more`: it is under `least`.
        role: `claim`: the study's verdict needs it; `notebook`: a sentence of the notebook does; `finding`: none.
        ratio: the terms are multiplied (with their weights as powers) instead of added: for times and sizes.
        unit: as `Measure.unit`.
    """

    name: str
    words: str
    terms: tuple[Term, ...]
    least: float
    kind: str = "more"
    role: str = "claim"
    ratio: bool = False
    unit: str = "share"


def difference(more: str, less: str, measure: str, *, than: str | None = None) -> tuple[Term, ...]:
    """The terms of `more` − `less` in a measure (`than`: the measure of `less`, when it is another)."""
    return ((1.0, more, measure), (-1.0, less, than or measure))


@dataclass(frozen=True)
class Check:
    """A statement that is true or false.

    Attributes:
        name, words: as a contrast's.
        holds: whether it is true.
        found: the figure that says so, ready to be read.
        role: as a contrast's.
    """

    name: str
    words: str
    holds: bool
    found: str
    role: str = "claim"


@dataclass(frozen=True)
class Said:
    """A sentence of the notebook, and the names of the contrasts or checks that test it: all must hold."""

    sentence: str
    by: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """A mean with its interval. `x` is a number, or the name of a row in a plot of dots or bars; `label` is a word
    that stands beside the point of a line."""

    x: float | str
    mean: float
    low: float | None
    high: float | None
    n: int
    label: str = ""


@dataclass(frozen=True)
class Series:
    """One line, or one colour of dots, labelled directly."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Plot:
    """The one picture of a study, as data: the page draws it.

    Attributes:
        kind: `lines`: y over a numeric x; `dots`: rows by name, the value along x, its interval as a bar; `bars`:
            rows by name, a bar from zero for each series; a point's `high` is a bound that it should stay under.
        title: the finding, in words.
        x, y: labels of the axes.
        series: what is drawn.
        log_x, log_value: logarithmic axes (the value's axis is y for lines, x for dots).
        unit: of the values, as `Measure.unit`.
        marks: values with a line across and what it stands for: `((0.0, "no difference"),)`.
        panels: pictures beside each other, of lines or of dots with the same rows; then `series` is empty.
    """

    kind: str
    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    log_x: bool = False
    log_value: bool = False
    unit: str = "share"
    marks: tuple[tuple[float, str], ...] = ()
    panels: tuple[Plot, ...] = ()


@dataclass(frozen=True)
class Study:
    """An experiment.

    Attributes:
        name: on the command line.
        question: of the notebook's ten.
        claim: one sentence that the numbers can contradict.
        arms, measures, contrasts: see there.
        run: arm name, seed, setting → measures by name; a row of raw results. Each call is complete in itself, and
            the same for the same arguments (times apart).
        plot: results and the analysis (as in `study.json`) → the picture.
        sizes: setting → arm name → `{"parameters": …, "macs": …}`, from the planner; shown beside each arm.
        equal: what is held equal.
        checks: results → statements, for what needs no statistics.
        said: sentences of the notebook.
        seconds: about how long one seed of all arms takes on two cores; `study all` shares its time by this.
        fewest: seeds at least, and what is run while no spread has been measured yet.
        data: learned from when the user names nothing.
        method: a paragraph for the page: how it was done, and what is known to be weak in it.
    """

    name: str
    question: str
    claim: str
    arms: tuple[Arm, ...]
    measures: tuple[Measure, ...]
    run: Callable[[str, int, Setting], Mapping[str, float]]
    plot: Callable[[Results, Mapping[str, Any]], Plot]
    contrasts: tuple[Contrast, ...] = ()
    sizes: Callable[[Setting], Mapping[str, Mapping[str, float]]] | None = None
    equal: tuple[Equal, ...] = ()
    checks: Callable[[Results], Sequence[Check]] | None = None
    said: tuple[Said, ...] = ()
    seconds: float = 30.0
    fewest: int = 5
    data: str = ""
    method: str = ""

    @property
    def needed(self) -> tuple[Contrast, ...]:
        """The contrasts that the verdict needs."""
        return tuple(c for c in self.contrasts if c.role == "claim")
