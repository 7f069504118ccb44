"""The lab notebook: all studies, a folder each, and an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from foveal.clock import Clock, format_duration
from foveal.files import write_text
from foveal.output_files import check_file, check_folder
from foveal.progress import Progress
from foveal.studies import NAMES, find
from foveal.studies.framework.page import notebook_claims, render_index
from foveal.studies.framework.runner import FILE, default_seeds, headline, refresh, run_study

#: Default time limit for all of them, seconds.
BUDGET = 58 * 60.0
_README, _INDEX, _TITLE = "README.md", "index.html", "Lab notebook"


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
    """Run all studies within one time limit and write the index.

    Each study may use a share of the remaining time in proportion to its expected time; what it does not need is
    left for the studies after it.

    Args:
        out: folder of the notebook, new or to resume.
        clock: the time limit.
        more: additional seeds for each study.
        command: the command line, for the index.
        progress: shows a bar for each study.
        names: which studies.
        on_each: called with the content of each `study.json`.

    Returns:
        The folder, and the contents of all `study.json`.

    Raises:
        UsageError: when the folder can't be written to, or has a README or index that foveal did not write.
    """
    check_folder(Path(out))
    for name in (_README, _INDEX):
        hint = "give a folder of its own with --out"
        check_file(Path(out) / name, is_ours=_is_ours, makes_folder=True, hint=hint)
    studies = [find(name) for name in names]
    weights = {s.name: s.seconds * default_seeds(s) for s in studies}
    done = []
    for number, study in enumerate(studies):
        remaining = sum(weights[s.name] for s in studies[number:])
        own = Clock(clock.left() * weights[study.name] / remaining) if clock.budget < float("inf") else Clock()
        _, content = run_study(
            study,
            out=str(Path(out) / study.name),
            more=more,
            command=f"foveal study {study.name}",
            clock=own,
            progress=progress,
        )
        on_each(content)
        done.append(content)
        write_index(Path(out), done, command)
    return Path(out), done


def refresh_all(out: Path, command: str, names: Sequence[str] = NAMES) -> list[dict[str, Any]]:
    """Analyse and draw all studies of a notebook again from their rows, and write the index.

    Args:
        out: folder of the notebook.
        command: the command line that made it.
        names: which studies.
    """
    contents = [refresh(find(name), out / name) for name in names]
    write_index(out, contents, command)
    return contents


def write_index(out: Path, studies: Sequence[Mapping[str, Any]], command: str) -> None:
    """Write `index.html`, and `README.md` for those who read the folder on a code hosting site."""
    machine, versions = studies[0]["machine"], studies[0]["versions"]
    took = format_duration(sum(s["seconds"] for s in studies))
    where = f"{machine['cpu']}, {machine['cores']} cores; foveal {versions['foveal']}, torch {versions['torch']}"
    where += f"; {took}"
    lines = [f"# {_TITLE}", "", f"Made by `{command}`. {where}.", ""]
    lines += ["| study | claim | verdict |", "| --- | --- | --- |"]
    lines += [f"| [{s['name']}]({s['name']}/{FILE}) | {s['claim']} | {headline(s)} |" for s in studies]
    claims = [(s, claim) for s in studies for claim in notebook_claims(s)]
    if claims:
        lines += ["", "## What the notebook says", ""]
        lines += [
            f"- {claim['sentence'].rstrip('.')}: **{claim['verdict']}** ({s['name']}). {_evidence(claim)}"
            for s, claim in claims
        ]
    write_text(out / _README, "\n".join(lines) + "\n")
    write_text(out / _INDEX, render_index(studies, command))


def _is_ours(path: Path) -> bool:
    """Whether a file is the README or the index of a notebook."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        head = stream.read(4096)
    return head.startswith(f"# {_TITLE}\n\nMade by `") or f"<title>{_TITLE} – foveal</title>" in head


def _evidence(claim: Mapping[str, Any]) -> str:
    """The measurements behind the verdict on one of the notebook's sentences."""
    return "; ".join(
        f"{c['statement']}: {c['evidence']}" if "criterion" in c else str(c["evidence"]) for c in claim["evidence"]
    )


def measured_of(studies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The content of `measured.json`: verdicts, numbers of seeds, and the spread of each contrast."""
    return {
        s["name"]: {
            "verdict": s["verdict"],
            "n": s["analysis"]["n"],
            "seconds": s["seconds"],
            "sd": {c["name"]: c["sd"] for c in s["analysis"]["contrasts"]},
        }
        for s in studies
    }
