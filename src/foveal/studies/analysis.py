"""From rows to a verdict: pure functions, nothing trained here.

Each contrast is one number a seed, so arms are compared on the same pictures, order and first weights. Its mean
has a t-interval. The rule, for a contrast that says "more, by an effect of interest δ":

    supported       the interval lies above 0, and does not exclude δ
    not supported   the interval lies below δ: an effect of the size of interest is excluded
    undecided       neither; then: how many more seeds

"The same, within ± δ" is supported when the interval lies within, and not when it lies outside; "no more than δ"
is supported when it lies below δ, and not when it lies above.

A claim of several contrasts is supported when all are (an intersection-union test: no correction is needed, Berger
1982), and not supported when one is not, where that one's interval is widened for their number (Bonferroni).

Who adds seeds looks again, and a look costs: at the k-th look the interval has the level 1 - 0.05 / 2^(k-1), so
that by all looks together a claim without anything behind it is called supported in at most 5 % (2.5 + 1.25 + …).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.studies.frame import (
    NOT_SUPPORTED,
    SUPPORTED,
    UNDECIDED,
    Check,
    Contrast,
    Equal,
    Plot,
    Point,
    Series,
    Study,
)

#: Two-sided error of the interval at the first look.
ALPHA = 0.05
#: How likely an effect of the size of interest should be found with the default number of seeds; and when asked
#: how many seeds are missing.
PLANNED_POWER, POWER = 0.9, 0.8
#: No more seeds than this are ever asked for.
MOST_SEEDS = 10_000

Row = Mapping[str, Any]
Values = NDArray[np.float64]


class Results:
    """Rows of raw results, by arm and measure, of the seeds that all arms have finished.

    Args:
        rows: `{"arm", "seed", "seconds", "measures": {name: value}}`.
        arms: names of all arms.
    """

    def __init__(self, rows: Iterable[Row], arms: Sequence[str]) -> None:
        self._found = {(r["arm"], int(r["seed"])): r["measures"] for r in rows}
        begun = sorted({seed for _, seed in self._found})
        self.arms = tuple(arms)
        self.seeds = [seed for seed in begun if all((arm, seed) in self._found for arm in arms)]

    def has(self, arm: str, measure: str) -> bool:
        """Whether an arm was measured so."""
        return bool(self.seeds) and all(self._found[arm, seed].get(measure) is not None for seed in self.seeds)

    def of(self, arm: str, measure: str) -> Values:
        """One value a seed, in the order of the seeds."""
        return np.array([self._found[arm, seed][measure] for seed in self.seeds], dtype=float)

    def values(self, contrast: Contrast) -> Values:
        """A contrast's value for each seed; for a ratio its logarithm."""
        total = np.zeros(len(self.seeds))
        for weight, arm, measure in contrast.terms:
            values = self.of(arm, measure)
            total += weight * (np.log(values) if contrast.ratio else values)
        return total

    def point(self, x: float | str, arm: str, measure: str) -> Point:
        """The mean over the seeds with its 95 % interval, to be drawn."""
        values = self.of(arm, measure)
        low, high = t_interval(values)
        return Point(x, float(values.mean()) if len(values) else math.nan, low, high, len(values))

    def curve(self, name: str, arm: str, places: Mapping[float, str]) -> Series:
        """A line: the measures by their place on x."""
        return Series(name, tuple(self.point(x, arm, m) for x, m in places.items() if self.has(arm, m)))


@dataclass(frozen=True)
class Judged:
    """What a contrast's values say.

    Attributes:
        n, mean, sd: of the values (of a ratio: mean is the factor, sd that of its logarithm).
        low, high: the interval at this look's level.
        wide_low, wide_high: widened for the number of contrasts that the claim needs.
        verdict: one of the three.
        more: seeds that are missing for a decision, when undecided; None when it can't be told.
    """

    n: int
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    wide_low: float | None
    wide_high: float | None
    verdict: str
    more: int | None = None


def level(look: int) -> float:
    """The two-sided error of the interval at a look, 1 being the first."""
    return float(ALPHA / 2 ** (max(1, look) - 1))


def t_interval(values: Values, alpha: float = ALPHA) -> tuple[float | None, float | None]:
    """Student's interval for the mean; None with fewer than two values."""
    n = len(values)
    if n < 2:
        return None, None
    mean, half = float(values.mean()), half_width(n, float(values.std(ddof=1)), alpha)
    return mean - half, mean + half


