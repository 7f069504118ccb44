"""What makes a task what it is, as a table of parts. The stages are handed these parts and never ask for the task.

The parts that belong to training import it when they are called: predicting and evaluating go without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foveal.config import TrainConfig
from foveal.data.split.held_out import HeldOut
from foveal.decisions import EVALUATION_ENGINE, Decisions
from foveal.errors import UnknownName
from foveal.evaluation import headlines
from foveal.evaluation.cross_validated import cross_validated
from foveal.evaluation.evaluate_classifier import evaluate_labels
from foveal.evaluation.evaluate_label_sets import (
    evaluate_label_sets,
    headline_of_label_sets,
    label_sets_on_test_subset,
    lines_of_label_sets,
)
from foveal.evaluation.evaluate_segmenter import evaluate_masks
from foveal.evaluation.report import Shown
from foveal.evaluation.test_subset import labels_on_test_subset, masks_on_test_subset
from foveal.inference.bundle import Bundle
from foveal.inference.segmenter import SegmentationPredictor
from foveal.machine import rss
from foveal.values import Entry

if TYPE_CHECKING:
    from foveal.training.candidate import Candidate
    from foveal.training.context import RunContext
    from foveal.training.ladder import SearchResult
    from foveal.training.refit import Delivered
    from foveal.training.routing import Route
    from foveal.training.testing import TestedImages
    from foveal.training.unknown import UnknownFound


@dataclass(frozen=True)
class Task:
    """The parts of one task.

    Attributes:
        name: as in `summary.json` and `bundle.json`.
        route: entries → the input, and the strategies to search.
        measure: the chosen model on the test subset → figures, and what the report shows.
        evaluate: a finished run, on its own test subset or on other data.
        headline: figures → how well, and how certain, for a person.
        lines: figures → a table of them.
        cross_measure: figures of the test subset, and predictions for all images by models that had not seen them →
            what the report shows of all images; None where a task has no such figures.
        unknown: the chosen model → what tells images that are unlike its own; None where nothing does.
        held_out: a finished search → what `compare` and `suspects` read; None where they can't do anything with it.
    """

    name: str
    route: Callable[[Sequence[Entry], TrainConfig, Decisions], Route]
    measure: Callable[[Bundle, Candidate, RunContext], Shown]
    evaluate: Callable[..., dict[str, Any]]
    headline: Callable[[Mapping[str, Any], int], tuple[str, str]]
    lines: Callable[[Mapping[str, Any]], list[str]]
    cross_measure: Callable[[Shown, TestedImages, RunContext], Shown] | None = None
    unknown: Callable[[Candidate, RunContext], UnknownFound] | None = None
    held_out: Callable[[SearchResult, Delivered, RunContext], HeldOut] | None = None


def _route_labels(entries: Sequence[Entry], config: TrainConfig, decisions: Decisions) -> Route:
    from foveal.training.routing import choose_route

    return choose_route(entries, config, decisions)


def _route_masks(entries: Sequence[Entry], config: TrainConfig, decisions: Decisions) -> Route:
    from foveal.training.routing import choose_segmentation_route

    return choose_segmentation_route(entries, config, decisions)


def _measure_labels(bundle: Bundle, candidate: Candidate, context: RunContext) -> Shown:
    records = candidate.seen["test"]
    return labels_on_test_subset(candidate.logits_on("test"), context.targets(records), records, bundle.manifest)


def _cross_measure_labels(measured: Shown, found: TestedImages, context: RunContext) -> Shown:
    tested, labels = found.tested, context.targets(found.images)
    return cross_validated(
        measured.figures,
        found.images,
        labels,
        tested.probabilities,
        tested.thresholds,
        tested.folds,
        context.split.classes,
    )


def _unknown_labels(candidate: Candidate, context: RunContext) -> UnknownFound:
    from foveal.training.unknown import find_unknown

    return find_unknown(candidate, context)


def _held_out_labels(found: SearchResult, delivered: Delivered, context: RunContext) -> HeldOut:
    from foveal.training.held_out import held_out_predictions

    return held_out_predictions(found, delivered, context)


def _route_label_sets(entries: Sequence[Entry], config: TrainConfig, decisions: Decisions) -> Route:
    from foveal.training.routing import choose_multi_label_route

    return choose_multi_label_route(config, decisions)


def _measure_label_sets(bundle: Bundle, candidate: Candidate, context: RunContext) -> Shown:
    return label_sets_on_test_subset(candidate.logits_on("test"), candidate.seen["test"], bundle.manifest)


def _measure_masks(bundle: Bundle, candidate: Candidate, context: RunContext) -> Shown:
    memory = context.memory.forward_pass(rss() or 0)
    predictor = SegmentationPredictor(
        bundle,
        memory=memory,
        max_pixels=context.images.max_pixels,
        engine=context.decisions.get(EVALUATION_ENGINE),
    )
    records = candidate.seen["test"]
    measured = masks_on_test_subset(
        predictor, records, max_pixels=context.images.max_pixels, progress=context.progress
    )
    context.decisions.settle(EVALUATION_ENGINE, lambda: (predictor.engine_name, predictor.engine_reason))
    return measured


TASKS = {
    "classify": Task(
        name="classify",
        route=_route_labels,
        measure=_measure_labels,
        evaluate=evaluate_labels,
        headline=headlines.headline_of_labels,
        lines=headlines.lines_of_labels,
        cross_measure=_cross_measure_labels,
        unknown=_unknown_labels,
        held_out=_held_out_labels,
    ),
    "multi-label": Task(
        name="multi-label",
        route=_route_label_sets,
        measure=_measure_label_sets,
        evaluate=evaluate_label_sets,
        headline=headline_of_label_sets,
        lines=lines_of_label_sets,
    ),
    "segment": Task(
        name="segment",
        route=_route_masks,
        measure=_measure_masks,
        evaluate=evaluate_masks,
        headline=headlines.headline_of_masks,
        lines=headlines.lines_of_masks,
    ),
}


def register_task(task: Task) -> None:
    """Add a task; one of the same name is replaced. It needs a target and a predictor of its name as well."""
    TASKS[task.name] = task


def find_task(name: str) -> Task:
    """A task by name.

    Raises:
        UnknownName: with the nearest known name.
    """
    if name not in TASKS:
        raise UnknownName("task", name, ["auto", *TASKS])
    return TASKS[name]
