"""A study without networks: two arms whose values are drawn around known means."""

from dataclasses import replace

import numpy as np

from foveal.studies.framework import Arm, Check, Contrast, Equal, Measure, NotebookClaim, Study, difference
from foveal.studies.framework.analysis import forest_plot

CONTRAST = Contrast("better", "b is better than a", difference("b", "a", "accuracy"), min_effect=0.02)


def toy(*, effect=0.05, sd=0.01, fail_at=None, **changes):
    """`b` is `effect` better than `a`; the run of seed `fail_at` dies."""

    def run(arm, seed, setting):
        if seed == fail_at:
            raise KeyboardInterrupt
        luck = np.random.default_rng([seed, len(setting.data)]).normal(0, sd, 2)
        return {"accuracy": 0.8 + (effect if arm == "b" else 0.0) + luck["ab".index(arm)]}

    made = Study(
        name="toy",
        question="Is b better?",
        claim="b is better than a",
        arms=(Arm("a", "the old way"), Arm("b", "the new way")),
        measures=(Measure("accuracy", "test accuracy"),),
        run=run,
        plot=lambda results, analysis: forest_plot("b is better", [CONTRAST], analysis),
        contrasts=(CONTRAST,),
        sizes=lambda setting: {"a": {"parameters": 1000, "macs": 5}, "b": {"parameters": 1010, "macs": 7}},
        equal=(Equal("parameters"),),
        notebook_claims=(NotebookClaim("b always wins", ("better",)),),
        seconds=0.1,
    )
    return replace(made, **changes)


def deterministic(holds):
    """A study of one statement."""
    return toy(
        contrasts=(),
        notebook_claims=(),
        equal=(),
        checks=lambda results: [Check("right", "the sum is right", holds, "4 = 4")],
        plot=lambda results, analysis: forest_plot("nothing", [CONTRAST], analysis),
    )
