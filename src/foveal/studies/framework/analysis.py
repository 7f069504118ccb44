"""From rows to a verdict: pure functions, nothing is trained here.

Each contrast gives one number per seed, so arms are compared on the same images, order and initial weights. Its
mean has a Student t-interval. The rule for a contrast that claims "more", with the smallest effect of interest δ:

    supported       the interval lies above 0 and does not exclude δ
    not supported   the interval lies below δ: an effect of that size is excluded
    undecided       neither; the analysis then estimates how many more seeds are needed

"The same, within ± δ" is supported when the interval lies inside, and not supported when it lies outside. "No more
than δ" is supported when the interval lies below δ, and not supported when it lies above.

A claim of several contrasts is supported when all are (an intersection-union test: no correction is needed, Berger
1982), and not supported when one is not, with that interval widened for their number (Bonferroni).

Seeds may be added later, and each new analysis is another chance of a false positive: the k-th analysis uses the
two-sided error 0.05 / 2^(k-1), so that over all of them a claim without an effect is called supported in at most
5 % of cases (2.5 + 1.25 + …).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from foveal.studies.framework.design import (
    NOT_SUPPORTED,
    SUPPORTED,
    UNDECIDED,
    Check,
    Contrast,
    Equal,
)
from foveal.studies.framework.plot_data import Plot, Point, Series
from foveal.studies.framework.results import ALPHA, Results, Row, Values, t_interval
from foveal.studies.framework.study import Study

#: Power for an effect of the size of interest: of the default number of seeds, and of the estimated missing seeds.
PLANNED_POWER, POWER = 0.9, 0.8
#: The search for a number of seeds ends here.
MAX_SEEDS = 10_000


@dataclass(frozen=True)
class ContrastResult:
    """Interval and verdict of one contrast.

    Attributes:
        n, mean, sd: of the values; for a ratio the mean is the factor and sd that of its logarithm.
        low, high: the interval at this analysis's level.
        wide_low, wide_high: widened for the number of contrasts in the claim.
        verdict: `supported`, `not supported` or `undecided`.
        more: estimated number of seeds still needed when undecided; None when it cannot be estimated.
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


def alpha_at(look: int) -> float:
    """The two-sided error of the intervals at the k-th analysis, `look` = 1 being the first."""
    return float(ALPHA / 2 ** (max(1, look) - 1))


def judge(values: Values, contrast: Contrast, *, alpha: float = ALPHA, family: int = 1) -> ContrastResult:
    """Interval and verdict of one contrast.

    Args:
        values: `(n_seeds,)`, from `Results.values`.
        contrast: what they are values of.
        alpha: see `alpha_at`.
        family: number of contrasts in the claim.
    """
    min_effect = _on_analysis_scale(contrast)
    shown = math.exp if contrast.ratio else float
    n = len(values)
    mean = float(values.mean()) if n else None
    (low, high), (wide_low, wide_high) = t_interval(values, alpha), t_interval(values, alpha / family)
    if mean is None or low is None or high is None or wide_low is None or wide_high is None:
        return ContrastResult(n, None if mean is None else shown(mean), None, None, None, None, None, UNDECIDED)
    sd = float(values.std(ddof=1))
    if contrast.kind == "same":
        verdict = SUPPORTED if -min_effect < low and high < min_effect else UNDECIDED
        verdict = NOT_SUPPORTED if wide_low >= min_effect or wide_high <= -min_effect else verdict
    elif contrast.kind == "no more":
        verdict = SUPPORTED if high < min_effect else UNDECIDED
        verdict = NOT_SUPPORTED if wide_low >= min_effect else verdict
    else:
        verdict = SUPPORTED if low > 0 else UNDECIDED
        verdict = NOT_SUPPORTED if wide_high < min_effect else verdict
    more = _missing_seeds(n, mean, sd, min_effect, contrast.kind, alpha / family) if verdict == UNDECIDED else None
    narrow, wide = (shown(low), shown(high)), (shown(wide_low), shown(wide_high))
    return ContrastResult(n, shown(mean), sd, *narrow, *wide, verdict, more)


