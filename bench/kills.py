"""SIGKILL in the middle of trainings: a run that goes on by --resume ends in the weights that it would have had.

    uv run --group bench python bench/kills.py [--only STRATEGY] [--kills 7]

Of each strategy one run is trained to its end on a small set. Its replay, which obeys the same decisions whatever the
clock says, is killed at random moments of its training and resumed after each, with a cache of its own; every third
time it is told to leave by SIGTERM instead, so that it has a checkpoint to go on from. Then a new run, in which the
clock decides, is treated alike, and replayed undisturbed. All weights have to be the same, bit for bit. A row for
each chain of kills is kept in `bench/results/kills.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common import Results
from same_results import fingerprint

#: Strategy → options. The time is what one core or two need for a training of some seconds.
RUNS: dict[str, list[str]] = {
    "frozen": ["CLASSES", "--strategy", "frozen"],
    "frozen-stages": ["CLASSES", "--strategy", "frozen-stages"],
    "cached-trunk": ["CLASSES", "--strategy", "cached-trunk", "--time", "45s"],
    "fine-tune": ["CLASSES", "--strategy", "fine-tune", "--time", "50s"],
    "scratch-seconds": ["sample:mnist", "--strategy", "scratch-seconds", "--time", "30s"],
    "scratch-minute": ["sample:mnist", "--strategy", "scratch-minute", "--time", "45s"],
    "from-scratch-lenet5": ["CLASSES", "--from-scratch", "lenet5", "--time", "30s"],
    "fcn8s": ["sample:digit-scenes", "--strategy", "fcn8s", "--time", "45s"],
    "unet": ["sample:digit-scenes", "--strategy", "unet", "--time", "60s"],
}
#: Stages of a run in which nothing is trained.
_AROUND = ("read and audit", "evaluate", "report", "masks of the test subset")
COMMAND = [sys.executable, "-m", "foveal", "train"]


@dataclass
class Chain:
    """One run that is killed again and again.

    Attributes:
        first: the command that begins it.
        run: its folder.
        cache: of this run alone.
        spans: stage → seconds that it takes undisturbed.
        dice: for the moments.
    """

    first: list[str]
    run: Path
    cache: Path
    spans: dict[str, float]
    dice: random.Random

    def disturbed(self, kills: int) -> list[dict[str, Any]]:
        """Kill it so often, or as often as it does not end before; each row has the stage and the seconds into it."""
        rows: list[dict[str, Any]] = []
        while len([r for r in rows if r["signal"] == "SIGKILL"]) < kills and not self.over:
            process, log_from = self._process()
            number = signal.SIGTERM if len(rows) % 3 == 2 else signal.SIGKILL
            stage = self.dice.choices(list(self.spans), list(self.spans.values()))[0]
            delay = self.dice.random() * self.spans[stage]
            while process.poll() is None and stage not in self._begun(log_from):
                time.sleep(0.005)
            began = time.monotonic()
            while process.poll() is None and time.monotonic() - began < delay:
                time.sleep(0.005)
            inside = [s for s in self._begun(log_from) if s not in self._ended(log_from)]
            process.send_signal(number)
            if process.wait() in (-signal.SIGKILL, 143):
                rows.append(
                    {"signal": number.name, "stage": inside[-1] if inside else "", "seconds": round(delay, 2)}
                )
            elif not self.over:
                raise SystemExit(f"{self.run}: exit {process.returncode}: {self._said()}")
        return rows

    def finish(self) -> None:
        """Let it go on to its end."""
        while not self.over:
            process, _ = self._process()
            if process.wait():
                raise SystemExit(f"{self.run}: exit {process.returncode}: {self._said()}")

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return (self.run / "summary.json").exists()

    def _process(self) -> tuple[subprocess.Popen[bytes], int]:
        """A process that begins it, or goes on with it, and where its part of the log begins."""
        begun = (self.run / "config.json").exists()
        command = [*COMMAND, "--resume", str(self.run)] if begun else [*self.first, "--out", str(self.run)]
        log = self.run / "log.jsonl"
        size = log.stat().st_size if log.exists() and begun else 0
        kept = {"FOVEAL_CACHE": str(self.cache), "FOVEAL_STATE": f"{self.cache}-state"}
        with (self.cache.parent / "stderr").open("wb") as said:
            return subprocess.Popen(command, stdout=said, stderr=said, env=os.environ | kept), size

    def _begun(self, log_from: int) -> list[str]:
        return [e["stage"] for e in events(self.run, log_from) if e.get("event") == "begin"]

    def _ended(self, log_from: int) -> list[str]:
        return [e["stage"] for e in events(self.run, log_from) if e.get("event") == "end"]

    def _said(self) -> str:
        return (self.cache.parent / "stderr").read_text(errors="replace")[-2000:]


def events(run: Path, log_from: int = 0) -> list[dict[str, Any]]:
    """Of a run's log, from a place in it on; a last line that is not whole is left out."""
    try:
        with (run / "log.jsonl").open("rb") as file:
            file.seek(log_from)
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return []
    return [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]


