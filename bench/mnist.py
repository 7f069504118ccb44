"""MNIST by time budget, against the notebook's Keras program: accuracy, training and wall time, what remains wrong.

    uv run --group bench python bench/mnist.py --data FOLDER --only keras seconds
    uv run --group bench python bench/mnist.py --data FOLDER --only quarter --seeds 5
    uv run --group bench python bench/mnist.py --data FOLDER --develop seconds

FOLDER has the four IDX files. A row is kept for each seed, so that the benchmark continues where it stopped. Everything
in the recipes was chosen with `--develop`, which never opens the test files: 5,000 of the 60,000 training images
replace them. Every other row is one evaluation on the test set, and stays in the file.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import struct
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common import RESULTS, Results, spread, timed
from foveal.data.images.idx import find_pairs, read_pair
from foveal.inference.classifier import ClassificationPredictor
from foveal.metrics import wilson
from foveal.models.trained import TrainedModel
from foveal.training.trainers.scratch import predict_pixels

PEER = Path(__file__).parent / "peers" / "keras_notebook.py"
#: Budget of each row, and its number of seeds.
BUDGETS = {"seconds": ("40s", 20), "minute": ("75s", 5), "quarter": ("15m", 5), "hour": ("60m", 1)}
#: Test images whose label is disputed.
DISPUTED = {947, 1621, 1901, 2462, 2597, 3558, 5937, 6651, 6783, 9729, 2130, 2654, 3520, 8527, 9679}
HELD_OUT = 5000
#: Images of MNIST's test set.
TESTED = 10_000


def develop(data: Path, folder: Path) -> Path:
    """IDX files in which the last 5,000 training images are the test set."""
    images, labels = read_pair(next(p for p in find_pairs(str(data)) if p.subset == "train"))
    values = np.array([int(v) for v in labels], dtype=np.uint8)
    for name, some in (("train", slice(0, -HELD_OUT)), ("t10k", slice(-HELD_OUT, None))):
        for kind, array in (("images-idx3", images[some]), ("labels-idx1", values[some])):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / f"{name}-{kind}-ubyte").write_bytes(head + array.tobytes())
    return folder


def train(data: str, budget: str, seed: int, test: Path) -> dict[str, Any]:
    """One run of foveal in a fresh process, and which test images it gets wrong."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "FOVEAL_STATE": folder + "/state"}
        command = [sys.executable, "-m", "foveal", "train", data, "--time", budget, "--seed", str(seed), "--json"]
        wall, printed = timed([*command, "--out", folder + "/run"], env=environment)
        summary = json.loads(printed)
        wrong, members = wrong_of(folder + "/run", test), members_of(folder + "/run", test)
    made = summary["strategy"]["candidates"]
    return {
        "seed": seed,
        "wall_seconds": wall,
        "fit_seconds": summary["time"]["fit_s"],
        "strategy": summary["strategy"]["name"],
        "candidates": [{k: c[k] for k in ("name", "seconds", "score")} for c in made],
        "n": summary["test"]["n"],
        "accuracy": summary["test"]["accuracy"],
        "wrong": wrong,
        **({"members": members} if members else {}),
    }


def wrong_of(run: str, test: Path) -> list[int]:
    """Indices of the test images that a run's bundle gets wrong."""
    images, labels = read_pair(next(p for p in find_pairs(str(test)) if p.subset == "test"))
    predictor = ClassificationPredictor.load(run)
    predictions = predictor.probabilities(list(images)).argmax(axis=1)
    classes = np.array(predictor.bundle.manifest.classes)
    return [int(i) for i in np.flatnonzero(classes[predictions] != np.array(labels))]


def members_of(run: str, test: Path) -> list[dict[str, Any]]:
    """Each network of an ensemble evaluated alone: accuracy, and the test images that it gets wrong."""
    bundle = ClassificationPredictor.load(run).bundle
    spec = dict(bundle.manifest.network or {})
    inner = spec.get("inner", spec)
    if inner.get("architecture") != "ensemble":
        return []
    prefix = "inner." if "inner" in spec else ""
    images, labels = read_pair(next(p for p in find_pairs(str(test)) if p.subset == "test"))
    pixels, true, members = np.asarray(images)[:, None], np.array(labels), []
    assert pixels.shape[2:] == (bundle.manifest.preprocess.size,) * 2
    for number in range(inner["count"]):
        start = f"{prefix}members.{number}."
        tensors = {prefix + k.removeprefix(start): v for k, v in bundle.tensors.items() if k.startswith(start)}
        alone = {**spec, "inner": inner["member"]} if prefix else inner["member"]
        model = TrainedModel(tensors, bundle.manifest.preprocess, network=alone)
        predictions = predict_pixels(model, pixels, len(bundle.manifest.classes)).argmax(axis=1)
        wrong = np.flatnonzero(np.array(bundle.manifest.classes)[predictions] != true)
        members.append({"accuracy": 1 - len(wrong) / len(true), "wrong": [int(i) for i in wrong]})
    return members


