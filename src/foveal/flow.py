"""The pipeline: a folder of images becomes a trained model and a report. Open this file first.

1 data         read, audit, split into train, validation and test subsets      data/
2 features     of a frozen backbone, for the strategies that use them          features/
3 training     strategies are tried until the time is up; the best is kept     training/
4 inference    a bundle of each best model so far, and a predictor of the last inference/
5 evaluation   the predictor on the test subset, once; figures and report      evaluation/
  refit        the measured model, fitted once more on all images: delivered   training/refit.py
  test cv      every image predicted by a model that had not seen it           training/testing.py
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foveal.clock import Clock
from foveal.config import TrainConfig
from foveal.data.audit.scan import ScanOptions
from foveal.data.dataset import Dataset, read_dataset
from foveal.data.images.render_cache import RenderCache
from foveal.data.sources.list_data import list_data
from foveal.data.sources.listing import DataOptions
from foveal.data.split.fingerprints import FILE_NAME as FINGERPRINTS
from foveal.data.split.fingerprints import fingerprints_to_bytes
from foveal.data.split.held_out import FILE_NAME as HELD_OUT
from foveal.data.split.split_csv import split_to_csv
from foveal.decisions import TEST
from foveal.devices import require_device, using_device
from foveal.errors import FovealError
from foveal.evaluation.ledger import record_test_evaluation, test_set_key
from foveal.evaluation.model_card import model_card
from foveal.evaluation.report import render_report
from foveal.evaluation.summary import summarise, times
from foveal.inference.bundle import load_bundle, make_bundle, save_bundle
from foveal.inference.predictor import MakesGraphs, predictor_of
from foveal.prefetch import prefetch
from foveal.progress import Logged, Progress, read_log
from foveal.run_folder import Run, RunFolder, Start, continued, repeated, stopped
from foveal.tasks import find_task
from foveal.training.candidate import Candidate
from foveal.training.context import RunContext
from foveal.training.ladder import search
from foveal.training.learning_curve import learning_curve
from foveal.training.refit import Delivered, refit
from foveal.training.testing import cross_tested, prior_of
from foveal.training.time_budget import GRAPH_AFTER_SECONDS, GRAPH_SECONDS, reading_share
from foveal.training.unknown import UnknownFound, refit_unknown
from foveal.values import NO_TIME

#: Images on which a converted network is compared with the trained one.
_GRAPH_IMAGES = 16


def train(
    data: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    out: str | None = None,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run all stages.

    A default folder is removed again where DATA are refused before anything is trained.

    Raises:
        FovealError: see `errors.py`. What exists of the run by then stays.
    """
    config = config or TrainConfig()
    if config.task != "auto":
        find_task(config.task)  # refuses an unknown name before anything is read or written
    require_device(config.device)
    run = RunFolder.create(out, Path(os.fspath(data).removeprefix("sample:")).stem or "data")
    try:
        return _begin(Start(os.fspath(data), config), run, clock or Clock(config.budget), progress)
    except FovealError as error:
        if out is None and error.exit_code == FovealError.exit_code:
            run.remove_if_unbegun()  # nobody asked for this folder, and there is nothing in it to go on from
        raise


def resume(
    run: str, *, clock: Clock | None = None, progress: Progress | None = None, more: float | None = None
) -> Run:
    """Continue a run that was stopped, from its decisions and checkpoints, to the result that it would have had.

    What was not decided yet has the time that is left, or `more` seconds.
    """
    folder = stopped(Path(run))
    with folder.locked():
        start = continued(folder)
        require_device(start.config.device)
        return _run(start, folder, folder.resumed_clock(clock or Clock(), start.config.budget, more), progress)


def replay(
    run: str, *, out: str | None = None, clock: Clock | None = None, progress: Progress | None = None
) -> Run:
    """Repeat a finished run in a new folder, from its decisions, to the same weights."""
    start = repeated(Path(run))
    require_device(start.config.device)
    return _begin(start, RunFolder.create(out, Path(run).name + "-replay"), clock or Clock(), progress)


