"""`foveal train`."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foveal.cli.console import Terminal, put, put_json, say
from foveal.cli.options import takes_settings
from foveal.clock import Clock, format_duration
from foveal.config import OUT_HELP, TrainConfig
from foveal.data.wording import first_few
from foveal.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

Resume = Annotated[str | None, typer.Option(metavar="RUN", help="Continue a run that was stopped; takes no DATA.")]
Replay = Annotated[
    str | None, typer.Option(metavar="RUN", help="Repeat a finished run to the same weights; takes no DATA.")
]
Out = Annotated[str | None, typer.Option(metavar="DIR", help=OUT_HELP)]
AsJson = Annotated[bool, typer.Option("--json", help="Print summary.json on stdout.")]


@takes_settings(TrainConfig, before={"seed": "out"})
def train(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A folder of class folders, of images/ and masks/, or of IDX files; a CSV or JSONL file; "
            "sample:clipart, sample:mnist, sample:digit-scenes.",
        ),
    ] = None,
    *,
    out: Out = None,
    resume: Resume = None,
    replay: Replay = None,
    json: AsJson = False,
    **settings: Any,  # noqa: ANN401  (the fields of TrainConfig)
) -> None:
    """Train an image classifier, or a segmenter, from a folder of images, and evaluate it."""
    config = TrainConfig(**settings)
    source = context.get_parameter_source("time")
    more = config.budget if source is not None and source.name == "COMMANDLINE" else None
    path, summary = _run(data, resume, replay, config, out, more=more)
    if json:
        put_json({**summary, "run": str(path)})
    else:
        for line in summary_lines(path, summary):
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
    sources = {"DATA": data, "--resume": resume, "--replay": replay}
    given = [name for name, value in sources.items() if value is not None]
    if len(given) != 1:
        message = f"{' and '.join(given)} exclude each other" if given else "missing DATA"
        raise UsageError(message, hint="give exactly one of DATA, --resume RUN and --replay RUN")
    clock = Clock.since_process_start(config.budget if data else float("inf"))
    _handle_signals(clock)
    import foveal.flow as flow

    if resume:
        return flow.resume(resume, clock=clock, progress=Terminal(), more=more)
    if replay:
        return flow.replay(replay, out=out, clock=clock, progress=Terminal())
    return flow.train(str(data), config, out=out, clock=clock, progress=Terminal())


def summary_lines(path: Path, summary: dict[str, Any]) -> list[str]:
    """The result for people: data, accuracy, its uncertainty, time, and where the report is."""
    from foveal.tasks import find_task

    data, time = summary["data"], summary["time"]
    score, uncertainty = find_task(summary["task"]).headline(summary["test"], summary["test_looks"])
    budget = f" of {format_duration(time['budget_s'])}" if time["budget_s"] else ""
    missing = f"; not learned: {first_few(data['not_learned'])}" if data["not_learned"] else ""
    lines = {
        "what": f"{len(data['classes'])} classes from {data['used']} images, {data['excluded']} excluded{missing}",
        "how well": score,
        "how sure": uncertainty,
        "how long": f"{format_duration(time['total_s'])}{budget}; {summary['strategy']['reason']}",
        "where": f"{path}/report.html",
    }
    return [f"{name:<9} {text}" for name, text in lines.items()]


def _handle_signals(clock: Clock) -> None:
    """Ctrl-C: finish with the best model so far; SIGTERM: save the state and exit. Twice: exit at once."""

    def stop(*_: object) -> None:
        if clock.stopped:
            sys.exit(130)
        clock.stop()
        say("stopping: finishing with the best model so far (press Ctrl-C again to exit at once)")

    def leave(*_: object) -> None:
        if clock.leaving:
            sys.exit(143)
        clock.leave()
        say("stopping: saving the state of the run")

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, leave)