def half_width(n: int, sd: float, alpha: float) -> float:
    """Of Student's interval."""
    from scipy import stats

    return float(stats.t.ppf(1 - alpha / 2, n - 1) * sd / math.sqrt(n))


def judge(values: Values, contrast: Contrast, *, alpha: float = ALPHA, family: int = 1) -> Judged:
    """Interval and verdict of one contrast.

    Args:
        values: one a seed, as `Results.values` gives them.
        contrast: what they are of.
        alpha: see `level`.
        family: how many contrasts the claim needs.
    """
    least = math.log(contrast.least) if contrast.ratio else contrast.least
    shown = math.exp if contrast.ratio else float
    n = len(values)
    mean = float(values.mean()) if n else None
    (low, high), (wide_low, wide_high) = t_interval(values, alpha), t_interval(values, alpha / family)
    if mean is None or low is None or high is None or wide_low is None or wide_high is None:
        return Judged(n, None if mean is None else shown(mean), None, None, None, None, None, UNDECIDED)
    sd = float(values.std(ddof=1))
    if contrast.kind == "same":
        verdict = SUPPORTED if -least < low and high < least else UNDECIDED
        verdict = NOT_SUPPORTED if wide_low >= least or wide_high <= -least else verdict
    elif contrast.kind == "no more":
        verdict = SUPPORTED if high < least else UNDECIDED
        verdict = NOT_SUPPORTED if wide_low >= least else verdict
    else:
        verdict = SUPPORTED if low > 0 else UNDECIDED
        verdict = NOT_SUPPORTED if wide_high < least else verdict
    more = _missing(n, mean, sd, least, contrast.kind, alpha / family) if verdict == UNDECIDED else None
    narrow, wide = (shown(low), shown(high)), (shown(wide_low), shown(wide_high))
    return Judged(n, shown(mean), sd, *narrow, *wide, verdict, more)


def power(n: int, sd: float, effect: float, *, alpha: float = ALPHA, kind: str = "more") -> float:
    """How likely a contrast is found supported when it is true.

    Args:
        n: seeds.
        sd: of the contrast's values.
        effect: `more`: the true difference; for the other kinds δ, the true difference being 0.
        alpha: two-sided error of the interval.
        kind: of the contrast.
    """
    from scipy import stats

    if n < 2:
        return 0.0
    if sd == 0:
        return 1.0
    found = float(stats.nct.sf(stats.t.ppf(1 - alpha / 2, n - 1), n - 1, effect * math.sqrt(n) / sd))
    found = found if math.isfinite(found) else 1.0  # so far out that the distribution can't be computed
    return max(0.0, 2 * found - 1) if kind == "same" else found


def seeds_for(needs: Sequence[tuple[Contrast, float]], *, wanted: float = PLANNED_POWER, fewest: int = 2) -> int:
    """The least number of seeds at which a claim is found, all of its contrasts being as large as is of interest.

    Args:
        needs: the contrasts of the claim, each with the measured sd of its values.
        wanted: power of the whole; what the contrasts miss is added up (Bonferroni), whatever their dependence.
        fewest: not under this.
    """
    n = fewest
    while n < MOST_SEEDS:
        misses = (1 - power(n, sd, _log_least(c), kind=c.kind) + ALPHA / 2 / len(needs) for c, sd in needs)
        if 1 - sum(misses) >= wanted:
            break
        n += 1
    return n


def analyse(study: Study, rows: Sequence[Row], *, sizes: Mapping[str, Any], look: int = 1) -> dict[str, Any]:
    """All that the rows say: `n`, `summary`, `contrasts`, `checks`, `said`, `verdict`, `more_seeds`, `plot`."""
    results = Results(rows, [a.name for a in study.arms])
    alpha, family = level(look), max(1, len(study.needed))
    judged = {}
    if results.seeds:
        judged = {
            c.name: judge(results.values(c), c, alpha=alpha, family=family if c.role == "claim" else 1)
            for c in study.contrasts
        }
    checks = [held_equal(e, sizes) for e in study.equal if sizes]
    checks += list(study.checks(results)) if study.checks and results.seeds else []
    found: dict[str, Any] = {
        "n": len(results.seeds),
        "look": look,
        "confidence": 1 - alpha,
        "summary": summary_of(study, results),
        "contrasts": [{"name": c.name, **asdict(judged[c.name])} for c in study.contrasts if c.name in judged],
        "checks": [asdict(c) for c in checks],
    }
    found["said"] = _said(study, judged, checks)
    found["verdict"], found["more_seeds"] = verdict_of(study, judged, checks)
    if results.seeds:
        plot: Plot = study.plot(results, found)
        found["plot"] = asdict(plot)
    return found


