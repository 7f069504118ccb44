"""mAP of several labels for each image, beside scikit-learn's one-vs-rest on the same features of the same split.

    uv run --group bench python bench/multi_label.py --data ../shared/data [--repeats 3] [--images 400]
    uv run --group bench python bench/multi_label.py --intervals

Composites of three kinds: mosaics of one to four photographs of places, tiles of CIFAR-10, and written digits on a
page. No source image is in two of them. foveal trains as `foveal train TABLE --strategy frozen --no-refit` does;
scikit-learn is given the features of the training subset, standardised, with its default C and with the C that foveal
chose. `--intervals` simulates how often the 95 % intervals hold the figures of the population.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler

from common import Results, spread
from foveal import flow
from foveal.clock import Clock, Deadline
from foveal.config import TrainConfig
from foveal.data.images.idx import read_idx
from foveal.data.images.render_cache import noise
from foveal.data.split.split_csv import read_split
from foveal.data.targets.label_sets import LabelSets
from foveal.decisions import HEAD_STRENGTH, Decisions
from foveal.engines import choose_engine
from foveal.features import Extractor
from foveal.files import read_json
from foveal.metrics.multi_label import multi_label_figures, sigmoid
from foveal.models.backbones import find_backbone
from foveal.values import SUBSETS

#: A source image with its label.
Source = tuple[Image.Image, str]
_PAGE = (118, 118, 118)


def scenes(data: Path) -> Iterator[Source]:
    """Photographs of eight kinds of place."""
    for path in sorted((data / "scenes8").glob("*/*")):
        yield Image.open(path).convert("RGB"), path.parent.name


def tiles(data: Path) -> Iterator[Source]:
    """The first shard of CIFAR-10."""
    with tarfile.open(data / "cifar10" / "train-0.tar") as archive:
        for member in archive:
            if member.isfile() and (content := archive.extractfile(member)) is not None:
                yield Image.open(io.BytesIO(content.read())).convert("RGB"), Path(member.name).parent.name


def digits(data: Path) -> Iterator[Source]:
    """MNIST's test images: ten thousand are enough."""
    folder = data / "mnist"
    images = read_idx(str(folder / "t10k-images-idx3-ubyte.gz"))
    labels = read_idx(str(folder / "t10k-labels-idx1-ubyte.gz"))
    for image, label in zip(images, labels, strict=True):
        yield Image.fromarray(255 - image).convert("RGB"), str(int(label))


KINDS: dict[str, tuple[Callable[[Path], Iterator[Source]], int]] = {
    "mosaics of places": (scenes, 112),
    "tiles of CIFAR-10": (tiles, 64),
    "digits on a page": (digits, 64),
}