def training_spans(run: Path) -> dict[str, float]:
    """Stage → seconds, of the stages of a finished run between reading and evaluation."""
    began: dict[str, float] = {}
    spans: dict[str, float] = {}
    for event in events(run):
        if event.get("event") == "begin" and event["stage"] not in _AROUND:
            began[event["stage"]] = event["t"]
        if event.get("event") == "end" and event["stage"] in began:
            spans[event["stage"]] = event["t"] - began[event["stage"]] + 0.05
    return spans


def draw_classes(folder: Path, classes: int = 4, each: int = 40) -> Path:
    """Small noisy pictures, whose shade is the class."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"c{label}").mkdir(parents=True)
        for i in range(each):
            shade = np.array([60 + 40 * label, 120, 220 - 40 * label])
            noise = rng.integers(-50, 50, (9, 11, 3)).repeat(8, axis=0).repeat(8, axis=1)
            Image.fromarray(np.clip(shade + noise, 0, 255).astype(np.uint8)).save(
                folder / f"c{label}" / f"{i}.png"
            )
    return folder


def measure(name: str, kills: int, folder: Path, results: Results) -> None:
    """Both chains of a strategy."""
    dice, options = random.Random(name), list(RUNS[name])
    if options[0] == "CLASSES":
        options[0] = str(draw_classes(folder / "classes"))
    undisturbed = Chain([*COMMAND, *options], folder / "whole", folder / "cache", {}, dice)
    undisturbed.finish()
    expected, spans = fingerprint(undisturbed.run), training_spans(undisturbed.run)
    rows: list[dict[str, Any]] = []
    for number in range(4):
        left = (kills + 1) // 2 - sum(r["signal"] == "SIGKILL" for r in rows)
        if left <= 0:
            break
        first = [*COMMAND, "--replay", str(undisturbed.run)]
        chain = Chain(first, folder / f"replay-{number}", folder / f"cache-{number}", spans, dice)
        found = chain.disturbed(left)
        chain.finish()
        rows += found
        same = fingerprint(chain.run) == expected
        results.add(strategy=name, chain="replay", disturbed=found, same=same)
    fresh = Chain([*COMMAND, *options], folder / "new", folder / "cache-new", spans, dice)
    found = fresh.disturbed(kills - sum(r["signal"] == "SIGKILL" for r in rows))
    fresh.finish()
    again = Chain([*COMMAND, "--replay", str(fresh.run)], folder / "again", folder / "cache-again", spans, dice)
    again.finish()
    same = fingerprint(again.run) == fingerprint(fresh.run)
    results.add(strategy=name, chain="new run, then replayed", disturbed=found, same=same)


def main() -> None:
    """Kill what was not killed yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(RUNS))
    parser.add_argument("--kills", type=int, default=7, help="of each strategy")
    given = parser.parse_args()
    results = Results("kills")
    for name in given.only or RUNS:
        if not results.of(strategy=name):
            with tempfile.TemporaryDirectory() as folder:
                measure(name, given.kills, Path(folder), results)
    killed = sum(r["signal"] == "SIGKILL" for row in results.rows for r in row["disturbed"])
    differ = [f"{row['strategy']}, {row['chain']}" for row in results.rows if not row["same"]]
    results.save(summary={"kills": killed, "chains": len(results.rows), "differ": differ})
    print(f"{killed} kills, {len(differ)} of {len(results.rows)} chains differ {differ}")
    raise SystemExit(1 if differ else 0)


if __name__ == "__main__":
    main()
