"""What each rung of the ladder is worth, and whether the ladder chooses well: each pinned, and the ladder itself.

    uv run python bench/ladder.py FONTS --scenes FOLDER --time 8m
    uv run python bench/ladder.py FONTS --small --time 4m
    uv run python bench/ladder.py FONTS --promise         does a budget hold, from 20 s to 3 min?

FONTS is a folder of .ttf files (Debian's `fonts-dejavu` and `fonts-liberation`, say). The tasks are made here:
letters as photographed, MNIST's digits as small PNG files, and, with `--small`, ten small ones. 100 pictures a
class to learn from (`--small`: 40), 50 to test on. Rows are kept: a bench goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from common import Results, pooled, timed
from foveal.clock import parse_duration
from foveal.data.idx import find_pairs, read_pair
from foveal.data.samples import unpack
from foveal.metrics.intervals import bootstrap
from photographed import letter, photograph, scribble, thing

RUNGS = ("frozen", "frozen-stages", "cached-trunk", "fine-tune")
LADDER = "the ladder"
TEST = 50
#: Budgets that are held against the whole process's time; how far it may go over one: a share, or seconds.
BUDGETS = ("20s", "30s", "45s", "60s", "90s", "2m", "3m")
OVER_SHARE, OVER_SECONDS = 0.05, 2.0

Picture = Callable[[str, np.random.Generator], Image.Image]


class Tasks:
    """The tasks by name; each gives pictures (class, n-th) without end.

    Args:
        fonts: folder of .ttf files.
        scenes: folder of class folders of photographs, if there is one.
    """

    def __init__(self, fonts: Path, scenes: Path | None) -> None:
        self._fonts = sorted(str(f) for f in fonts.rglob("*.ttf"))
        self._scenes = scenes
        images, labels = read_pair(next(p for p in find_pairs(str(unpack("mnist"))) if p.side == "train"))
        self._digits = {d: images[np.array([str(v) == d for v in labels])] for d in "0123456789"}

    def classes(self, task: str) -> list[str]:
        """Names of a task's classes."""
        drawn = {
            "letters": list("abcdefghkmnr"),
            "digits": list("0123456789"),
            "photographed digits": list("0123456789"),
            "capitals": list("BDGOPQRS"),
            "arrows": ["down", "left", "right", "up"],
            "how many": ["1", "2", "3", "4"],
            "what kind": ["digit", "letter", "scribble", "thing"],
            "stripes": ["across", "along", "dots", "none"],
            "turned letters": ["a quarter", "a half", "straight"],
        }
        if task in drawn:
            return drawn[task]
        assert self._scenes is not None
        return sorted(p.name for p in self._scenes.iterdir() if p.is_dir())

    def pictures(self, task: str, label: str) -> Iterator[Image.Image]:
        """Of one class."""
        if task.startswith("scenes"):
            assert self._scenes is not None
            files = sorted((self._scenes / label).iterdir())
            random.Random(label).shuffle(files)
            for file in files:
                yield Image.open(file).convert("RGB")
            return
        chance = np.random.default_rng([*task.encode(), *label.encode()])
        while True:
            yield self._one(task, label, chance)

    def _one(self, task: str, label: str, chance: np.random.Generator) -> Image.Image:
        if task == "digits":
            return Image.fromarray(self._digit(label, chance))
        if task == "photographed digits":
            return photograph(self._digit(label, chance), chance, largest=200)
        if task == "what kind":
            if label == "thing":
                return thing(chance)
            if label == "digit":
                ink = self._digit(str(chance.integers(10)), chance)
            elif label == "letter":
                ink = self._letter(str(chance.choice(list("abcdefgh"))), chance)
            else:
                ink = scribble(chance)
            return photograph(ink, chance, largest=200)
        if task in ("arrows", "how many", "stripes"):
            return _drawn(task, label, chance)
        if task == "turned letters":
            turns = ("straight", "a quarter", "a half").index(label)
            ink = np.rot90(self._letter(str(chance.choice(list("FRGkhe"))), chance), turns)
            return photograph(np.ascontiguousarray(ink), chance, largest=200)
        return photograph(self._letter(label, chance), chance, largest=200)

    def _letter(self, text: str, chance: np.random.Generator) -> Any:
        return letter(text, chance, str(chance.choice(self._fonts)))

    def _digit(self, label: str, chance: np.random.Generator) -> Any:
        some = self._digits[label]
        return some[int(chance.integers(len(some)))]


