"""Runs a study into its folder, row by row, within a time limit; an interrupted study can be resumed.

A folder holds `study.json` and `study.html`. `study.json` is written after every row, so that a killed study loses
one row at most. Seeds that some arm has not finished are kept, but not analysed until it has.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from foveal.clock import Clock, format_duration
from foveal.errors import BundleError, UsageError
from foveal.files import digest_of, read_json, write_json, write_text
from foveal.machine import cores, cpu_name, instruction_sets, versions
from foveal.output_files import check_folder
from foveal.progress import Progress
from foveal.studies.framework.analysis import analyse, seeds_for
from foveal.studies.framework.design import UNDECIDED, Setting
from foveal.studies.framework.study import Study

FILE, PAGE = "study.json", "study.html"
#: Results of the shipped lab notebook: verdicts, and the spread of each contrast.
MEASURED = Path(__file__).parents[1] / "measured.json"


def measured() -> dict[str, Any]:
    """The shipped lab notebook's results by study; empty where there is no notebook."""
    results: dict[str, Any] = read_json(MEASURED) if MEASURED.exists() else {}
    return results


def default_seeds(study: Study, known: Mapping[str, Any] | None = None) -> int:
    """The number of seeds that the claim needs, given the spread measured before.

    Args:
        study: the study.
        known: its part of `measured()`; by default what the package ships.
    """
    if not study.contrasts:
        return 1
    known = measured().get(study.name, {}) if known is None else known
    spread = known.get("sd", {})
    needs = [(c, float(spread[c.name])) for c in study.claim_contrasts if spread.get(c.name) is not None]
    return seeds_for(needs, fewest=study.min_seeds) if needs else study.min_seeds


def run_study(
    study: Study,
    *,
    out: str | None = None,
    data: str | None = None,
    seeds: int | None = None,
    more: int = 0,
    command: str = "",
    clock: Clock | None = None,
    progress: Progress | None = None,
    share: float = 1.0,
) -> tuple[Path, dict[str, Any]]:
    """Run a study, or resume it, and write its folder.

    Args:
        study: the study.
        out: a new folder, or a folder of the same study to resume; by default `runs/study-NAME-…`.
        data: training data, instead of the study's own.
        seeds: total number; by default what the folder was started with, or `default_seeds`.
        more: additional seeds.
        command: the command line that repeats it, for the page.
        clock: no run is started that is expected to exceed it.
        progress: shows a bar over the runs.
        share: see `Setting.share`.

    Returns:
        The folder and the content of its `study.json`.

    Raises:
        UsageError: when the folder holds another study, or this one on other data or another machine.
    """
    clock, progress = clock or Clock(), progress or Progress()
    path = Path(out) if out else Path("runs") / f"study-{study.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    setting = Setting(data or study.data, share, progress)
    check_folder(path)
    folder = _StudyFolder(study, path, setting, command)
    folder.set_seeds(seeds, more)
    folder.compute_sizes()
    with progress.stage(study.name, len(folder.missing()), unit="runs") as bar:
        for arm, seed in folder.missing():
            if clock.left() <= folder.expected(arm):
                break
            folder.add(arm, seed)
            bar(1)
    folder.conclude()
    if folder.missing():
        progress.say(
            f"time is up with {len(folder.missing())} runs left; the same command with --out {path} resumes the "
            "study"
        )
    return path, folder.content


