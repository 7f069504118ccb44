"""Every study: its names exist, its page can be drawn, and its claim is neither too easy nor too hard."""

import math

import numpy as np
import pytest

from foveal.studies import NAMES, find
from foveal.studies.framework import SUPPORTED
from foveal.studies.framework.analysis import analyse, combine_verdicts, judge
from foveal.studies.framework.page import render
from foveal.studies.framework.runner import default_seeds, describe_study, measured

STUDIES = {name: find(name) for name in NAMES}
REPEATS = 120


def invented(study, seeds=3):
    """Rows with all measures that a contrast or a table asks for, drawn between a half and one."""
    asked = {m.name for m in study.measures} | {m for c in study.contrasts for _, _, m in c.terms}
    rng = np.random.default_rng(0)
    return [
        {"arm": a.name, "seed": s, "seconds": 1.0, "measures": {m: float(rng.uniform(0.5, 1)) for m in asked}}
        for s in range(seeds)
        for a in study.arms
    ]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_known(name):
    study = STUDIES[name]
    arms, contrasts = {a.name for a in study.arms}, [c.name for c in study.contrasts]
    assert len(set(contrasts)) == len(contrasts)
    assert {arm for c in study.contrasts for _, arm, _ in c.terms} <= arms
    assert study.contrasts or study.checks
    if not study.checks:
        assert {n for claim in study.notebook_claims for n in claim.by} <= set(contrasts)


@pytest.mark.parametrize("name", [n for n in NAMES if STUDIES[n].contrasts])
def test_a_page_can_be_drawn(name):
    study = STUDIES[name]
    sizes = {a.name: {"parameters": 1000.0, "macs": 1000.0} for a in study.arms}
    rows = invented(study)
    content = {
        **describe_study(study), "name": name, "rows": rows, "seeds": 3, "looks": [3], "sizes": sizes,
        "data": study.data, "command": "…", "seconds": 3.0, "versions": {"foveal": "1"},
        "machine": {"cpu": "some", "cores": 2, "instruction_sets": []},
    }  # fmt: skip
    found = analyse(study, rows, sizes=sizes)
    assert all(claim["verdict"] for claim in found["notebook_claims"])
    page = render(content | {"analysis": found, "verdict": found["verdict"], "more_seeds": found["more_seeds"]})
    assert page.count("<svg") == 2 and "nan" not in page.split("<svg")[1].split("</svg>")[0]


def found(study, rng, *, true):
    """Whether the claim is called supported, its contrasts drawn around no effect, or around that of interest."""
    spread, n = measured()[study.name]["sd"], default_seeds(study)
    verdicts = []
    for c in study.claim_contrasts:
        effect = math.log(c.min_effect) if c.ratio else c.min_effect
        centre = effect if (c.kind == "more") == true else 0.0
        drawn = rng.normal(centre, spread[c.name], n)
        verdicts.append(judge(drawn, c, family=len(study.claim_contrasts)).verdict)
    return combine_verdicts(verdicts) == SUPPORTED


@pytest.mark.parametrize("name", [n for n in measured() if n in STUDIES and STUDIES[n].claim_contrasts])
def test_a_claim_is_found_when_true_and_seldom_when_not(name):
    study, rng = STUDIES[name], np.random.default_rng(0)
    assert sum(found(study, rng, true=False) for _ in range(REPEATS)) <= 0.05 * REPEATS
    assert sum(found(study, rng, true=True) for _ in range(REPEATS)) >= 0.8 * REPEATS