def verdict_of(study: Study, judged: Mapping[str, Judged], checks: Sequence[Check]) -> tuple[str, int | None]:
    """The study's verdict, and how many seeds are missing when it is undecided."""
    needed = [judged[c.name] for c in study.needed if c.name in judged]
    must = [c.holds for c in checks if c.role == "claim"]
    if len(needed) < len(study.needed) or not (needed or must):
        return UNDECIDED, None
    verdict = together([j.verdict for j in needed] + [SUPPORTED if holds else NOT_SUPPORTED for holds in must])
    missing = [j.more for j in needed if j.more is not None]
    return verdict, max(missing) if verdict == UNDECIDED and missing else None


def together(verdicts: Sequence[str]) -> str:
    """The verdict on all of them at once."""
    if NOT_SUPPORTED in verdicts:
        return NOT_SUPPORTED
    return UNDECIDED if UNDECIDED in verdicts or not verdicts else SUPPORTED


def held_equal(equal: Equal, sizes: Mapping[str, Mapping[str, float]]) -> Check:
    """Whether arms cost the same, as promised."""
    of = {name: size[equal.what] for name, size in sizes.items() if name in (equal.arms or sizes)}
    least, most = min(of.values()), max(of.values())
    found = f"{least:,.0f} to {most:,.0f}" if most > least else f"{least:,.0f}"
    who = " = ".join(equal.arms) or "all arms"
    words = f"{who} in {equal.what}, within {equal.within:.0%}"
    return Check(f"equal {equal.what}: {who}", words, most <= least * (1 + equal.within), found)


def summary_of(study: Study, results: Results) -> list[dict[str, Any]]:
    """Mean, sd and 95 % interval of each measure of each arm."""
    found = []
    for arm in study.arms:
        for measure in study.measures:
            if results.has(arm.name, measure.name):
                values = results.of(arm.name, measure.name)
                sd = float(values.std(ddof=1)) if len(values) > 1 else None
                row = {"arm": arm.name, "measure": measure.name, "n": len(values), "mean": float(values.mean())}
                found.append({**row, "sd": sd, "ci95": list(t_interval(values))})
    return found


def forest(title: str, contrasts: Sequence[Contrast], found: Mapping[str, Any], *, x: str = "difference") -> Plot:
    """The usual picture: a row for each contrast, its mean and interval, a line where there is no difference."""
    by_name = {row["name"]: row for row in found["contrasts"]}
    points = tuple(
        Point(c.words, row["mean"], row["low"], row["high"], row["n"])
        for c in contrasts
        if (row := by_name.get(c.name)) is not None
    )
    ratio, least = contrasts[0].ratio, {c.least for c in contrasts}
    marks = [(1.0 if ratio else 0.0, "no difference")]
    marks += [(least.pop(), "smallest effect of interest")] if len(least) == 1 else []
    return Plot("dots", title, x, "", (Series("", points),), False, ratio, contrasts[0].unit, tuple(marks))


def _missing(n: int, mean: float, sd: float, least: float, kind: str, alpha: float) -> int | None:
    """Seeds more until a decision is likely, if the mean is where it seems to be."""
    margins = {"same": abs(least - abs(mean)), "no more": abs(least - mean), "more": max(mean, least - mean)}
    margin = margins[kind]
    if margin == 0:
        return None
    low, high = n + 1, n + 1
    while power(high, sd, margin, alpha=alpha) < POWER:
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle, sd, margin, alpha=alpha) >= POWER else (middle + 1, high)
    return low - n


def _log_least(contrast: Contrast) -> float:
    return math.log(contrast.least) if contrast.ratio else contrast.least


def _said(study: Study, judged: Mapping[str, Judged], checks: Sequence[Check]) -> list[dict[str, Any]]:
    verdicts = {name: j.verdict for name, j in judged.items()}
    verdicts |= {c.name: SUPPORTED if c.holds else NOT_SUPPORTED for c in checks}
    return [
        {"sentence": s.sentence, "by": list(s.by), "verdict": together([verdicts.get(n, UNDECIDED) for n in s.by])}
        for s in study.said
    ]
