"""Every study: what it names is there, its page can be drawn, and its claim is neither too easy nor too hard."""

import math

import numpy as np
import pytest

from foveal.studies import NAMES, find
from foveal.studies.analysis import analyse, judge, together
from foveal.studies.frame import SUPPORTED
from foveal.studies.page import render
from foveal.studies.runner import _described, default_seeds, measured

STUDIES = {name: find(name) for name in NAMES}
REPEATS = 120


def invented(study, seeds=3):
    """Rows with all measures that a contrast or a table asks for, drawn between a half and one."""
    asked = {m.name for m in study.measures} | {m for c in study.contrasts for _, _, m in c.terms}
    chance = np.random.default_rng(0)
    return [
        {"arm": a.name, "seed": s, "seconds": 1.0, "measures": {m: float(chance.uniform(0.5, 1)) for m in asked}}
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
        assert {n for said in study.said for n in said.by} <= set(contrasts)


@pytest.mark.parametrize("name", [n for n in NAMES if STUDIES[n].contrasts])
def test_a_page_can_be_drawn(name):
    study = STUDIES[name]
    sizes = {a.name: {"parameters": 1000.0, "macs": 1000.0} for a in study.arms}
    rows = invented(study)
    content = {
        **_described(study), "name": name, "rows": rows, "seeds": 3, "looks": [3], "sizes": sizes,
        "data": study.data, "command": "…", "seconds": 3.0, "versions": {"foveal": "1"},
        "machine": {"cpu": "some", "cores": 2, "instruction_sets": []},
    }  # fmt: skip
    found = analyse(study, rows, sizes=sizes)
    assert found["said"] == [] or all(s["verdict"] for s in found["said"])
    page = render(content | {"analysis": found, "verdict": found["verdict"], "more_seeds": found["more_seeds"]})
    assert page.count("<svg") == 2 and "nan" not in page.split("<svg")[1].split("</svg>")[0]


def found(study, chance, *, true):
    """Whether the claim is called supported, its contrasts drawn around no effect, or around that of interest."""
    spread, n = measured()[study.name]["sd"], default_seeds(study)
    verdicts = []
    for c in study.needed:
        effect = math.log(c.least) if c.ratio else c.least
        centre = effect if (c.kind == "more") == true else 0.0
        drawn = chance.normal(centre, spread[c.name], n)
        verdicts.append(judge(drawn, c, family=len(study.needed)).verdict)
    return together(verdicts) == SUPPORTED


@pytest.mark.parametrize("name", [n for n in measured() if n in STUDIES and STUDIES[n].needed])
def test_a_claim_is_found_when_true_and_seldom_when_not(name):
    study, chance = STUDIES[name], np.random.default_rng(0)
    assert sum(found(study, chance, true=False) for _ in range(REPEATS)) <= 0.05 * REPEATS
    assert sum(found(study, chance, true=True) for _ in range(REPEATS)) >= 0.8 * REPEATS
