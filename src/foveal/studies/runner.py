"""Runs a study into its folder: row by row, to go on later, within a time.

A folder holds `study.json` and `study.html`. `study.json` is written after every row, so that a study that was
killed loses one row; seeds that not all arms have finished wait for the next time and count for nothing
until then.
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
from foveal.progress import Progress
from foveal.studies.analysis import analyse, seeds_for
from foveal.studies.frame import UNDECIDED, Setting, Study

FILE, PAGE = "study.json", "study.html"
#: What earlier runs of the shipped lab notebook measured: verdicts, and the spread of each contrast.
MEASURED = Path(__file__).with_name("measured.json")


def measured() -> dict[str, Any]:
    """The shipped lab notebook's figures by study; empty when none was made yet."""
    found: dict[str, Any] = read_json(MEASURED) if MEASURED.exists() else {}
    return found


def default_seeds(study: Study, known: Mapping[str, Any] | None = None) -> int:
    """As many as the claim needs, by the spread that was measured before.

    Args:
        study: one.
        known: its part of `measured()`; by default what the package ships.
    """
    if not study.contrasts:
        return 1
    known = measured().get(study.name, {}) if known is None else known
    spread = known.get("sd", {})
    needs = [(c, float(spread[c.name])) for c in study.needed if spread.get(c.name) is not None]
    return seeds_for(needs, fewest=study.fewest) if needs else study.fewest


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
    """Run a study, or go on with it, and write its folder.

    Args:
        study: which.
        out: a new folder, or one of the same study to go on with; by default `runs/study-NAME-…`.
        data: to learn from, in place of the study's own.
        seeds: how many in all; by default what the folder was begun with, or `default_seeds`.
        more: seeds in addition to that.
        command: that would repeat it, for the page.
        clock: no run is begun that would not end in its time.
        progress: a bar over the runs.
        share: see `Setting.share`.

    Returns:
        The folder and the content of its `study.json`.

    Raises:
        UsageError: when the folder holds another study, or this one on other data or another machine.
    """
    clock, progress = clock or Clock(), progress or Progress()
    path = Path(out) if out else Path("runs") / f"study-{study.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    setting = Setting(data or study.data, share, progress)
    notes = _Notes(study, path, setting, command)
    notes.want(seeds, more)
    notes.measure_sizes()
    with progress.stage(study.name, len(notes.missing())) as bar:
        for arm, seed in notes.missing():
            if clock.left() <= notes.expected(arm):
                break
            notes.add(arm, seed)
            bar(1)
    notes.conclude()
    if notes.missing():
        progress.say(
            f"time is up with {len(notes.missing())} runs to go: the same command with --out {path} goes on"
        )
    return path, notes.content


class _Notes:
    """The `study.json` of one folder."""

    def __init__(self, study: Study, path: Path, setting: Setting, command: str) -> None:
        self.study, self.path, self.setting = study, path, setting
        self.content = _read(path) if path.exists() else {}
        design = digest_of([[a.name for a in study.arms], setting.data, setting.share])
        if self.content:
            self._refuse_others(design)
        else:
            self.content = {"schema": 1, "name": study.name, "verdict": UNDECIDED, "rows": [], "looks": []}
        self.content |= _described(study) | {
            "data": setting.data,
            "design": design,
            "command": command or f"foveal study {study.name}",
            "machine": {"cpu": cpu_name(), "cores": cores(), "instruction_sets": instruction_sets()},
            "versions": versions(),
        }
        self.rows: list[dict[str, Any]] = self.content["rows"]

    def _refuse_others(self, design: str) -> None:
        known = self.content
        if known.get("name") != self.study.name:
            raise UsageError(f"{self.path} holds the study {known.get('name')!r}", hint="give another --out")
        if known.get("design") != design:
            raise UsageError(
                f"{self.path} was made on other data, or by another version of this study",
                hint="results of both can't be mixed: give another --out",
            )
        if known["rows"] and known["machine"]["cpu"] != cpu_name():
            raise UsageError(
                f"{self.path} was measured on another machine: {known['machine']['cpu']}",
                hint="times of both can't be mixed: give another --out",
            )

    def want(self, seeds: int | None, more: int) -> None:
        """Settle how many seeds there should be in all."""
        begun = self.content.get("seeds")
        self.content["seeds"] = (seeds or begun or default_seeds(self.study)) + more

    def measure_sizes(self) -> None:
        """What each arm costs, by the planner."""
        if self.study.sizes is not None and not self.content.get("sizes"):
            found = self.study.sizes(self.setting)
            self.content["sizes"] = {arm: dict(size) for arm, size in found.items()}

    def missing(self) -> list[tuple[str, int]]:
        """Arms and seeds still to run. Which arm is first goes round: none always meets a cold machine."""
        done, arms = {(r["arm"], r["seed"]) for r in self.rows}, [a.name for a in self.study.arms]
        turns = [(s, arms[s % len(arms) :] + arms[: s % len(arms)]) for s in range(self.content["seeds"])]
        return [(arm, seed) for seed, turned in turns for arm in turned if (arm, seed) not in done]

    def expected(self, arm: str) -> float:
        """Seconds that a run of this arm will take; of one never run nothing is known."""
        return max((r["seconds"] for r in self.rows if r["arm"] == arm), default=0.0)

    def add(self, arm: str, seed: int) -> None:
        """Run, and keep the row."""
        began = time.monotonic()
        measures = {name: float(value) for name, value in self.study.run(arm, seed, self.setting).items()}
        wrong = [name for name, value in measures.items() if not math.isfinite(value)]
        if wrong:
            raise ArithmeticError(f"{self.study.name}, {arm}, seed {seed}: {', '.join(wrong)} is not a number")
        seconds = round(time.monotonic() - began, 3)
        self.rows.append({"arm": arm, "seed": seed, "seconds": seconds, "measures": measures})
        write_json(self.path / FILE, self.content)

    def conclude(self) -> None:
        """Analyse, and write both files. A verdict on more seeds than the one before is a look."""
        from foveal.studies.page import render

        n = len({r["seed"] for r in self.rows} - {seed for _, seed in self.missing()})
        looks: list[int] = self.content["looks"]
        if n and n not in looks:
            looks.append(n)
        found = analyse(self.study, self.rows, sizes=self.content.get("sizes", {}), look=len(looks))
        self.content |= {"analysis": found, "verdict": found["verdict"], "more_seeds": found["more_seeds"]}
        self.content["seconds"] = round(sum(r["seconds"] for r in self.rows), 1)
        write_json(self.path / FILE, self.content)
        write_text(self.path / PAGE, render(self.content))


def headline(content: Mapping[str, Any]) -> str:
    """The verdict in one line."""
    more = content.get("more_seeds")
    rest = f"; about {more} more seeds would decide it (--more {more})" if more else ""
    n, seconds = content["analysis"]["n"], format_duration(content["seconds"])
    return f"{content['verdict']} (n = {n} seeds, {seconds}){rest}"


def _described(study: Study) -> dict[str, Any]:
    """What does not depend on results."""
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
        raise UsageError(f"{path} is no folder", hint="give a folder with --out")
    if not file.exists():
        if any(path.iterdir()):
            raise UsageError(
                f"{path} exists, is not empty and holds no study", hint="give a new folder with --out"
            )
        return {}
    try:
        content: dict[str, Any] = read_json(file)
    except (OSError, ValueError) as error:
        raise BundleError(f"{file}: {error}", hint="the file is damaged: give another --out") from None
    return content
