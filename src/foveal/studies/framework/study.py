"""A study: a claim, the arms that are compared, and the contrasts or checks that settle it.

`runner.run_study` calls `Study.run(arm, seed, setting)` for each seed and arm and stores each result as a row;
`analysis.analyse` turns the rows into intervals and a verdict; `page.render` writes the page.

To add a study, write `experiments/NAME.py` (with `_` for `-`) that defines `STUDY` and imports torch inside its
functions only, and add its name to `studies.NAMES`. A statistical study has `contrasts`; a deterministic one has
`checks`, and one seed is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foveal.studies.framework.design import Arm, Check, Contrast, Equal, Measure, NotebookClaim, Setting
from foveal.studies.framework.plot_data import Plot
from foveal.studies.framework.results import Results


@dataclass(frozen=True)
class Study:
    """An experiment.

    Attributes:
        name: on the command line.
        question: the notebook's question that it answers.
        claim: one sentence that the measurements can contradict.
        arms, measures, contrasts: see `design`.
        run: arm name, seed, setting → measures by name. Calls are independent, and repeatable except for times.
        plot: results and the analysis (as in `study.json`) → the figure.
        sizes: setting → arm name → `{"parameters": …, "macs": …}`, computed by the planner.
        equal: costs that are the same for several arms.
        checks: results → statements that need no statistics.
        notebook_claims: sentences of the notebook under review.
        seconds: approximate time for one seed of all arms on two cores; `study all` divides its time by it.
        min_seeds: fewest seeds, and the number run while the spread has not been measured.
        data: training data when the user names none.
        method: a paragraph for the page: how it was done, and its known limits.
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
    notebook_claims: tuple[NotebookClaim, ...] = ()
    seconds: float = 30.0
    min_seeds: int = 5
    data: str = ""
    method: str = ""

    @property
    def claim_contrasts(self) -> tuple[Contrast, ...]:
        """The contrasts that the verdict depends on."""
        return tuple(c for c in self.contrasts if c.role == "claim")
