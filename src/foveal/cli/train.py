"""`foveal train`."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foveal.cli.console import Terminal, put, put_json, say
from foveal.clock import Clock, format_duration, parse_duration
from foveal.config import BUDGET, MAX_PIXELS, TrainConfig
from foveal.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

Time = Annotated[
    str | None,
    typer.Option(
        help="Budget for everything: 90s, 10m, 2h; with --resume for what is left to do, instead of what is left.",
        show_default=BUDGET,
    ),
]
Resume = Annotated[
    str | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped; takes no DATA.")
]
Replay = Annotated[
    str | None, typer.Option(metavar="RUN", help="Repeat a finished run to the same weights; takes no DATA.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print summary.json on stdout.")]
Cache = Annotated[bool, typer.Option("--cache/--no-cache", help="Keep features on disk for the next run.")]
MaxPixels = Annotated[int, typer.Option(help="Refuse pictures with more pixels.")]
SplitFrom = Annotated[str | None, typer.Option(help="Keep the split of an earlier run.")]
HoldOut = Annotated[
    bool,
    typer.Option(
        "--test/--no-test",
        help="Hold pictures out to test on, or none, where those lie elsewhere: `foveal evaluate RUN DATA`.",
    ),
]
Memory = Annotated[str | None, typer.Option(help="Keep the whole process within this much: 1500MiB, 4GiB.")]
GroupBy = Annotated[
    str | None,
    typer.Option(help="Regular expression on paths below DATA: what it captures stays on one side."),
]
Classes = Annotated[
    str | None, typer.Option(metavar="FILE", help="Names of the classes in masks; by default classes.txt or .csv.")
]
Void = Annotated[
    str | None,
    typer.Option(metavar="CLASS", help="Class or number in masks that says: nobody knows."),
]
Strategy = Annotated[
    str | None,
    typer.Option(help="Pin one rung: frozen, frozen-stages, cached-trunk, fine-tune, scratch-seconds, …"),
]
FromScratch = Annotated[
    str | None, typer.Option(metavar="NAME", help="Train an architecture of `foveal zoo` from nothing.")
]
Augment = Annotated[
    str, typer.Option(help="How much pictures may change while a network is tuned: auto, none, light, strong.")
]
Task = Annotated[
    str,
    typer.Option(help="classify (a label a picture), segment (one a pixel), or auto: as the data look."),
]


def train(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A folder of class folders, of images/ and masks/, or of IDX files; a CSV or JSONL file; "
            "sample:clipart, sample:mnist, sample:digit-scenes.",
        ),
    ] = None,
    task: Task = "auto",
    time: Time = None,
    out: Annotated[str | None, typer.Option(help="The run folder; by default runs/NAME-DATE-TIME.")] = None,
    seed: Annotated[int, typer.Option(help="Of the split and everything random.")] = 0,
    backbone: Annotated[
        str, typer.Option(help="lite0, or a timm model whose weights are on this machine.")
    ] = "lite0",
    strategy: Strategy = None,
    from_scratch: FromScratch = None,
    augment: Augment = "auto",
    memory: Memory = None,
    group_by: GroupBy = None,
    split_from: SplitFrom = None,
    test: HoldOut = True,
    classes: Classes = None,
    void: Void = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    cache: Cache = True,
    resume: Resume = None,
    replay: Replay = None,
    json: AsJson = False,
) -> None:
    """Make a classifier, or a segmenter, from a folder of pictures, and say how well it does."""
    config = TrainConfig(
        time=time or BUDGET,
        task=task,
        seed=seed,
        backbone=backbone,
        strategy=strategy,
        from_scratch=from_scratch,
        augment=augment,
        memory=memory,
        group_by=group_by,
        split_from=split_from,
        test=test,
        max_pixels=max_pixels,
        cache=cache,
        classes=classes,
        void=void,
    )
    path, summary = _run(data, resume, replay, config, out, more=parse_duration(time) if time else None)
    if json:
        put_json({**summary, "run": str(path)})
    else:
        for line in five_lines(path, summary):
            put(line)


def _run(
    data: str | None,
    resume: str | None,
    replay: str | None,
    config: TrainConfig,
    out: str | None,
    *,
    more: float | None,
) -> tuple[Path, dict[str, Any]]:
    asked = {"DATA": data, "--resume": resume, "--replay": replay}
    given = [name for name, value in asked.items() if value is not None]
    if len(given) != 1:
        said = " and ".join(given) or "nothing"
        raise UsageError(
            f"{said} given: what to train on?", hint="give one of DATA, --resume RUN and --replay RUN"
        )
    clock = Clock.since_process_start(config.budget if data else float("inf"))
    _stop_gently(clock)
    from foveal import flow

    if resume:
        return flow.resume(resume, clock=clock, progress=Terminal(), more=more)
    if replay:
        return flow.replay(replay, out=out, clock=clock, progress=Terminal())
    return flow.train(str(data), config, out=out, clock=clock, progress=Terminal())


def five_lines(path: Path, summary: dict[str, Any]) -> list[str]:
    """What, how well, how sure, how long, where."""
    from foveal.tasks import find_task

    data, time = summary["data"], summary["time"]
    what = f"{len(data['classes'])} classes from {data['used']} pictures, {data['excluded']} left out"
    well, sure = find_task(summary["task"]).headline(summary["test"], summary["test_looks"])
    budget = f" of {format_duration(time['budget_s'])}" if time["budget_s"] else ""
    long = f"{format_duration(time['total_s'])}{budget}; {summary['strategy']['reason']}"
    lines = {
        "what": what,
        "how well": well,
        "how sure": sure,
        "how long": long,
        "where": f"{path}/report.html",
    }
    return [f"{name:<9} {text}" for name, text in lines.items()]


def _stop_gently(clock: Clock) -> None:
    """Ctrl-C once: keep the best and finish; twice: leave. SIGTERM once: save and leave; twice: leave at once."""

    def stop(*_: object) -> None:
        if clock.stopped:
            sys.exit(130)
        clock.stop()
        say("stopping: keeping the best so far and finishing the report (Ctrl-C again leaves at once)")

    def leave(*_: object) -> None:
        if clock.leaving:
            sys.exit(143)
        clock.leave()
        say("leaving: saving what there is")

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, leave)