def power(n: int, sd: float, effect: float, *, alpha: float = ALPHA, kind: str = "more") -> float:
    """The probability that a true contrast is found supported.

    Args:
        n: seeds.
        sd: of the contrast's values.
        effect: for `more` the true difference; for the other kinds δ, with a true difference of 0.
        alpha: two-sided error of the interval.
        kind: of the contrast.
    """
    from scipy import stats

    if n < 2:
        return 0.0
    if sd == 0:
        return 1.0
    probability = float(stats.nct.sf(stats.t.ppf(1 - alpha / 2, n - 1), n - 1, effect * math.sqrt(n) / sd))
    if not math.isfinite(probability):  # so far in the tail that scipy cannot compute it
        probability = 1.0
    return max(0.0, 2 * probability - 1) if kind == "same" else probability


def seeds_for(needs: Sequence[tuple[Contrast, float]], *, wanted: float = PLANNED_POWER, fewest: int = 2) -> int:
    """The smallest number of seeds at which a claim is found, if all of its contrasts have the size of interest.

    Args:
        needs: the contrasts of the claim, each with the measured sd of its values.
        wanted: power of the whole; the contrasts' misses are added (Bonferroni), whatever their dependence.
        fewest: lower bound of the result.
    """
    n = fewest
    while n < MAX_SEEDS:
        misses = (1 - power(n, sd, _on_analysis_scale(c), kind=c.kind) + ALPHA / 2 / len(needs) for c, sd in needs)
        if 1 - sum(misses) >= wanted:
            break
        n += 1
    return n


def analyse(study: Study, rows: Sequence[Row], *, sizes: Mapping[str, Any], look: int = 1) -> dict[str, Any]:
    """The `analysis` of `study.json`, from the raw rows; `look` is the number of analyses including this one."""
    results = Results(rows, [a.name for a in study.arms])
    alpha, family = alpha_at(look), max(1, len(study.claim_contrasts))
    judged: dict[str, ContrastResult] = {}
    if results.seeds:
        judged = {
            c.name: judge(results.values(c), c, alpha=alpha, family=family if c.role == "claim" else 1)
            for c in study.contrasts
        }
    checks = [check_equal(e, sizes) for e in study.equal if sizes]
    checks += list(study.checks(results)) if study.checks and results.seeds else []
    analysis: dict[str, Any] = {
        "n": len(results.seeds),
        "look": look,
        "confidence": 1 - alpha,
        "summary": summary_of(study, results),
        "contrasts": [{"name": c.name, **asdict(judged[c.name])} for c in study.contrasts if c.name in judged],
        "checks": [asdict(c) for c in checks],
    }
    analysis["notebook_claims"] = _notebook_claims(study, judged, checks)
    analysis["verdict"], analysis["more_seeds"] = verdict_of(study, judged, checks)
    if results.seeds:
        analysis["plot"] = asdict(study.plot(results, analysis))
    return analysis


def verdict_of(
    study: Study, judged: Mapping[str, ContrastResult], checks: Sequence[Check]
) -> tuple[str, int | None]:
    """The study's verdict, and the estimated number of missing seeds when it is undecided."""
    results = [judged[c.name] for c in study.claim_contrasts if c.name in judged]
    holding = [c.holds for c in checks if c.role == "claim"]
    if len(results) < len(study.claim_contrasts) or not (results or holding):
        return UNDECIDED, None
    verdict = combine_verdicts(
        [r.verdict for r in results] + [SUPPORTED if holds else NOT_SUPPORTED for holds in holding]
    )
    missing = [r.more for r in results if r.more is not None]
    return verdict, max(missing) if verdict == UNDECIDED and missing else None


