"""Every statistical study, by simulation with its own measured spread: it finds nothing where there is nothing, and what
it claims to see where it is."""

import math
from functools import lru_cache

import numpy as np
import pytest

from foveal.studies import NAMES, find
from foveal.studies.analysis import ALPHA, judge, verdict_of
from foveal.studies.frame import SUPPORTED
from foveal.studies.runner import default_seeds, measured

REPEATS = 200
STATISTICAL = [name for name in NAMES if name in measured() and find(name).needed]


@lru_cache
def shares(name):
    """(seeds, share found with no difference, share found with the planted one)."""
    study, spread = find(name), measured()[name]["sd"]
    n, chance = default_seeds(study), np.random.default_rng(len(name))
    found = {0.0: 0, 1.0: 0}
    for planted in found:
        for _ in range(REPEATS):
            judged = {}
            for c in study.needed:
                effect = math.log(c.least) if c.ratio else c.least
                true = effect * planted if c.kind == "more" else effect * (1 - planted)
                values = chance.normal(true, spread[c.name], n)
                judged[c.name] = judge(values, c, family=len(study.needed))
            found[planted] += verdict_of(study, judged, [])[0] == SUPPORTED
    return n, found[0.0] / REPEATS, found[1.0] / REPEATS


@pytest.mark.parametrize("name", STATISTICAL)
def test_nothing_is_found_where_there_is_nothing(name):
    assert shares(name)[1] <= ALPHA


@pytest.mark.parametrize("name", STATISTICAL)
def test_what_it_claims_to_see_is_found(name):
    assert shares(name)[2] >= 0.8


@pytest.mark.parametrize("name", STATISTICAL)
def test_the_whole_fits_its_time(name):
    """Six minutes at most, by what the shipped run took a seed."""
    known = measured()[name]
    assert known["n"] >= 2 and known["seconds"] / known["n"] * default_seeds(find(name)) < 6 * 60


def test_there_is_something_to_check():
    assert STATISTICAL