def _drawn(task: str, label: str, chance: np.random.Generator) -> Image.Image:
    """Plain drawings on noise, as no photograph is."""
    side = 120
    picture = Image.fromarray(chance.integers(100, 160, (side, side, 3), dtype=np.uint8))
    drawing = ImageDraw.Draw(picture)
    colour = tuple(chance.integers(0, 80, 3).tolist())
    x, y, r = int(chance.integers(40, 80)), int(chance.integers(40, 80)), int(chance.integers(14, 28))
    if task == "arrows":
        dx, dy = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}[label]
        tip, back = (x + dx * r, y + dy * r), (x - dx * r, y - dy * r)
        drawing.polygon(
            [tip, (back[0] + dy * r, back[1] + dx * r), (back[0] - dy * r, back[1] - dx * r)], fill=colour
        )
    elif task == "how many":
        for place in chance.permutation(9)[: int(label)].tolist():
            px, py = 20 + 40 * (place % 3), 20 + 40 * (place // 3)
            drawing.ellipse([px - 12, py - 12, px + 12, py + 12], fill=colour)
    else:
        step = int(chance.integers(9, 16))
        for at in range(int(chance.integers(step)), side, step):
            if label == "across":
                drawing.line([(0, at), (side, at)], fill=colour, width=2)
            elif label == "along":
                drawing.line([(at, 0), (at, side)], fill=colour, width=2)
            elif label == "dots":
                for other in range(0, side, step):
                    drawing.point([(at, other), (at + 1, other)], fill=colour)
    return picture.filter(ImageFilter.GaussianBlur(float(chance.uniform(0, 1.5))))


#: Tasks by whose test sides settings of the rungs were tried.
TRIED_ON = ("letters", "digits", "photographed digits", "turned letters")
SMALL = (
    "letters",
    "digits",
    "photographed digits",
    "capitals",
    "arrows",
    "how many",
    "what kind",
    "stripes",
    "turned letters",
    "scenes",
)


def arrange(tasks: Tasks, task: str, each: int, folder: Path) -> Path:
    """train/ and test/ with the pictures of a task."""
    for label in tasks.classes(task):
        made = tasks.pictures(task, label)
        for side, count in (("train", each), ("test", TEST)):
            place = folder / side / label
            place.mkdir(parents=True)
            for i, picture in zip(range(count), made, strict=False):
                picture.save(place / f"{i:03d}.png")
    return folder


def run(root: Path, rung: str, budget: str, seed: int) -> dict[str, Any]:
    """One fresh process with empty caches."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FOVEAL_CACHE": folder + "/cache", "FOVEAL_STATE": folder + "/state"}
        pinned = [] if rung == LADDER else ["--strategy", rung]
        command = [
            sys.executable,
            "-m",
            "foveal",
            "train",
            str(root),
            "--time",
            budget,
            "--seed",
            str(seed),
            *pinned,
        ]
        seconds, printed = timed([*command, "--out", folder + "/run", "--json"], env=environment)
    summary = json.loads(printed)
    return {
        "seconds": seconds,
        "accuracy": summary["test"]["accuracy"],
        "n": summary["test"]["n"],
        "chosen": summary["strategy"]["name"],
        "candidates": summary["strategy"]["candidates"],
        "input": summary["model"]["input"],
    }


def main() -> None:
    """Run what is missing, and sum up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fonts", type=Path)
    parser.add_argument("--scenes", type=Path)
    parser.add_argument("--time", default="8m")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--promise", action="store_true")
    parser.add_argument("--budgets", nargs="*", default=list(BUDGETS), help="of the promise")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--tasks", nargs="*")
    parser.add_argument("--rungs", nargs="*", default=[*RUNGS, LADDER])
    arguments = parser.parse_args()
    tasks, each = Tasks(arguments.fonts, arguments.scenes), 40 if arguments.small else 100
    names = arguments.tasks or (SMALL if arguments.small else ("letters", "digits"))
    if arguments.promise:
        promise(tasks, names, arguments.budgets)
        return
    results = Results("ladder-small" if arguments.small else "ladder")
    for task in (t for t in names if t != "scenes" or arguments.scenes):
        with tempfile.TemporaryDirectory() as folder:
            root = arrange(tasks, task, each, Path(folder) / task.replace(" ", "-"))
            for seed in range(arguments.seeds):
                for rung in arguments.rungs:
                    if not results.of(task=task, rung=rung, seed=seed, budget=arguments.time):
                        found = run(root, rung, arguments.time, seed)
                        results.add(task=task, rung=rung, seed=seed, budget=arguments.time, **found)
    rows = sorted({(r["task"], r["rung"], r["budget"]) for r in results.rows})
    results.save(summary=[summed(results, *key) for key in rows], regret=regret(results, arguments.time))


def regret(results: Results, budget: str) -> dict[str, Any]:
    """By how many points the ladder's model is behind the best rung in hindsight, and behind the frozen one, on
    average over the tasks of which all rungs are there; 95 % by bootstrap over tasks."""
    found: dict[str, Any] = {}
    for name, rungs, but in (
        ("the best rung in hindsight", RUNGS, ()),
        ("that, on tasks where no setting was tried,", RUNGS, TRIED_ON),
        ("frozen", ("frozen",), ()),
    ):
        behind = {}
        for task in dict.fromkeys(r["task"] for r in results.of(budget=budget) if r["task"] not in but):
            rows = [results.of(task=task, rung=rung, budget=budget) for rung in (*rungs, LADDER)]
            if all(rows):
                *others, own = (pooled(some)["accuracy"] for some in rows)
                behind[task] = 100 * (max(others) - own)
        values = np.array(list(behind.values()))
        if len(values):
            ci95 = bootstrap(partial(_mean_of, values), len(values))
            found[name] = {"tasks": behind, "points": float(values.mean()), "ci95": ci95}
    return found


def _mean_of(values: NDArray[np.float64], some: NDArray[np.int64]) -> float:
    return float(values[some].mean())


def promise(tasks: Tasks, names: Sequence[str], budgets: Sequence[str]) -> None:
    """The ladder at each budget on each task, and by how much the process went over it."""
    results = Results("promise")
    for task in names:
        with tempfile.TemporaryDirectory() as folder:
            root = arrange(tasks, task, 100, Path(folder) / task.replace(" ", "-"))
            for budget in (b for b in budgets if not results.of(task=task, budget=b)):
                found, allowed = run(root, LADDER, budget, 0), parse_duration(budget)
                over = found["seconds"] - allowed
                kept = over <= max(OVER_SECONDS, OVER_SHARE * allowed)
                results.add(task=task, budget=budget, over=over, kept=kept, **found)
    rows = results.rows
    broken = sum(not r["kept"] for r in rows)
    results.save(summary={"runs": len(rows), "broken": broken, "most_over": max(r["over"] for r in rows)})


def summed(results: Results, task: str, rung: str, budget: str) -> dict[str, Any]:
    """One line of the table."""
    some = results.of(task=task, rung=rung, budget=budget)
    return {
        "task": task,
        "rung": rung,
        "budget": budget,
        "runs": len(some),
        "seconds": sum(r["seconds"] for r in some) / len(some),
        **pooled(some),
    }


if __name__ == "__main__":
    main()
