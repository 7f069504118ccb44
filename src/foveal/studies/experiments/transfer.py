"""From scratch, frozen features, fine-tuning: accuracy and time with 5, 20 and 100 images per class."""

from __future__ import annotations

import csv
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foveal.errors import DataError
from foveal.studies.framework import (
    Arm,
    Contrast,
    Measure,
    NotebookClaim,
    Plot,
    Point,
    Results,
    Series,
    Setting,
    Study,
    difference,
    format_number,
)

#: Arm → its strategy.
STRATEGIES = {"from scratch": "scratch-minute", "frozen": "frozen", "fine-tuned": "fine-tune"}
#: Images per class → time budget of a whole run, seconds.
BUDGETS = {5: 15, 20: 20, 100: 40}
#: Test images per class.
TESTED = 30


def run(arm: str, seed: int, setting: Setting) -> Mapping[str, float]:
    """A whole run of foveal for each number of images: accuracy on the same test images, and time."""
    from foveal.clock import Clock
    from foveal.config import TrainConfig
    from foveal.flow import train

    by_class = paths_by_class(setting.data)
    measures: dict[str, float] = {}
    for count, budget in BUDGETS.items():
        with tempfile.TemporaryDirectory(prefix="foveal-study-") as folder, _own_state(folder):
            table = write_table(by_class, setting.scaled(count, 3), seed, setting, Path(folder) / "images.csv")
            config = TrainConfig(
                time=f"{max(1.0, budget * setting.share)}s",
                seed=seed,
                strategy=STRATEGIES[arm],
                test="subset",
                cache=False,
            )
            _, summary = train(str(table), config, out=str(Path(folder) / "run"), clock=Clock(config.budget))
        measures[f"accuracy {count}"] = float(summary["test"]["accuracy"])
        measures[f"seconds {count}"] = float(summary["time"]["total_s"])
        measures["tested"] = float(summary["test"]["n"])
    return measures


def paths_by_class(data: str) -> dict[str, list[str]]:
    """Paths of images by label.

    Raises:
        DataError: when a class has too few images.
    """
    from foveal.data.sources.list_data import list_data

    by_class: dict[str, list[str]] = defaultdict(list)
    for entry in list_data(data).entries:
        by_class[str(entry.label)].append(entry.path)
    fewest = min(by_class, key=lambda label: len(by_class[label]), default=None)
    most = max(BUDGETS)
    if fewest is None or len(by_class) < 2 or len(by_class[fewest]) <= most:
        have = f"class {fewest!r} has {len(by_class[fewest])}" if fewest else "there are no classes"
        raise DataError(
            f"{data}: this study needs more than {most} images in each of two or more classes; {have}",
            hint="give a folder of class folders with 110 images in each, or omit --data",
        )
    return dict(by_class)


def write_table(
    by_class: Mapping[str, Sequence[str]], count: int, seed: int, setting: Setting, path: Path
) -> Path:
    """Write one split as a CSV file.

    The test images of a seed do not depend on the count, and a smaller training set is part of a larger one.
    """
    import numpy as np

    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label", "split"))
        for number, label in enumerate(sorted(by_class)):
            order = np.random.default_rng([seed, number]).permutation(sorted(by_class[label])).tolist()
            tested = min(setting.scaled(TESTED, 3), len(order) - max(BUDGETS))
            rows.writerows((p, label, "test") for p in order[:tested])
            rows.writerows((p, label, "train") for p in order[tested : tested + count])
    return path


@contextmanager
def _own_state(folder: str) -> Iterator[None]:
    """A separate state folder: evaluations on these test sets are not counted as evaluations on the user's."""
    before = os.environ.get("FOVEAL_STATE")
    os.environ["FOVEAL_STATE"] = f"{folder}/state"
    try:
        yield
    finally:
        os.environ.pop("FOVEAL_STATE")
        if before is not None:
            os.environ["FOVEAL_STATE"] = before


