"""`foveal train`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Collection, Mapping
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foveal.cli.console import Terminal, put, put_json
from foveal.cli.layout import columns, hanging
from foveal.cli.options import Quiet, takes_settings
from foveal.clock import Clock, format_duration
from foveal.config import OUT_HELP, TrainConfig, option_name
from foveal.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

Resume = Annotated[str | None, typer.Option(metavar="RUN", help="Continue a run that was stopped; takes no DATA.")]
Replay = Annotated[
    str | None, typer.Option(metavar="RUN", help="Repeat a finished run to the same weights; takes no DATA.")
]
Out = Annotated[str | None, typer.Option(metavar="DIR", help=OUT_HELP)]
Log = Annotated[
    list[str] | None,
    typer.Option("--log", metavar="LOGGER", help="Log figures to tensorboard or mlflow as well. Repeatable."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print summary.json on stdout.")]


@takes_settings(TrainConfig, before={"seed": "out"})
def train(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A folder of class folders, of images/ and masks/, or of IDX files; a CSV, JSONL, Parquet, zip or tar "
            "file; shards: a folder or pattern of tar or Parquet files with images in them, also s3:// and gs://; "
            "hf:NAME, tfds:NAME; sample:clipart, sample:mnist, sample:digit-scenes.",
        ),
    ] = None,
    *,
    out: Out = None,
    resume: Resume = None,
    replay: Replay = None,
    log: Log = None,
    quiet: Quiet = False,
    json: AsJson = False,
    **settings: Any,  # noqa: ANN401  (the fields of TrainConfig)
) -> None:
    """Train an image classifier, or a segmenter, from a folder of images, and evaluate it."""
    config = TrainConfig(**settings)
    given = {name for name in (*settings, "out") if _was_given(context, name)}
    _check_origin({"DATA": data, "--resume": resume, "--replay": replay}, given)
    clock = Clock.since_process_start(config.budget if data else float("inf"))
    terminal = Terminal(quiet=quiet, clock=clock)
    _handle_signals(clock, terminal)
    import foveal.flow as flow
    from foveal.tracking import Tracked, find_trackers

    with terminal, Tracked(terminal, find_trackers(log or ())) as progress:
        if resume:
            more = config.budget if "time" in given else None
            path, summary = flow.resume(resume, clock=clock, progress=progress, more=more)
        elif replay:
            path, summary = flow.replay(replay, out=out, clock=clock, progress=progress)
        else:
            path, summary = flow.train(str(data), config, out=out, clock=clock, progress=progress)
    if json:
        put_json({**summary, "run": str(path)})
    else:
        for line in summary_lines(path, summary):
            put(line)


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _check_origin(origins: Mapping[str, str | None], given: Collection[str]) -> None:
    """Refuse none or several of DATA, --resume and --replay, and settings that a run has already.

    Raises:
        UsageError: as said.
    """
    chosen = [name for name, value in origins.items() if value is not None]
    if len(chosen) != 1:
        message = f"{' and '.join(chosen)} exclude each other" if chosen else "missing DATA"
        raise UsageError(message, hint="give exactly one of DATA, --resume RUN and --replay RUN")
    allowed = {"--resume": {"time"}, "--replay": {"out"}}.get(chosen[0], given)
    if refused := [option_name(name) for name in given if name not in allowed]:
        raise UsageError(
            f"{chosen[0]} keeps the settings of the run: {', '.join(sorted(refused))} can't be changed",
            hint=f"leave out {', '.join(sorted(refused))}, or start a new run",
        )


def summary_lines(path: Path, summary: dict[str, Any]) -> list[str]:
    """The result for people: the figure with its interval, what is delivered, the report, and what to do next."""
    from foveal.data.wording import count_of, first_few
    from foveal.evaluation.report import shortcomings
    from foveal.tasks import find_task

    data, time, refit = summary["data"], summary["time"], summary["refit"]
    score, uncertainty = find_task(summary["task"]).headline(summary["test"], summary["test_looks"])
    budget = f" of {format_duration(time['budget_s'])}" if time["budget_s"] else ""
    missing = f"; not learned: {first_few(data['not_learned'])}" if data["not_learned"] else ""
    classes, images = count_of(len(data["classes"]), "class", "classes"), count_of(data["used"], "image")
    delivered = f"refitted on all {count_of(refit['images'], 'image')}" if refit["done"] else "as it was measured"
    lines = {
        "result": score,
        "": uncertainty,
        "model": f"{summary['strategy']['name']}, {delivered}",
        "data": f"{classes} from {images}, {data['excluded']} excluded{missing}",
        "time": f"{format_duration(time['total_s'])}{budget}",
        **shortcomings(summary),
    }
    width = columns()
    return [line for name, text in lines.items() for line in hanging(f"{name:<9} ", text, width)] + [
        f"{'report':<9} {path}/report.html",
        f"{'next':<9} foveal predict {quote(str(path))} IMAGES",
    ]


def _handle_signals(clock: Clock, terminal: Terminal) -> None:
    """Ctrl-C: finish with the best model so far; SIGTERM: save the state and exit. Twice: exit at once."""

    def stop(*_: object) -> None:
        if clock.stopped:
            sys.exit(130)
        clock.stop()
        terminal.say("stopping: finishing with the best model so far (press Ctrl-C again to exit at once)")

    def leave(*_: object) -> None:
        if clock.exit_requested:
            sys.exit(143)
        clock.request_exit()
        terminal.say("stopping: saving the state of the run")

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, leave)
