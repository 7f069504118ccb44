"""MNIST by time budget, against the notebook's Keras program: accuracy, training and wall time, what stays wrong.

    uv run --group bench python bench/mnist.py --data FOLDER --only keras seconds
    uv run --group bench python bench/mnist.py --data FOLDER --only quarter --seeds 5
    uv run --group bench python bench/mnist.py --data FOLDER --develop seconds

FOLDER has the four IDX files. A row is kept for each seed, so a bench goes on where it stopped. Everything in
the recipes was chosen as with `--develop`, which never opens the test files: 5,000 of the 60,000 training
pictures stand in for them. Each other row is one opening of the test set, and is in the file for good.
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
from foveal.data.idx import find_pairs, read_pair
from foveal.fit.learned import Learned
from foveal.fit.training import answers_of
from foveal.metrics import wilson
from foveal.ship import Predictor

PEER = Path(__file__).parent / "peers" / "keras_notebook.py"
#: Budget of each row and how many seeds it is worth.
BUDGETS = {"seconds": ("40s", 20), "minute": ("75s", 5), "quarter": ("15m", 5), "hour": ("60m", 1)}
#: Test pictures whose label is disputed.
DISPUTED = {947, 1621, 1901, 2462, 2597, 3558, 5937, 6651, 6783, 9729, 2130, 2654, 3520, 8527, 9679}
HELD_OUT = 5000
#: Pictures of MNIST's test set.
TESTED = 10_000


def develop(data: Path, folder: Path) -> Path:
    """IDX files in which the last 5,000 training pictures are the test set."""
    images, labels = read_pair(next(p for p in find_pairs(str(data)) if p.side == "train"))
    values = np.array([int(v) for v in labels], dtype=np.uint8)
    for name, some in (("train", slice(0, -HELD_OUT)), ("t10k", slice(-HELD_OUT, None))):
        for kind, array in (("images-idx3", images[some]), ("labels-idx1", values[some])):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / f"{name}-{kind}-ubyte").write_bytes(head + array.tobytes())
    return folder


def train(data: str, budget: str, seed: int, test: Path) -> dict[str, Any]:
    """One run of foveal in a fresh process, and which test pictures it gets wrong."""
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
    """Numbers of the test pictures that a run's bundle gets wrong."""
    images, labels = read_pair(next(p for p in find_pairs(str(test)) if p.side == "test"))
    predictor = Predictor.load(run)
    answers = predictor.probabilities(list(images)).argmax(axis=1)
    classes = np.array(predictor.bundle.manifest.classes)
    return [int(i) for i in np.flatnonzero(classes[answers] != np.array(labels))]


def members_of(run: str, test: Path) -> list[dict[str, Any]]:
    """Each network of an ensemble by itself: accuracy, and the test pictures that it gets wrong."""
    bundle = Predictor.load(run).bundle
    spec = dict(bundle.manifest.network or {})
    inner = spec.get("inner", spec)
    if inner.get("architecture") != "ensemble":
        return []
    outside = "inner." if "inner" in spec else ""
    images, labels = read_pair(next(p for p in find_pairs(str(test)) if p.side == "test"))
    pixels, true, found = np.asarray(images)[:, None], np.array(labels), []
    assert pixels.shape[2:] == (bundle.manifest.preprocess.size,) * 2
    for number in range(inner["count"]):
        start = f"{outside}members.{number}."
        tensors = {outside + k.removeprefix(start): v for k, v in bundle.tensors.items() if k.startswith(start)}
        alone = {**spec, "inner": inner["member"]} if outside else inner["member"]
        answers = answers_of(Learned(tensors, bundle.manifest.preprocess, network=alone), pixels).argmax(axis=1)
        wrong = np.flatnonzero(np.array(bundle.manifest.classes)[answers] != true)
        found.append({"accuracy": 1 - len(wrong) / len(true), "wrong": [int(i) for i in wrong]})
    return found


def keras(data: Path, seed: int) -> dict[str, Any]:
    """The peer in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        for file in data.glob("*.gz"):
            (Path(folder) / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
        wall, printed = timed([sys.executable, str(PEER), folder, "--seed", str(seed)])
    found = json.loads(printed[printed.index("{") :])
    return {"seed": seed, "wall_seconds": wall, "n": TESTED, **found}


def undisputed(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares right of the test pictures whose labels nobody disputes."""
    return spread(1 - len(set(r["wrong"]) - DISPUTED) / (TESTED - len(DISPUTED)) for r in rows)


def summary(results: Results) -> dict[str, Any]:
    """Means with n and sd, with and without the disputed labels, and the ratio of training times."""
    found: dict[str, Any] = {}
    for name in dict.fromkeys(r["contestant"] for r in results.rows):
        rows = results.of(contestant=name)
        entry = {k: spread(r[k] for r in rows) for k in ("accuracy", "fit_seconds", "wall_seconds")}
        right, total = sum(round(r["accuracy"] * r["n"]) for r in rows), sum(r["n"] for r in rows)
        found[name] = {**entry, "ci95_of_one_test_set": wilson(round(right / len(rows)), total // len(rows))}
        if all("wrong" in r and r["n"] == TESTED for r in rows):
            found[name]["undisputed"] = undisputed(rows)
        if members := [m for r in rows for m in r.get("members", [])]:
            alone = {"accuracy": spread(m["accuracy"] for m in members), "undisputed": undisputed(members)}
            found[f"each of {name}"] = alone
    if "keras" in found:
        peer = found["keras"]["fit_seconds"]["mean"]
        for entry in (e for e in found.values() if "fit_seconds" in e):
            entry["times_less_training_than_keras"] = peer / entry["fit_seconds"]["mean"]
    return found


def picture(results: Results, data: Path, name: str) -> None:
    """A sheet of the test pictures that most seeds of a budget get wrong."""
    rows = results.of(contestant=name)
    images, _ = read_pair(next(p for p in find_pairs(str(data)) if p.side == "test"))
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
    results = Results("mnist", for_good=True)
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
            picture(results, arguments.data, name)
    results.save(summary=summary(results))
    print(json.dumps(summary(results), indent=1))


if __name__ == "__main__":
    main()
