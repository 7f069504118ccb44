"""`foveal study`."""

from __future__ import annotations

import textwrap
from typing import Annotated, Any

import typer

from foveal.cli.console import Terminal, put, put_json, say
from foveal.cli.layout import columns
from foveal.clock import Clock, parse_duration
from foveal.errors import UsageError


def study(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A study, or `all`; lists the studies if omitted.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Time limit, such as 5m; the study can be resumed later.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DATA", help="Training data, instead of the study's own.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Number of seeds; by default as many as the smallest effect of interest needs."),
    ] = None,
    more: Annotated[int, typer.Option(min=0, help="Seeds to add to those in the folder --out.")] = 0,
    out: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="A new folder, or one of the same study to resume.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run experiments about CNNs: each has a claim, arms, seeds, confidence intervals and a verdict."""
    clock = Clock.since_process_start(parse_duration(time)) if time else None
    if name is None:
        if time or data or seeds or more or out:
            raise UsageError(
                "no study is named", hint="`foveal study` lists the studies; `foveal study all` runs all of them"
            )
        _list(json)
    elif name == "all":
        if data or seeds:
            raise UsageError("--data and --seeds cannot be combined with `all`", hint="each study has its own")
        _all(out or "lab-notebook", clock, more, json)
    else:
        _one(name, clock, json, data=data, seeds=seeds, more=more, out=out)


def _list(json: bool) -> None:
    from foveal.studies import NAMES, find
    from foveal.studies.framework.runner import measured

    results, studies = measured(), [find(n) for n in NAMES]
    rows = [{"name": s.name, "claim": s.claim, "verdict": results.get(s.name, {}).get("verdict")} for s in studies]
    if json:
        put_json({"schema": 1, "studies": rows})
        return
    for row in rows:
        put(f"{row['name']:<25}{row['verdict'] or 'not run yet'}")
        put(textwrap.fill(str(row["claim"]), columns(), initial_indent="    ", subsequent_indent="    "))


def _one(name: str, clock: Clock | None, json: bool, **options: Any) -> None:  # noqa: ANN401
    from foveal.studies import find
    from foveal.studies.framework.page import notebook_claims
    from foveal.studies.framework.runner import PAGE, headline, run_study

    path, content = run_study(
        find(name), clock=clock, progress=Terminal(), command=_command(name, options), **options
    )
    if json:
        put_json({**content, "folder": str(path)})
        return
    put(f"claim    {content['claim']}")
    put(f"verdict  {headline(content)}")
    for claim in notebook_claims(content):
        put(f"notebook “{claim['sentence']}”: {claim['verdict']}")
    put(f"page     {path / PAGE}")


def _all(out: str, clock: Clock | None, more: int, json: bool) -> None:
    from foveal.studies.framework.runner import headline
    from foveal.studies.notebook import BUDGET, run_all

    def report(content: Any) -> None:  # noqa: ANN401
        say(f"{content['name']}: {headline(content)}")

    path, contents = run_all(
        out,
        clock=clock or Clock.since_process_start(BUDGET),
        more=more,
        command=_command("all", {"out": out, "more": more}),
        progress=Terminal(),
        on_each=report,
    )
    if json:
        rows = [{"name": s["name"], "claim": s["claim"], "verdict": s["verdict"]} for s in contents]
        put_json({"schema": 1, "studies": rows, "folder": str(path)})
    else:
        put(str(path / "index.html"))


def _command(name: str, options: dict[str, Any]) -> str:
    """The command line that repeats this call."""
    given = " ".join(f"--{key} {value}" for key, value in options.items() if value)
    return f"foveal study {name} {given}".rstrip()