def _begin(start: Start, run: RunFolder, clock: Clock, progress: Progress | None) -> Run:
    try:
        with run.locked():
            return _run(start, run, clock, progress)
    finally:
        run.remove_if_empty()


def _run(start: Start, run: RunFolder, clock: Clock, progress: Progress | None) -> Run:
    device = using_device(start.config.device)
    with device, Logged(progress or Progress(), run.path / "log.jsonl") as heard:
        heard.begin(run.path, start.config.to_dict())
        summary = _stages(start, run, clock, heard)
        heard.end(summary)
        return run.path, summary


def _stages(start: Start, run: RunFolder, clock: Clock, progress: Progress) -> dict[str, Any]:
    config, decisions = start.config, start.decisions

    # 1 data: every image is opened once; what the network needs of it is kept in the render cache.
    listing = list_data(start.data, DataOptions.of(config, progress.say)) if start.dataset is None else None
    task, dataset = find_task(listing.task if listing else start.task), start.dataset
    route = task.route(listing.entries if listing else [], config, decisions)
    render_cache = RenderCache.within(route.preprocess, config.memory_budget)
    if listing is not None:
        with clock.lap("audit"), progress.stage("read and audit") as bar:
            options = ScanOptions(
                clock, reading_share(clock), render_cache, config.cache, on_start=bar.total, on_each=bar
            )
            dataset = read_dataset(listing, config, options, lambda audit: _report(audit, run, progress))
    elif start.audit is not None and not run.has("audit.json"):
        run.write("audit.json", start.audit)  # of the run that is repeated: this one can be resumed, too
    assert dataset is not None
    clock.check(hint="nothing was trained yet: start again")
    if not run.has("split.csv"):
        run.write("split.csv", split_to_csv(dataset.split, dataset.target))
        run.write(FINGERPRINTS, fingerprints_to_bytes(dataset.split))
    budget = route.time_budget(dataset.split, clock)
    start.budgets = {"time_budget": budget.to_dict(), "memory_budget": config.memory_budget.to_dict()}
    start.keep_in(run, clock)

    # 2 and 3, features and training: from the first strategy on there is a usable bundle.
    prefetch(*route.imports(clock))
    context = route.context(dataset, render_cache, budget, config, progress, decisions, run.path / "checkpoints")
    search_result = search(
        route.strategies, context, on_better=lambda candidate: _save(candidate, context, dataset, run)
    )
    clock.check()
    best = search_result.best
    split = dataset.split.without(best.unreached(dataset.split), NO_TIME, "the run ended before its turn")

    # 4 and 5, inference and evaluation: the test subset is predicted once, and that is recorded.
    unknown = None
    if task.unknown is not None:
        with clock.lap("evaluate"), progress.stage("unknown images"):
            unknown = task.unknown(best, context)
            if unknown.fitted is not None:
                _save(best, context, dataset, run, unknown)
    with clock.lap("evaluate"), progress.stage("evaluate"):
        measured = task.measure(load_bundle(run.model), best, context)
        key = test_set_key(p.record.sha256 for p in best.seen["test"])
        evaluations = record_test_evaluation(key, run=str(run.path.resolve()))

    # Once the figures are known, the model is fitted on the held-out images as well, and that one is delivered.
    delivered = refit(best, context)
    _deliver(delivered, best, dataset, run, refit_unknown(unknown, best, delivered, context))
    if task.cross_measure is not None and (tested := cross_tested(best, context)) is not None:
        measured = task.cross_measure(measured, tested, context)
    elif config.test == "cv":
        why = decisions.reason(TEST) or f"not for the task {task.name}"
        progress.say(f"warning: --test cv: {why}; the figures are those of the test subset")
    prior = prior_of(best, context) if task.cross_measure is not None else None
    curve = learning_curve(best, context) if task.cross_measure is not None else None
    if task.held_out is not None:
        run.write(HELD_OUT, task.held_out(search_result, delivered, context).to_bytes())
    clock.check()
    if config.memory_budget.ample:
        with clock.lap("report"):
            _make_graphs(run, dataset, clock)

    # `summary.json` comes last: it is the mark of a finished run.
    with clock.lap("report"), progress.stage("report"):
        if len(split.excluded) > len(dataset.split.excluded):
            start.write_listed(run, "split.csv", split_to_csv(split, dataset.target))
        summary = summarise(task.name, dataset, split, clock, search_result, decisions, config.memory_budget)
        summary |= {"test": measured.figures, "test_looks": evaluations, "refit": delivered.to_dict()}
        summary |= {"learning_curve": curve, "prior": prior}
        summary |= {"unknown": unknown.to_dict() if unknown is not None else None}
        summary |= {"sets": load_bundle(run.path).manifest.provenance.get("sets")}
        log = read_log(run.path / "log.jsonl")
        page = render_report(summary, measured, dataset.findings, decisions.made, excluded=split.excluded, log=log)
        run.write("report.html", page)
        run.write("MODEL_CARD.md", model_card(summary))
    summary["time"] = times(clock)
    run.write("summary.json", summary)
    return summary


