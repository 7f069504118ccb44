"""What each strategy is worth, and whether the ladder chooses well: each strategy alone, and the ladder.

    uv run python bench/ladder.py FONTS --scenes FOLDER --time 8m
    uv run python bench/ladder.py FONTS --small --time 4m
    uv run python bench/ladder.py FONTS --promise         are budgets kept, from 20 s to 3 min?

FONTS is a folder of .ttf files (Debian's `fonts-dejavu` and `fonts-liberation`, say). The tasks are made here:
letters as if photographed, MNIST digits as small PNG files, and, with `--small`, ten small ones. 100 images per
class for training (`--small`: 40), 50 for testing. Rows are kept, so that it continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from common import Results, pooled, timed
from foveal.clock import parse_duration
from foveal.data.images.idx import find_pairs, read_pair
from foveal.data.sources.samples import unpack
from photographed import letter, photograph, scribble, thing

#: In the result files their key is "rung".
STRATEGIES = ("frozen", "frozen-stages", "cached-trunk", "fine-tune")
LADDER = "the ladder"
TEST = 50
#: Budgets that the time of the whole process is compared with, and the tolerance: a share, or seconds.
BUDGETS = ("20s", "30s", "45s", "60s", "90s", "2m", "3m")
OVER_SHARE, OVER_SECONDS = 0.05, 2.0

Picture = Callable[[str, np.random.Generator], Image.Image]


class Tasks:
    """The tasks by name; each is an endless source of images of a class.

    Args:
        fonts: a folder of .ttf files.
        scenes: a folder with one folder of photographs per class, if there is one.
    """

    def __init__(self, fonts: Path, scenes: Path | None) -> None:
        self._fonts = sorted(str(f) for f in fonts.rglob("*.ttf"))
        self._scenes = scenes
        images, labels = read_pair(next(p for p in find_pairs(str(unpack("mnist"))) if p.subset == "train"))
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

    def images(self, task: str, label: str) -> Iterator[Image.Image]:
        """Images of one class."""
        if task.startswith("scenes"):
            assert self._scenes is not None
            files = sorted((self._scenes / label).iterdir())
            random.Random(label).shuffle(files)
            for file in files:
                yield Image.open(file).convert("RGB")
            return
        rng = np.random.default_rng([*task.encode(), *label.encode()])
        while True:
            yield self._one(task, label, rng)

    def _one(self, task: str, label: str, rng: np.random.Generator) -> Image.Image:
        if task == "digits":
            return Image.fromarray(self._digit(label, rng))
        if task == "photographed digits":
            return photograph(self._digit(label, rng), rng, largest=200)
        if task == "what kind":
            if label == "thing":
                return thing(rng)
            if label == "digit":
                ink = self._digit(str(rng.integers(10)), rng)
            elif label == "letter":
                ink = self._letter(str(rng.choice(list("abcdefgh"))), rng)
            else:
                ink = scribble(rng)
            return photograph(ink, rng, largest=200)
        if task in ("arrows", "how many", "stripes"):
            return _drawn(task, label, rng)
        if task == "turned letters":
            turns = ("straight", "a quarter", "a half").index(label)
            ink = np.rot90(self._letter(str(rng.choice(list("FRGkhe"))), rng), turns)
            return photograph(np.ascontiguousarray(ink), rng, largest=200)
        return photograph(self._letter(label, rng), rng, largest=200)

    def _letter(self, text: str, rng: np.random.Generator) -> Any:
        return letter(text, rng, str(rng.choice(self._fonts)))

    def _digit(self, label: str, rng: np.random.Generator) -> Any:
        some = self._digits[label]
        return some[int(rng.integers(len(some)))]


def _drawn(task: str, label: str, rng: np.random.Generator) -> Image.Image:
    """Simple drawings on noise, unlike any photograph."""
    side = 120
    image = Image.fromarray(rng.integers(100, 160, (side, side, 3), dtype=np.uint8))
    drawing = ImageDraw.Draw(image)
    colour = tuple(rng.integers(0, 80, 3).tolist())
    x, y, r = int(rng.integers(40, 80)), int(rng.integers(40, 80)), int(rng.integers(14, 28))
    if task == "arrows":
        dx, dy = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}[label]
        tip, back = (x + dx * r, y + dy * r), (x - dx * r, y - dy * r)
        drawing.polygon(
            [tip, (back[0] + dy * r, back[1] + dx * r), (back[0] - dy * r, back[1] - dx * r)], fill=colour
        )
    elif task == "how many":
        for place in rng.permutation(9)[: int(label)].tolist():
            px, py = 20 + 40 * (place % 3), 20 + 40 * (place // 3)
            drawing.ellipse([px - 12, py - 12, px + 12, py + 12], fill=colour)
    else:
        step = int(rng.integers(9, 16))
        for at in range(int(rng.integers(step)), side, step):
            if label == "across":
                drawing.line([(0, at), (side, at)], fill=colour, width=2)
            elif label == "along":
                drawing.line([(at, 0), (at, side)], fill=colour, width=2)
            elif label == "dots":
                for other in range(0, side, step):
                    drawing.point([(at, other), (at + 1, other)], fill=colour)
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.5))))


#: Tasks on whose test subsets settings of the strategies were tried.
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
    """Write train/ and test/ with the images of a task."""
    for label in tasks.classes(task):
        source = tasks.images(task, label)
        for subset, count in (("train", each), ("test", TEST)):
            target = folder / subset / label
            target.mkdir(parents=True)
            for i, image in zip(range(count), source, strict=False):
                image.save(target / f"{i:03d}.png")
    return folder


def run(root: Path, strategy: str, budget: str, seed: int) -> dict[str, Any]:
    """One fresh process with empty caches."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FOVEAL_CACHE": folder + "/cache", "FOVEAL_STATE": folder + "/state"}
        pinned = [] if strategy == LADDER else ["--strategy", strategy]
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
    """Run what is missing, and summarize."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fonts", type=Path)
    parser.add_argument("--scenes", type=Path)
    parser.add_argument("--time", default="8m")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--promise", action="store_true", help="test whether budgets are kept")
    parser.add_argument("--budgets", nargs="*", default=list(BUDGETS), help="budgets of --promise")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--tasks", nargs="*")
    parser.add_argument("--strategies", nargs="*", default=[*STRATEGIES, LADDER])
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
                for strategy in arguments.strategies:
                    key = {"task": task, "rung": strategy, "seed": seed, "budget": arguments.time}
                    if not results.of(**key):
                        results.add(**key, **run(root, strategy, arguments.time, seed))
    rows = sorted({(r["task"], r["rung"], r["budget"]) for r in results.rows})
    results.save(summary=[summed(results, *key) for key in rows], regret=regret(results, arguments.time))


def regret(results: Results, budget: str) -> dict[str, Any]:
    """By how many points the ladder's model is behind the best strategy in hindsight, and behind the frozen one, on
    average over the tasks for which all strategies were run; 95 % by bootstrap over tasks."""
    behind_of: dict[str, Any] = {}
    for name, strategies, tuned_tasks in (  # the names are keys of the result file
        ("the best rung in hindsight", STRATEGIES, ()),
        ("that, on tasks where no setting was tried,", STRATEGIES, TRIED_ON),
        ("frozen", ("frozen",), ()),
    ):
        behind = {}
        for task in dict.fromkeys(r["task"] for r in results.of(budget=budget) if r["task"] not in tuned_tasks):
            rows = [results.of(task=task, rung=strategy, budget=budget) for strategy in (*strategies, LADDER)]
            if all(rows):
                *others, own = (pooled(some)["accuracy"] for some in rows)
                behind[task] = 100 * (max(others) - own)
        values = np.array(list(behind.values()))
        if len(values):
            ci95 = _interval_of_mean(values)
            behind_of[name] = {"tasks": behind, "points": float(values.mean()), "ci95": ci95}
    return behind_of


def _interval_of_mean(values: NDArray[np.float64], rounds: int = 1000) -> tuple[float, float]:
    """Percentile bootstrap, 95 % (Efron 1979)."""
    drawn = np.random.default_rng(0).integers(0, len(values), (rounds, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def promise(tasks: Tasks, names: Sequence[str], budgets: Sequence[str]) -> None:
    """The ladder with each budget on each task, and by how much the process exceeded it."""
    results = Results("promise")
    for task in names:
        with tempfile.TemporaryDirectory() as folder:
            root = arrange(tasks, task, 100, Path(folder) / task.replace(" ", "-"))
            for budget in (b for b in budgets if not results.of(task=task, budget=b)):
                row, allowed = run(root, LADDER, budget, 0), parse_duration(budget)
                over = row["seconds"] - allowed
                kept = over <= max(OVER_SECONDS, OVER_SHARE * allowed)
                results.add(task=task, budget=budget, over=over, kept=kept, **row)
    rows = results.rows
    broken = sum(not r["kept"] for r in rows)
    results.save(summary={"runs": len(rows), "broken": broken, "most_over": max(r["over"] for r in rows)})


def summed(results: Results, task: str, strategy: str, budget: str) -> dict[str, Any]:
    """One row of the table."""
    some = results.of(task=task, rung=strategy, budget=budget)
    return {
        "task": task,
        "rung": strategy,
        "budget": budget,
        "runs": len(some),
        "seconds": sum(r["seconds"] for r in some) / len(some),
        **pooled(some),
    }


if __name__ == "__main__":
    main()
