"""THE STORY: a folder of pictures becomes a model one can believe. Read this first.

1 data      read, audit, split        data/
2 features  a frozen trunk            features/   (for the strategies that want them)
3 fit       climb the ladder          fit/
4 measure   the test side, once       measure/
5 ship      bundle and run folder     ship/
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from foveal.clock import Clock
from foveal.config import TrainConfig
from foveal.data import Reading, Wanted, list_data, read_dataset
from foveal.data.split import split_as_csv
from foveal.data.spool import Spool
from foveal.fit import Candidate, climb
from foveal.measure import look, render_report, test_set_key
from foveal.measure.summary import summarise, times
from foveal.prefetch import prefetch
from foveal.progress import Logged, Progress
from foveal.ship import load_bundle, make_bundle, save_bundle
from foveal.ship.run_folder import Run, RunFolder, Start, continued, repeated
from foveal.tasks import find_task

#: What part of the budget reading may take; pictures not read by then are left out and named.
READING_SHARE = 0.5


def train(
    data: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    out: str | None = None,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> Run:
    """Run all stages.

    Raises:
        FovealError: see `errors.py`. What exists of the run by then stays.
    """
    config = config or TrainConfig()
    run = RunFolder.create(out, Path(os.fspath(data).removeprefix("sample:")).stem or "data")
    return _run(Start(os.fspath(data), config), run, clock or Clock(config.budget), progress)


def resume(
    run: str, *, clock: Clock | None = None, progress: Progress | None = None, more: float | None = None
) -> Run:
    """Go on with a run that was stopped, from its decisions and checkpoints, to the end that it would have had;
    what was not yet decided has the time that is left, or `more` seconds."""
    folder, start = continued(Path(run))
    return _run(start, folder, folder.clock_going_on(clock or Clock(), start.config.budget, more), progress)


def replay(
    run: str, *, out: str | None = None, clock: Clock | None = None, progress: Progress | None = None
) -> Run:
    """Repeat a finished run in a new folder, from its decisions, to the same weights."""
    start = repeated(Path(run))
    return _run(start, RunFolder.create(out, Path(run).name + "-replay"), clock or Clock(), progress)


def _run(start: Start, run: RunFolder, clock: Clock, progress: Progress | None) -> Run:
    try:
        with Logged(progress or Progress(), run.path / "log.jsonl") as heard:
            return run.path, _stages(start, run, clock, heard)
    finally:
        run.discard_if_bare()


def _stages(start: Start, run: RunFolder, clock: Clock, progress: Progress) -> dict[str, Any]:
    config, decisions = start.config, start.decisions

    # 1 data: every picture is opened once; what the network needs of it is kept in the spool.
    listing = list_data(start.data, Wanted.of(config)) if start.dataset is None else None
    task, dataset = find_task(listing.task if listing else start.task), start.dataset
    route = task.route(listing.entries if listing else [], config, decisions)
    spool = Spool.within(route.preprocess, config.memory_bytes)
    if listing is not None:
        with clock.lap("audit"), progress.stage("read and audit") as bar:
            reading = Reading(clock, READING_SHARE, spool, config.cache, on_start=bar.total, on_each=bar)
            dataset = read_dataset(listing, config, reading, lambda audit: run.write("audit.json", audit))
    assert dataset is not None
    clock.check(hint="nothing was learned yet: begin again")
    run.write("split.csv", split_as_csv(dataset.split))
    start.keep_in(run, clock)

    # 2 and 3, features or pixels, and fit: from the first rung on there is a usable model.
    prefetch("sklearn.linear_model", "scipy.optimize", "jinja2")
    work = route.equip(dataset.split, spool, clock, config, progress, decisions, run.path / "checkpoints")

    def keep(candidate: Candidate) -> None:
        origin = {"data": dataset.name}
        save_bundle(make_bundle(candidate, work, task.calibrate, task=task.name, origin=origin), run.model)

    climbed = climb(route.rungs, work, decisions, only=config.strategy, on_better=keep)
    clock.check()
    best = climbed.best
    split = dataset.split.without(best.unreached(dataset.split), "no_time", "the run ended before its turn")

    # 4 measure: the test side, once, and the look is noted.
    with clock.lap("evaluate"), progress.stage("measure"):
        measured = task.measure(load_bundle(run.model), best, work)
        looks = look(test_set_key(p.record.sha256 for p in best.seen["test"]), run=str(run.path.resolve()))

    # 5 ship: `summary.json` comes last, it is the mark of a finished run.
    with clock.lap("report"), progress.stage("report"):
        run.write("split.csv", split_as_csv(split))
        summary = summarise(task.name, dataset, split, clock, climbed, decisions, config.memory_bytes)
        summary |= {"test": measured.figures, "test_looks": looks}
        run.write("report.html", render_report(summary, measured, dataset.findings, decisions.made))
    summary["time"] = times(clock)
    run.write("summary.json", summary)
    return summary
