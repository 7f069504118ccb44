"""`foveal study`."""

from __future__ import annotations

import textwrap
from typing import Annotated, Any

import typer

from foveal.cli.console import Terminal, put, put_json, say
from foveal.clock import Clock, parse_duration
from foveal.errors import UsageError


def study(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One of them, or `all`; without, the list.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="At most this long, as 5m; what is missing then goes on later.")
    ] = None,
    data: Annotated[str | None, typer.Option(metavar="DATA", help="Other pictures than the study's own.")] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="How many; by default as many as the smallest effect of interest needs."),
    ] = None,
    more: Annotated[int, typer.Option(min=0, help="Seeds in addition to those in the folder --out.")] = 0,
    out: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="New, or of the same study: then it goes on.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Answer questions about CNNs by experiments: each a claim, arms, seeds, intervals, and a verdict."""
    clock = Clock.since_process_start(parse_duration(time)) if time else None
    if name is None:
        if time or data or seeds or more or out:
            raise UsageError("which study?", hint="`foveal study` lists them; `foveal study all` runs all")
        _list(json)
    elif name == "all":
        if data or seeds:
            raise UsageError("`all` takes no --data and no --seeds", hint="each study has its own")
        _all(out or "lab-notebook", clock, more, json)
    else:
        _one(name, clock, json, data=data, seeds=seeds, more=more, out=out)


def _list(json: bool) -> None:
    from foveal.studies import NAMES, find
    from foveal.studies.runner import measured

    known, studies = measured(), [find(n) for n in NAMES]
    rows = [{"name": s.name, "claim": s.claim, "verdict": known.get(s.name, {}).get("verdict")} for s in studies]
    if json:
        put_json({"schema": 1, "studies": rows})
        return
    for row in rows:
        put(f"{row['name']:<25}{row['verdict'] or 'not run yet'}")
        put(textwrap.fill(str(row["claim"]), 96, initial_indent="    ", subsequent_indent="    "))


def _one(name: str, clock: Clock | None, json: bool, **how: Any) -> None:  # noqa: ANN401
    from foveal.studies import find
    from foveal.studies.runner import PAGE, headline, run_study

    path, content = run_study(find(name), clock=clock, progress=Terminal(), command=_command(name, how), **how)
    if json:
        put_json({**content, "folder": str(path)})
        return
    put(f"claim    {content['claim']}")
    put(f"verdict  {headline(content)}")
    for said in content["analysis"]["said"]:
        put(f"said     “{said['sentence']}”: {said['verdict']}")
    put(f"where    {path / PAGE}")


def _all(out: str, clock: Clock | None, more: int, json: bool) -> None:
    from foveal.studies.notebook import BUDGET, run_all
    from foveal.studies.runner import headline

    def tell(content: Any) -> None:  # noqa: ANN401
        say(f"{content['name']}: {headline(content)}")

    path, done = run_all(
        out,
        clock=clock or Clock.since_process_start(BUDGET),
        more=more,
        command=_command("all", {"out": out, "more": more}),
        progress=Terminal(),
        on_each=tell,
    )
    if json:
        rows = [{"name": s["name"], "claim": s["claim"], "verdict": s["verdict"]} for s in done]
        put_json({"schema": 1, "studies": rows, "folder": str(path)})
    else:
        put(str(path / "index.html"))


def _command(name: str, how: dict[str, Any]) -> str:
    """The words that were given, as they would be given again."""
    options = " ".join(f"--{k} {v}" for k, v in how.items() if v)
    return f"foveal study {name} {options}".rstrip()
