"""All studies into one lab notebook: a folder each, and an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from foveal.clock import Clock, format_duration
from foveal.files import write_text
from foveal.progress import Progress
from foveal.studies import NAMES, find
from foveal.studies.page import render_index, said_of
from foveal.studies.runner import FILE, MEASURED, default_seeds, headline, run_study

#: Seconds for all of them, when nothing else is said.
BUDGET = 58 * 60.0


def run_all(
    out: str,
    *,
    clock: Clock,
    more: int = 0,
    command: str = "",
    progress: Progress | None = None,
    names: Sequence[str] = NAMES,
    on_each: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> tuple[Path, list[dict[str, Any]]]:
    """Run all studies within one time, each a share of what is left by what it should take, and write the index.

    A study that needs less leaves the rest to those after it.
    """
    studies = [find(name) for name in names]
    weights = {s.name: s.seconds * default_seeds(s) for s in studies}
    done = []
    for number, study in enumerate(studies):
        waiting = sum(weights[s.name] for s in studies[number:])
        own = Clock(clock.left() * weights[study.name] / waiting) if clock.budget < float("inf") else Clock()
        folder, told = Path(out) / study.name, f"foveal study {study.name}"
        _, content = run_study(study, out=str(folder), more=more, command=told, clock=own, progress=progress)
        on_each(content)
        done.append(content)
        write_index(Path(out), done, command)
    return Path(out), done


def write_index(out: Path, studies: Sequence[Mapping[str, Any]], command: str) -> None:
    """`index.html`, and `README.md` with the same for who reads the folder on the web."""
    machine, versions = studies[0]["machine"], studies[0]["versions"]
    took = format_duration(sum(s["seconds"] for s in studies))
    where = f"{machine['cpu']}, {machine['cores']} cores; foveal {versions['foveal']}, torch {versions['torch']}"
    where += f"; {took}"
    lines = ["# Lab notebook", "", f"Made by `{command}`. {where}.", ""]
    lines += ["| study | claim | verdict |", "| --- | --- | --- |"]
    lines += [f"| [{s['name']}]({s['name']}/{FILE}) | {s['claim']} | {headline(s)} |" for s in studies]
    told = [(s, said) for s in studies for said in said_of(s)]
    if told:
        lines += ["", "## What the notebook says", ""]
        lines += [
            f"- {said['sentence'].rstrip('.')}: **{said['verdict']}** ({s['name']}). {_why(said)}"
            for s, said in told
        ]
    write_text(out / "README.md", "\n".join(lines) + "\n")
    write_text(out / "index.html", render_index(studies, command))


def _why(said: Mapping[str, Any]) -> str:
    """The figures behind a verdict on one of the notebook's sentences."""
    return "; ".join(f"{c['words']}: {c['found']}" if "least" in c else str(c["found"]) for c in said["why"])


def measured_of(studies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the package keeps of a lab notebook: verdicts, seeds, and the spread of each contrast."""
    return {
        s["name"]: {
            "verdict": s["verdict"],
            "n": s["analysis"]["n"],
            "seconds": s["seconds"],
            "sd": {c["name"]: c["sd"] for c in s["analysis"]["contrasts"]},
        }
        for s in studies
    }


__all__ = ["BUDGET", "MEASURED", "measured_of", "run_all", "write_index"]