def plot(results: Results, analysis: Mapping[str, Any]) -> Plot:
    """Accuracy over time, a line for each strategy; each point is a number of images."""
    series = []
    for arm in STRATEGIES:
        points = []
        for count in BUDGETS:
            p = results.point(0, arm, f"accuracy {count}")
            seconds = float(results.of(arm, f"seconds {count}").mean())
            points.append(Point(seconds, p.mean, p.low, p.high, p.n, str(count)))
        series.append(Series(arm, tuple(points)))
    few, many = (
        float(results.of(arm, f"accuracy {n}").mean()) for arm, n in (("frozen", 5), ("from scratch", 100))
    )
    title = (
        f"Frozen features with 5 images per class: {format_number(few, 'percent', 0)}; "
        f"from scratch with 100: {format_number(many, 'percent', 0)}"
    )
    return Plot(
        "lines", title, "seconds of the whole run (points: images per class)", "test accuracy", tuple(series),
        log_x=True,
    )  # fmt: skip


#: Images per class → what four seeds can detect, given the spread in the first lab notebook; before it, 0.05.
_MIN_EFFECT = {5: 0.18, 20: 0.20, 100: 0.05}


def _contrasts() -> Iterator[Contrast]:
    for count in BUDGETS:
        at, measure = f"with {count} images per class", f"accuracy {count}"
        yield Contrast(
            f"features, {count}", f"{at}, frozen features are more accurate than training from scratch",
            difference("frozen", "from scratch", measure), _MIN_EFFECT[count],
        )  # fmt: skip
    yield Contrast(
        "5 against 100", "frozen features with 5 images per class are more accurate than training from scratch "
        "with 100",
        difference("frozen", "from scratch", "accuracy 5", than="accuracy 100"), 0.05, role="finding",
    )  # fmt: skip
    for count in BUDGETS:
        at, measure = f"with {count} images per class and {BUDGETS[count]} s in total", f"accuracy {count}"
        yield Contrast(
            f"tuning, {count}", f"{at}, fine-tuning is more accurate than frozen features",
            difference("fine-tuned", "frozen", measure), 0.03, role="notebook",
        )  # fmt: skip
    yield Contrast(
        "time", "with 100 images per class, fine-tuning takes longer than frozen features",
        difference("fine-tuned", "frozen", "seconds 100"), 2.0, role="finding", ratio=True,
    )  # fmt: skip


STUDY = Study(
    name="transfer",
    question="What is a pretrained network worth, and how much of it should be trained?",
    claim="Features pretrained on ImageNet give a higher accuracy than training from scratch, with 5, 20 and 100 "
    "images per class",
    arms=(
        Arm("from scratch", "a small network (scratch-minute), at 64 pixels"),
        Arm("frozen", "a linear head on the features of EfficientNet-Lite0"),
        Arm("fine-tuned", "EfficientNet-Lite0, all layers are trained after the head"),
    ),
    measures=(
        *(Measure(f"accuracy {n}", f"accuracy, {n} images per class") for n in BUDGETS),
        *(Measure(f"seconds {n}", f"whole run, {n} images per class", "s") for n in BUDGETS),
        Measure("tested", "test images", "count"),
    ),
    contrasts=tuple(_contrasts()),
    run=run,
    plot=plot,
    notebook_claims=(
        NotebookClaim(
            "Fine-tuning a pretrained network is better than freezing it.", tuple(f"tuning, {n}" for n in BUDGETS)
        ),
    ),
    seconds=122.0,
    min_seeds=3,
    data="sample:clipart",
    method=(
        "Each point is a whole run of foveal with one strategy: reading, audit, training, calibration, test, "
        "report. The test images of a seed are the same for all arms and counts; the counts include the images "
        "that foveal holds out for calibration. Time budgets are "
        + ", ".join(f"{s} s for {n} per class" for n, s in BUDGETS.items())
        + "; frozen features need less, the others use all of it and would gain from more. Imports are not timed, "
        "and features are not cached. Seeds draw the images and the weights."
    ),
)