def composites(sources: list[Source], side: int, count: int, seed: int, folder: Path) -> Path:
    """Write images of one to four cells of this side, in pixels, and the table of their labels."""
    generator, rows = np.random.default_rng(seed), []
    order = iter(generator.permutation(len(sources)).tolist())
    for number in range(count):
        cells = generator.permutation(4)[: generator.integers(1, 5)].tolist()
        chosen = [sources[i] for _, i in zip(cells, order, strict=False)]
        if len(chosen) < len(cells):
            break  # no source is used twice
        image = Image.new("RGB", (2 * side, 2 * side), _PAGE)
        for cell, (source, _) in zip(cells, chosen, strict=True):
            image.paste(source.resize((side, side), Image.Resampling.BICUBIC), (cell % 2 * side, cell // 2 * side))
        image.save(folder / f"{number:05d}.png")
        rows.append({"path": f"{number:05d}.png", "label": sorted({label for _, label in chosen})})
    table = folder / "data.jsonl"
    table.write_text("\n".join(json.dumps(row) for row in rows))
    return table


def beside(table: Path, seed: int, folder: Path) -> dict[str, Any]:
    """foveal's figures on its test subset, and those of scikit-learn on the same images and features."""
    began = time.monotonic()
    config = TrainConfig(strategy="frozen", refit=False, seed=seed, time="30m")
    run, summary = flow.train(table, config, out=str(folder / "run"))
    seconds = time.monotonic() - began
    split = read_split(run / "split.csv", LabelSets())
    decisions = Decisions.from_dict(read_json(run / "config.json"))
    backbone = find_backbone(config.backbone)
    stages = backbone.stage_dimension > 0
    engine = choose_engine(
        backbone, backbone.preprocess, lambda: noise(backbone.preprocess, 32), decisions, stages=stages
    )
    extractor = Extractor(backbone, backbone.preprocess, engine, stages=stages)
    parts = {name: split.subset(name) for name in SUBSETS}
    features = {
        name: extractor.run([p.record for p in placed], deadline=Deadline(Clock())).of([p.record for p in placed])
        for name, placed in parts.items()
    }
    x = {name: rows[:, : backbone.dimension] for name, rows in features.items()}
    y = {name: LabelSets().encode(placed, split.classes) for name, placed in parts.items()}
    scale = StandardScaler().fit(x["train"])
    strength = decisions.get(HEAD_STRENGTH.of("frozen")) or 1.0
    others = {}
    for name, c in {"default": 1.0, "same strength": strength / len(x["train"])}.items():
        model = OneVsRestClassifier(LogisticRegression(C=c, max_iter=2000)).fit(
            scale.transform(x["train"]), y["train"]
        )
        p = model.predict_proba(scale.transform(x["test"]))
        others[f"scikit-learn, {name}"] = float(average_precision_score(y["test"], p))
    test = summary["test"]
    return {
        "n": test["n"],
        "train": len(x["train"]),
        "labels": len(split.classes),
        "foveal": test["map"],
        "foveal_ci95": list(test["map_ci95"]),
        "macro_f1": test["macro_f1"],
        "seconds": seconds,
        **others,
    }


def simulated(n: int, labels: int, separation: float, rounds: int) -> dict[str, Any]:
    """How often intervals hold the figures of a population of 200,000 images, of which n are drawn."""
    generator = np.random.default_rng(0)
    targets = (generator.random((200_000, labels)) < np.linspace(0.5, 0.05, labels)).astype(np.int64)
    p = sigmoid(separation * (targets - 0.5) + generator.normal(size=targets.shape))
    names, thresholds = [str(k) for k in range(labels)], [0.5] * labels
    predicted = p >= 0.5
    hits, wrong = (predicted & (targets == 1)).sum(axis=0), (predicted != (targets == 1)).sum(axis=0)
    truth = {
        "map": float(average_precision_score(targets, p)),
        "micro_f1": float(2 * hits.sum() / (2 * hits.sum() + wrong.sum())),
        "macro_f1": float((2 * hits / (2 * hits + wrong)).mean()),
    }
    held = dict.fromkeys(truth, 0)
    for _ in range(rounds):
        some = generator.integers(0, len(targets), n)
        figures = multi_label_figures(p[some], targets[some], names, thresholds)
        for name, value in truth.items():
            low, high = figures[f"{name}_ci95"]
            held[name] += low <= value <= high
    return {"truth": truth, "rounds": rounds, "held": {name: count / rounds for name, count in held.items()}}


def main() -> None:
    """A row for each kind and repeat, or for each simulated population."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the folder of scenes8/, cifar10/ and mnist/")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=400, help="composites of each kind")
    parser.add_argument("--intervals", action="store_true")
    parser.add_argument("--rounds", type=int, default=400)
    given = parser.parse_args()
    if given.intervals:
        results = Results("multi_label_intervals")
        for n, labels, separation in [(60, 5, 2), (150, 5, 3), (150, 5, 6), (400, 8, 4), (60, 5, 10)]:
            row = simulated(n, labels, separation, given.rounds)
            results.add(n=n, labels=labels, separation=separation, **row)
        return
    results = Results("multi_label")
    for kind, (read, side) in KINDS.items():
        sources = list(read(given.data))
        for seed in range(given.repeats):
            if results.of(kind=kind, repeat=seed, images=given.images):
                continue
            with tempfile.TemporaryDirectory() as scratch:
                table = composites(sources, side, given.images, seed, Path(scratch))
                row = beside(table, seed, Path(scratch))
            results.add(kind=kind, repeat=seed, images=given.images, **row)
        rows = results.of(kind=kind, images=given.images)
        for column in ("foveal", "scikit-learn, default", "scikit-learn, same strength"):
            print(kind, column, spread(100 * row[column] for row in rows))


if __name__ == "__main__":
    main()