def _report(audit: Mapping[str, Any], run: RunFolder, progress: Progress) -> None:
    """Keep what the audit found, and say what a person should know before the training."""
    run.write("audit.json", audit)
    for finding in audit["findings"]:
        if finding["severity"] != "note":
            progress.say(f"{finding['severity']}: {finding['message']}")


def _save(
    candidate: Candidate,
    context: RunContext,
    dataset: Dataset,
    run: RunFolder,
    unknown: UnknownFound | None = None,
) -> None:
    """Write a candidate as the run's bundle."""
    provenance = {"strategy": candidate.strategy, "trained_on": len(candidate.seen["train"]), "data": dataset.name}
    bundle = make_bundle(
        candidate.trained,
        task=dataset.task,
        classes=context.split.classes,
        label_map=context.split.label_map,
        calibration=candidate.calibration(context),
        provenance=provenance,
        unknown=unknown.fitted if unknown is not None else None,
    )
    with run.writing(bundle.bytes):
        save_bundle(bundle, run.model)


def _make_graphs(run: RunFolder, dataset: Dataset, clock: Clock) -> None:
    """Convert the delivered network for predictions without torch, where there is time.

    A replay has no time limit, and was predicted with before: it makes none. Where memory is limited, the process that
    predicts has more of it left.
    """
    if clock.spent() < GRAPH_AFTER_SECONDS or not GRAPH_SECONDS <= clock.left() < math.inf:
        return
    predictor = predictor_of(load_bundle(run.model))
    if isinstance(predictor, MakesGraphs):
        predictor.make_graphs([p.record.path for p in dataset.split.subset("train")[:_GRAPH_IMAGES]])


def _deliver(
    delivered: Delivered, measured: Candidate, dataset: Dataset, run: RunFolder, unknown: UnknownFound | None
) -> None:
    """Put the refitted model, where there is one, in place of the measured one, which is kept beside it."""
    if delivered.trained is None or delivered.calibration is None:
        run.keep_model()
        return
    before = load_bundle(run.model).manifest
    bundle = make_bundle(
        delivered.trained,
        task=before.task,
        classes=before.classes,
        label_map=before.label_map,
        calibration=delivered.calibration,
        provenance={
            "strategy": measured.strategy,
            "trained_on": delivered.images,
            "data": dataset.name,
            "measured_weights_sha256": before.weights_sha256,
        },
        measured_before_refit=True,
        unknown=unknown.fitted if unknown is not None else None,
    )
    with run.writing(bundle.bytes):
        run.replace_model(lambda folder: save_bundle(bundle, folder))
