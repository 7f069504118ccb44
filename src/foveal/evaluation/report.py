"""`report.html`: one file without network requests, for the person who has to trust the figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from foveal.data.images.decode import quiet
from foveal.data.wording import by_reason, count_of, first_few
from foveal.evaluation.cross_validated import tested_how
from foveal.evaluation.decision_words import in_words
from foveal.evaluation.learning_curve import curve_panel
from foveal.evaluation.loss_curves import loss_curves
from foveal.evaluation.prior import prior_words
from foveal.evaluation.templating import page_environment, source_of
from foveal.evaluation.thumbnails import thumbnail
from foveal.evaluation.unknown_panel import unknown_panel
from foveal.evaluation.wording import percent
from foveal.values import Excluded, Finding

if TYPE_CHECKING:
    import jinja2


class Shown(Protocol):
    """A measurement, as the report shows it.

    Its parts of the page are `templates/NAME-answer.html.j2`, the answer in a sentence, `NAME-figures.html.j2` and
    `NAME-panels.html.j2`, or what `register_template` was given under these names.
    """

    @property
    def figures(self) -> dict[str, Any]:
        """As `test` in `summary.json`."""
        ...

    @property
    def template(self) -> str:
        """NAME of its templates."""
        ...

    def shown(self) -> dict[str, Any]:
        """The variables of its templates."""
        ...


def render_report(
    summary: Mapping[str, Any],
    measurement: Shown,
    findings: Sequence[Finding],
    decisions: Mapping[str, Any],
    *,
    excluded: Sequence[Excluded] = (),
    log: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The page.

    Args:
        summary: as in `summary.json`.
        measurement: of the test subset.
        findings: of the audit.
        decisions: what was chosen, and why.
        excluded: what was not used, and why.
        log: the events of `log.jsonl`.
    """
    with quiet():
        panels = measurement.shown()
    template = environment().get_template("report.html.j2")
    page = template.render(
        summary=summary,
        figures=measurement.figures,
        kind=measurement.template,
        findings=findings,
        alike=look_alike(findings),
        excluded=by_reason(excluded),
        candidates=candidates(summary, decisions),
        decisions=in_words(decisions),
        losses=loss_curves(log),
        **panels,
    )
    return page.encode("utf-8", "replace").decode()


@cache
def environment() -> jinja2.Environment:
    """Of the report and its parts. It is kept, so that they are compiled once in a process."""
    made = page_environment(lambda name: TEMPLATES.get(name) or source_of(name))
    made.filters |= {
        "delivery": delivery,
        "shortcomings": shortcomings,
        "promise": promise,
        "tested_how": tested_how,
        "curve_panel": curve_panel,
        "prior_words": prior_words,
        "unknown_panel": unknown_panel,
    }
    return made


#: Templates from outside the package, by name.
TEMPLATES: dict[str, str] = {}


def register_template(name: str, source: str) -> None:
    """Add a Jinja template for a task of your own; one of the same name is replaced.

    Args:
        name: `NAME-figures.html.j2`, `NAME-panels.html.j2` or, which may be missing, `NAME-answer.html.j2`, with the
            NAME that `Shown.template` gives.
        source: the template. What it inserts is escaped.
    """
    TEMPLATES[name] = source
    environment.cache_clear()


#: Groups of near-duplicates that are shown, and images of each.
_ALIKE, _OF_EACH = 6, 4


def look_alike(findings: Sequence[Finding]) -> list[list[tuple[str, str | None]]]:
    """Groups of near-duplicates: path and thumbnail of each image, those with different labels first."""
    found = {f.code: f.paths for f in findings}
    groups = [*found.get("conflicting_near_duplicates", ()), *found.get("near_duplicates", ())]
    return [[(path, thumbnail(path)) for path in group[:_OF_EACH]] for group in groups[:_ALIKE]]


def candidates(summary: Mapping[str, Any], decisions: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was tried, in order, with what was decided about it; then what was not tried, and why."""
    kept = {name.rpartition("/")[0]: made for name, made in decisions.items() if name.endswith("/keep")}
    skipped = {name.rpartition("/")[0]: made for name, made in decisions.items() if name.endswith("/skip")}
    tried = [
        {**row, "words": str(kept[row["name"]]["reason"]) if row["name"] in kept else ""}
        for row in summary["strategy"]["candidates"]
    ]
    names = {row["name"] for row in tried}
    nothing = {"seconds": None, "score": None, "ci95": None}
    return tried + [
        {"name": name, **nothing, "words": f"not tried: {made['value']}"}
        for name, made in skipped.items()
        if made["value"] and name not in names
    ]


def delivery(summary: Mapping[str, Any]) -> str:
    """Which model the run delivers: the measured one, or that one refitted on all images."""
    refit = summary["refit"]
    if not refit["done"]:
        return f"The delivered model is the measured one: {refit['reason']}."
    if summary["test"].get("method") == "cv":
        before = ", more than any of the models behind the figures"
    else:
        before = "; the figures above were measured before that" if summary["test"]["n"] else ""
    return f"The delivered model was refitted on all {count_of(refit['images'], 'image')}{before}."


def promise(sets: Mapping[str, Any]) -> str:
    """What the prediction sets of the delivered model promise; `sets` as in `summary.json`."""
    wanted = percent(sets["coverage"], 0)
    images = f"{count_of(sets['images'], 'held-out image')} in {count_of(sets['groups'], 'group')}"
    words = (
        f"For each image the model also gives a set of classes: it holds the true one for {wanted} of new images."
    )
    if sets["at_least"] is None:
        needed = f"{sets['groups_needed']} groups are needed"
        return f"{words} With {images} nothing can be promised, so that every class is in it: {needed}."
    sure = f"at least {percent(sets['at_least'])}, with a confidence of 90 %"
    return (
        f"{words} The threshold was calibrated on {images}: that keeps the coverage on average over such calibrations, "
        f"and with this one it is {sure}. Groups are near-duplicates, bursts and the like."
    )


def shortcomings(summary: Mapping[str, Any]) -> dict[str, str]:
    """What a person has to know before relying on the figures, under a word each; empty for an ordinary run."""
    data, test, time = summary["data"], summary["test"], summary["time"]
    stopped = summary["status"] == "interrupted"
    found: dict[str, str] = {}
    if stopped:
        found["stopped"] = "early, by Ctrl-C: the model is the best one until then"
    if late := data["no_time"]:
        unread = f"{count_of(late, 'image was', 'images were')} not read"
        more = "" if time["budget_s"] is None else f": give it more, --time {_more_time(time['budget_s'], data)}"
        found["unread"] = f"{unread} before it was stopped" if stopped else f"{unread} in time{more}"
    if test["n"] and test["classes_not_tested"]:
        found["untested"] = f"no test image of: {first_few(test['classes_not_tested'])}"
    return found


def _more_time(budget: float, data: Mapping[str, Any]) -> str:
    """A budget for all images at the same speed, as `--time` takes it: twice to ten times as much.

    More is not said: where hardly any image was read, most of the time was that of the start, which does not grow.
    """
    read = max(1, data["images"] - data["no_time"])
    seconds = budget * min(10.0, max(2.0, 1.5 * data["images"] / read))
    return f"{math.ceil(seconds / 10) * 10}s" if seconds <= 30 else f"{math.ceil(seconds / 60)}m"