class _StudyFolder:
    """A study's folder and the content of its `study.json`."""

    def __init__(self, study: Study, path: Path, setting: Setting, command: str) -> None:
        self.study, self.path, self.setting = study, path, setting
        self.content = _read(path) if path.exists() else {}
        design = digest_of([[a.name for a in study.arms], setting.data, setting.share])
        if self.content:
            self._check_same_study(design)
        else:
            self.content = {"schema": 1, "name": study.name, "verdict": UNDECIDED, "rows": [], "looks": []}
        self.content |= describe_study(study) | {
            "data": setting.data,
            "design": design,
            "command": command or f"foveal study {study.name}",
            "machine": {"cpu": cpu_name(), "cores": cores(), "instruction_sets": instruction_sets()},
            "versions": versions(),
        }
        self.rows: list[dict[str, Any]] = self.content["rows"]

    def _check_same_study(self, design: str) -> None:
        known = self.content
        if known.get("name") != self.study.name:
            raise UsageError(f"{self.path} holds the study {known.get('name')!r}", hint="give another --out")
        if known.get("design") != design:
            raise UsageError(
                f"{self.path} was made with other data or another version of this study",
                hint="their results cannot be combined; give another --out",
            )
        if known["rows"] and known["machine"]["cpu"] != cpu_name():
            raise UsageError(
                f"{self.path} was measured on another machine: {known['machine']['cpu']}",
                hint="times of different machines cannot be combined; give another --out",
            )

    def set_seeds(self, seeds: int | None, more: int) -> None:
        """Set the total number of seeds."""
        started = self.content.get("seeds")
        self.content["seeds"] = (seeds or started or default_seeds(self.study)) + more

    def compute_sizes(self) -> None:
        """What each arm costs, according to the planner."""
        if self.study.sizes is not None and not self.content.get("sizes"):
            sizes = self.study.sizes(self.setting)
            self.content["sizes"] = {arm: dict(size) for arm, size in sizes.items()}

    def missing(self) -> list[tuple[str, int]]:
        """Arms and seeds still to run. The order rotates with the seed: no arm always runs on a cold machine."""
        done, arms = {(r["arm"], r["seed"]) for r in self.rows}, [a.name for a in self.study.arms]
        orders = [(s, arms[s % len(arms) :] + arms[: s % len(arms)]) for s in range(self.content["seeds"])]
        return [(arm, seed) for seed, order in orders for arm in order if (arm, seed) not in done]

    def expected(self, arm: str) -> float:
        """Seconds that a run of this arm will take; 0 for an arm that has not run yet."""
        return max((r["seconds"] for r in self.rows if r["arm"] == arm), default=0.0)

    def add(self, arm: str, seed: int) -> None:
        """Run an arm with a seed and store the row."""
        start = time.monotonic()
        measures = {name: float(value) for name, value in self.study.run(arm, seed, self.setting).items()}
        not_finite = [name for name, value in measures.items() if not math.isfinite(value)]
        if not_finite:
            raise ArithmeticError(f"{self.study.name}, {arm}, seed {seed}: {', '.join(not_finite)} is not finite")
        seconds = round(time.monotonic() - start, 3)
        self.rows.append({"arm": arm, "seed": seed, "seconds": seconds, "measures": measures})
        write_json(self.path / FILE, self.content)

    def conclude(self) -> None:
        """Analyse and write both files. Each verdict on a new number of seeds counts as an interim analysis."""
        n = len({r["seed"] for r in self.rows} - {seed for _, seed in self.missing()})
        looks: list[int] = self.content["looks"]
        if n and n not in looks:
            looks.append(n)
        _write_analysis(self.study, self.path, self.content)


def refresh(study: Study, path: Path) -> dict[str, Any]:
    """Analyse a folder's rows again and rewrite both files, after a change of wording or of the figure.

    Rows, machine and versions stay as they were when the study ran.

    Args:
        study: the study.
        path: its folder.

    Returns:
        The content of `study.json`.
    """
    content = _read(path) | describe_study(study)
    _write_analysis(study, path, content)
    return content


def _write_analysis(study: Study, path: Path, content: dict[str, Any]) -> None:
    """Complete the content of `study.json` with its analysis, and write it and the page."""
    from foveal.studies.framework.page import render

    analysis = analyse(study, content["rows"], sizes=content.get("sizes", {}), look=len(content["looks"]))
    content |= {"analysis": analysis, "verdict": analysis["verdict"], "more_seeds": analysis["more_seeds"]}
    content["seconds"] = round(sum(r["seconds"] for r in content["rows"]), 1)
    write_json(path / FILE, content)
    write_text(path / PAGE, render(content))


def headline(content: Mapping[str, Any]) -> str:
    """The verdict in one line."""
    more = content.get("more_seeds")
    rest = f"; about {more} more seeds would decide it (--more {more})" if more else ""
    n, seconds = content["analysis"]["n"], format_duration(content["seconds"])
    return f"{content['verdict']} (n = {n} seeds, {seconds}){rest}"


def describe_study(study: Study) -> dict[str, Any]:
    """The part of `study.json` that does not depend on results."""
    return {
        "question": study.question,
        "claim": study.claim,
        "method": study.method,
        "arms": [asdict(a) for a in study.arms],
        "equal": [asdict(e) for e in study.equal],
        "measures": [asdict(m) for m in study.measures],
        "contrasts": [asdict(c) for c in study.contrasts],
    }


def _read(path: Path) -> dict[str, Any]:
    file = path / FILE
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder", hint="give a folder with --out")
    if not file.exists():
        if any(path.iterdir()):
            raise UsageError(f"{path} is not empty and holds no study", hint="give a new folder with --out")
        return {}
    try:
        content: dict[str, Any] = read_json(file)
    except (OSError, ValueError) as error:
        raise BundleError(f"{file}: {error}", hint="the file is damaged; give another --out") from None
    return content