def combine_verdicts(verdicts: Sequence[str]) -> str:
    """The verdict on the conjunction of several statements."""
    if NOT_SUPPORTED in verdicts:
        return NOT_SUPPORTED
    return UNDECIDED if UNDECIDED in verdicts or not verdicts else SUPPORTED


def check_equal(equal: Equal, sizes: Mapping[str, Mapping[str, float]]) -> Check:
    """Whether arms cost the same, as promised."""
    costs = {name: size[equal.what] for name, size in sizes.items() if name in (equal.arms or sizes)}
    least, most = min(costs.values()), max(costs.values())
    evidence = f"{least:,.0f} to {most:,.0f}" if most > least else f"{least:,.0f}"
    who = " = ".join(equal.arms) or "all arms"
    cost = "MACs" if equal.what == "macs" else equal.what
    statement = f"{who} in {cost}, within {equal.within:.0%}"
    return Check(f"equal {equal.what}: {who}", statement, most <= least * (1 + equal.within), evidence)


def summary_of(study: Study, results: Results) -> list[dict[str, Any]]:
    """Mean, sd and 95 % interval of each measure of each arm."""
    summary = []
    for arm in study.arms:
        for measure in study.measures:
            if results.has(arm.name, measure.name):
                values = results.of(arm.name, measure.name)
                sd = float(values.std(ddof=1)) if len(values) > 1 else None
                row = {"arm": arm.name, "measure": measure.name, "n": len(values), "mean": float(values.mean())}
                summary.append({**row, "sd": sd, "ci95": list(t_interval(values))})
    return summary


def forest_plot(
    title: str, contrasts: Sequence[Contrast], analysis: Mapping[str, Any], *, x: str = "difference"
) -> Plot:
    """A row for each contrast with its mean and interval, and a line where there is no difference."""
    by_name = {row["name"]: row for row in analysis["contrasts"]}
    points = tuple(
        Point(c.statement, row["mean"], row["low"], row["high"], row["n"])
        for c in contrasts
        if (row := by_name.get(c.name)) is not None
    )
    ratio, effects = contrasts[0].ratio, {c.min_effect for c in contrasts}
    marks = [(1.0 if ratio else 0.0, "no difference")]
    marks += [(effects.pop(), "smallest effect of interest")] if len(effects) == 1 else []
    return Plot("dots", title, x, "", (Series("", points),), False, ratio, contrasts[0].unit, tuple(marks))


def _missing_seeds(n: int, mean: float, sd: float, min_effect: float, kind: str, alpha: float) -> int | None:
    """Further seeds until a decision is likely, if the true mean is the measured one."""
    margins = {
        "same": abs(min_effect - abs(mean)),
        "no more": abs(min_effect - mean),
        "more": max(mean, min_effect - mean),
    }
    margin = margins[kind]
    if margin == 0:
        return None
    low, high = n + 1, n + 1
    while power(high, sd, margin, alpha=alpha) < POWER:
        low, high = high, 2 * high
        if high > MAX_SEEDS:
            return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle, sd, margin, alpha=alpha) >= POWER else (middle + 1, high)
    return low - n


def _on_analysis_scale(contrast: Contrast) -> float:
    """The smallest effect of interest, on the scale of `Results.values`."""
    return math.log(contrast.min_effect) if contrast.ratio else contrast.min_effect


def _notebook_claims(
    study: Study, judged: Mapping[str, ContrastResult], checks: Sequence[Check]
) -> list[dict[str, Any]]:
    verdicts = {name: j.verdict for name, j in judged.items()}
    verdicts |= {c.name: SUPPORTED if c.holds else NOT_SUPPORTED for c in checks}
    return [
        {
            "sentence": claim.sentence,
            "by": list(claim.by),
            "verdict": combine_verdicts([verdicts.get(name, UNDECIDED) for name in claim.by]),
        }
        for claim in study.notebook_claims
    ]