def keras(data: Path, seed: int) -> dict[str, Any]:
    """The Keras program in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        for file in data.glob("*.gz"):
            (Path(folder) / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
        wall, printed = timed([sys.executable, str(PEER), folder, "--seed", str(seed)])
    figures = json.loads(printed[printed.index("{") :])
    return {"seed": seed, "wall_seconds": wall, "n": TESTED, **figures}


def undisputed(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy on the test images whose labels are not disputed."""
    return spread(1 - len(set(r["wrong"]) - DISPUTED) / (TESTED - len(DISPUTED)) for r in rows)


def summary(results: Results) -> dict[str, Any]:
    """Means with n and sd, with and without the disputed labels, and the ratio of training times."""
    table: dict[str, Any] = {}
    for name in dict.fromkeys(r["contestant"] for r in results.rows):
        rows = results.of(contestant=name)
        entry = {k: spread(r[k] for r in rows) for k in ("accuracy", "fit_seconds", "wall_seconds")}
        right, total = sum(round(r["accuracy"] * r["n"]) for r in rows), sum(r["n"] for r in rows)
        table[name] = {**entry, "ci95_of_one_test_set": wilson(round(right / len(rows)), total // len(rows))}
        if all("wrong" in r and r["n"] == TESTED for r in rows):
            table[name]["undisputed"] = undisputed(rows)
        if members := [m for r in rows for m in r.get("members", [])]:
            alone = {"accuracy": spread(m["accuracy"] for m in members), "undisputed": undisputed(members)}
            table[f"each of {name}"] = alone
    if "keras" in table:
        peer = table["keras"]["fit_seconds"]["mean"]
        for entry in (e for e in table.values() if "fit_seconds" in e):
            entry["times_less_training_than_keras"] = peer / entry["fit_seconds"]["mean"]
    return table


def draw_errors(results: Results, data: Path, name: str) -> None:
    """A sheet of the test images that most seeds of a budget get wrong."""
    rows = results.of(contestant=name)
    images, _ = read_pair(next(p for p in find_pairs(str(data)) if p.subset == "test"))
    often = np.bincount([i for r in rows for i in r["wrong"]], minlength=len(images))
    worst = [int(i) for i in np.argsort(-often, kind="stable") if often[i] * 2 > len(rows)][:48]
    sheet = Image.new("L", (16 * 60, 60 * -(-len(worst) // 16)), 40)
    for place, i in enumerate(worst):
        digit = Image.fromarray(255 - images[i]).resize((56, 56), Image.Resampling.BICUBIC)
        sheet.paste(digit, (60 * (place % 16) + 2, 60 * (place // 16) + 2))
    sheet.save(RESULTS / f"mnist-wrong-{name}.png", optimize=True)


def main() -> None:
    """Seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=["keras", *BUDGETS], default=["keras", *BUDGETS])
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--develop", nargs="*", choices=list(BUDGETS))
    arguments = parser.parse_args()
    if arguments.develop:
        with tempfile.TemporaryDirectory() as folder:
            held = develop(arguments.data, Path(folder))
            for name in arguments.develop:
                for seed in range(arguments.seeds or 1):
                    print(json.dumps({"budget": name, **train(folder, BUDGETS[name][0], seed, held)}), flush=True)
        return
    results = Results("mnist", keep_earlier=True)
    for name in arguments.only:
        for seed in range(arguments.seeds or (3 if name == "keras" else BUDGETS[name][1])):
            if not results.of(contestant=name, seed=seed):
                row = (
                    keras(arguments.data, seed)
                    if name == "keras"
                    else train("sample:mnist", BUDGETS[name][0], seed, arguments.data)
                )
                results.add(contestant=name, **row)
        if name != "keras":
            draw_errors(results, arguments.data, name)
    results.save(summary=summary(results))
    print(json.dumps(summary(results), indent=1))


if __name__ == "__main__":
    main()
