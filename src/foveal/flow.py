"""THE STORY: a folder of pictures becomes a classifier one can believe. Read this first.

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
from foveal.data import Reading, audit, make_split
from foveal.data.split import read_sides, split_as_csv
from foveal.data.spool import Spool
from foveal.engines import choose_engine
from foveal.errors import Interrupted
from foveal.features import Extractor
from foveal.fit import Candidate, Work, climb
from foveal.fit.calibration import softmax
from foveal.machine import versions
from foveal.measure import look, render_report, test_set_key
from foveal.measure.summary import summarise, times
from foveal.models.backbones import find_backbone
from foveal.prefetch import prefetch
from foveal.progress import Logged, Progress
from foveal.ship import load_bundle, make_bundle, save_bundle
from foveal.ship.run_folder import RunFolder
from foveal.tasks import find_task
from foveal.values import Decisions

#: What part of the budget reading may take; pictures not read by then are left out and named.
READING_SHARE = 0.5


def train(
    data: str | os.PathLike[str],
    config: TrainConfig | None = None,
    *,
    out: str | None = None,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Run all stages; returns the run folder and what stands in its `summary.json`.

    Raises:
        FovealError: see `errors.py`. What exists of the run by then stays.
    """
    config = config or TrainConfig()
    clock = clock or Clock(config.budget)
    run = RunFolder.create(out, Path(os.fspath(data).removeprefix("sample:")).stem or "data")
    try:
        with Logged(progress or Progress(), run.path / "log.jsonl") as heard:
            return run.path, _stages(data, config, run, clock, heard)
    finally:
        run.discard_if_bare()


def _stages(
    data: str | os.PathLike[str], config: TrainConfig, run: RunFolder, clock: Clock, progress: Progress
) -> dict[str, Any]:
    task, decisions = find_task(config.task), Decisions()
    backbone = find_backbone(config.backbone)
    previous = read_sides(Path(config.split_from) / "split.csv") if config.split_from else None

    # 1 data: every picture is opened once; what the network needs of it is kept in the spool.
    spool = Spool(backbone.preprocess)
    with clock.lap("audit"), progress.stage("read and audit") as bar:
        reading = Reading(clock, READING_SHARE, spool, on_start=bar.total, on_each=bar)
        audited = audit(data, group_by=config.group_by, max_pixels=config.max_pixels, reading=reading)
        run.write("audit.json", audited.to_dict())
        if clock.stopped and len(audited.classes()) < 2:
            raise Interrupted("stopped before two classes were read: nothing was kept")
        split = make_split(audited.records, audited.near, audited.left_out, seed=config.seed, previous=previous)

    # 2 and 3, features and fit: from the first rung on there is a usable model.
    prefetch("sklearn.linear_model", "scipy.optimize", "jinja2")
    engine = choose_engine(backbone, backbone.preprocess, lambda: spool.peek(32), decisions)
    extractor = Extractor(backbone, backbone.preprocess, engine, spool, config.max_pixels, config.cache)
    work = Work(split, extractor, clock, config.seed, progress, reserve=min(4.0, 0.4 * clock.budget))
    origin = {"data": audited.listing.name, "seed": config.seed, "engine": decisions.made["engine"]["value"]}

    def keep(candidate: Candidate) -> None:
        save_bundle(make_bundle(candidate, work, task=task.name, origin=origin), run.model)

    climbed = climb(task.rungs, work, decisions, only=config.strategy, on_better=keep)
    best = climbed.best
    split = split.without(best.unreached(split), "no_time", "the run ended before its features were computed")

    # 4 measure: the test side, once, and the look is noted.
    with clock.lap("evaluate"), progress.stage("measure", 1) as bar:
        tested = best.seen["test"]
        probabilities = softmax(best.logits["test"], load_bundle(run.model).manifest.temperature)
        measured = task.measure(probabilities, work.labels(tested), [p.record.path for p in tested], split.classes)
        looks = look(test_set_key(p.record.sha256 for p in tested), run=str(run.path.resolve()))
        bar(1)

    # 5 ship: `summary.json` comes last, it is the mark of a finished run.
    with clock.lap("report"), progress.stage("report", 1) as bar:
        run.write("split.csv", split_as_csv(split))
        run.write("config.json", {**config.to_dict(), "versions": versions(), "decisions": decisions.made})
        summary = summarise(task.name, audited, split, work, climbed, decisions)
        summary |= {"test": measured.figures, "test_looks": looks}
        run.write("report.html", render_report(summary, measured, audited.findings, decisions.made))
        bar(1)
    summary["time"] = times(clock)
    run.write("summary.json", summary)
    return summary
