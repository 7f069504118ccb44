"""A refactor shows the same loss: weights and figures of nine runs and twenty plans, before and after.

    python bench/same_results.py record FOLDER    # on the old code: train, keep the runs
    python bench/same_results.py compare FOLDER   # on the new code: replay each run, compare bit for bit

A replay follows the decisions that the first run recorded (steps, sizes, engine), so that nothing depends on a clock.
Results are comparable on one machine with one set of versions only. `compare` writes
`bench/results/same_results.json`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import Results

RUNS: dict[str, list[str]] = {
    "frozen": ["sample:clipart", "--strategy", "frozen"],
    "frozen-stages": ["sample:clipart", "--strategy", "frozen-stages"],
    "cached-trunk": ["sample:clipart", "--strategy", "cached-trunk", "--time", "50s"],
    "fine-tune": ["sample:clipart", "--strategy", "fine-tune", "--time", "60s"],
    "ladder": ["sample:clipart", "--time", "90s"],
    "scratch-seconds": ["sample:mnist", "--strategy", "scratch-seconds", "--time", "30s"],
    "scratch-minute": ["sample:mnist", "--strategy", "scratch-minute", "--time", "60s"],
    "from-scratch-resnet18": ["sample:clipart", "--from-scratch", "resnet18", "--time", "50s"],
    "segment": ["sample:digit-scenes", "--time", "60s"],
}
PLANS: list[list[str]] = [
    ["lenet5"],
    ["alexnet"],
    ["vgg16", "--batch", "8"],
    ["googlenet"],
    ["resnet18"],
    ["resnet50", "--optimizer", "adamw"],
    ["senet154", "--batch", "4"],
    ["xception", "--batch", "8"],
    ["seresnet50", "--precision", "bf16"],
    ["resnet50", "--checkpoint", "blocks"],
    ["resnet50", "--frozen"],
    ["resnet50", "--memory", "4GiB", "--batch", "64"],
    ["mobilenetv3_small_100"],
    ["mobilenetv2_100"],
    ["tf_efficientnet_lite0", "--input", "3x160x160"],
    ["vit_tiny_patch16_224", "--batch", "8"],
    ["conv32k3valid-relu-pool2-conv64k3valid-relu-pool2-flatten-dense64-relu-dense10", "--input", "1x28x28"],
    ["resnet18", "--device", "cuda:24GiB"],
    ["resnet50", "--memory", "2GiB", "--remedies"],
    ["conv100k3s2-relu-gap-dense10", "--optimizer", "sgd-plain"],
]


def main() -> None:
    """Record or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["record", "compare"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append", help="names of runs; `plans` for the plans")
    given = parser.parse_args()
    names = [name for name in RUNS if not given.only or name in given.only]
    plans = PLANS if not given.only or "plans" in given.only else []
    given.folder.mkdir(parents=True, exist_ok=True)
    (record if given.action == "record" else compare)(given.folder.resolve(), names, plans)


def record(folder: Path, names: list[str], plans: list[list[str]]) -> None:
    """Train every run and write every plan."""
    for name in names:
        if not (folder / name / "summary.json").exists():
            shutil.rmtree(folder / name, ignore_errors=True)
            foveal("train", *RUNS[name], "--out", str(folder / name), "--json", cache=folder / "cache")
        print(name, fingerprint(folder / name), flush=True)
    for number, plan in enumerate(plans):
        (folder / f"plan-{number}.json").write_text(planned(plan))


def compare(folder: Path, names: list[str], plans: list[list[str]]) -> None:
    """Replay every run, and plan again."""
    results = Results("same_results")
    differ = 0
    for name in names:
        again = folder / "again" / name
        shutil.rmtree(again, ignore_errors=True)
        again.parent.mkdir(exist_ok=True)
        foveal(
            "train",
            "--replay",
            str(translated(folder / name)),
            "--out",
            str(again),
            "--json",
            cache=folder / "cache-again",
        )
        before, after = fingerprint(folder / name), fingerprint(again)
        results.add(run=name, same=before == after, before=before, after=after)
        differ += before != after
    for number, plan in enumerate(plans):
        texts = normalised((folder / f"plan-{number}.json").read_text()), normalised(planned(plan))
        digests = [hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts]
        results.add(plan=" ".join(plan), same=texts[0] == texts[1], before=digests[0], after=digests[1])
        differ += texts[0] != texts[1]
    print(f"{differ} differ" if differ else "all results are the same, bit for bit")
    raise SystemExit(1 if differ else 0)


#: Ids of decisions in schema 1, as patterns → their ids in schema 2.
RENAMED = (
    (r"normalisation", "normalization"),
    (r"mirror", "hflip"),
    (r"features, seconds a picture", "feature_seconds"),
    (r"climb (.+)", r"\1/skip"),
    (r"keep (.+)", r"\1/keep"),
    (r"answered at once, (\d+) px", r"\1px/prediction_batch"),
    (r"(.+) at (\d+) px, seconds a picture", r"\1@\2px/image_seconds"),
    (r"(.+) at (\d+) px, seconds an answer", r"\1@\2px/prediction_seconds"),
    (r"(.+), a step of (\d+) × (\d+)", r"\1@\2x\3px/step_seconds"),
    (r"(.+) strength", r"\1/head_strength"),
    (r"(.+) size", r"\1/image_size"),
    (r"(.+) learns from", r"\1/training_images"),
    (r"(.+) steps", r"\1/steps"),
    (r"(.+) rate", r"\1/learning_rate"),
    (r"(.+) batch", r"\1/batch_size"),
    (r"(.+) members", r"\1/members"),
    (r"(.+) scale", r"\1/scale"),
    (r"(.+) alone", r"\1/sole_strategy"),
    (r"(.+) seconds an epoch", r"\1/epoch_seconds"),
    (r"(.+) memory", r"\1/memory"),
    (r"(.+) in more pieces", r"\1/accumulation"),
    (r"(.+) shortened", r"\1/schedule_changes"),
    (r"(.+) stopped at", r"\1/stopped_at"),
    (r"(.+) restarts", r"\1/restarts"),
)


def translated(run: Path) -> Path:
    """A copy of a run of schema 1 with ids of schema 2, to be replayed; a run of schema 2 itself."""
    config = json.loads((run / "config.json").read_text())
    if "decisions_schema" in config:
        return run
    renamed = {}
    for name, row in config["decisions"].items():
        pattern, new = next(((p, n) for p, n in RENAMED if re.fullmatch(p, name)), (name, name))
        renamed[re.sub(pattern, new, name)] = {**row, "value": _translated(name, row["value"])}
    copy = run.parent / "translated" / run.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run, copy)
    (copy / "config.json").write_text(json.dumps({**config, "decisions_schema": 2, "decisions": renamed}))
    return copy


def _translated(name: str, value: Any) -> Any:
    """The value of a decision in the form of schema 2."""
    if name == "engine":
        return value.replace("f32", "fp32")
    if name == "device":
        return {**value, "precision": value["precision"].replace("f32", "fp32")}
    if name == "route":
        return {
            **value,
            "name": {"frozen": "pretrained", "segment": "segmentation"}.get(value["name"], value["name"]),
        }
    if name.endswith(" learns from"):
        return {"the pictures inside": "inside"}.get(value, value)
    if ", a step of " in name:
        return value["seconds"]
    if name.endswith(" memory"):
        return {"micro_batches" if k == "pieces" else k: v for k, v in value.items()}
    return value


def fingerprint(run: Path) -> dict[str, Any]:
    """A hash over all tensors, by name, and the figures of the test subset."""
    from safetensors.numpy import load_file

    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(run / "model" / "weights.safetensors").items()):
        digest.update(f"{name}{tensor.shape}{tensor.dtype}".encode())
        digest.update(tensor.tobytes())
    test = json.loads((run / "summary.json").read_text())["test"]
    figures = ("n", "accuracy", "log_loss", "ece", "miou", "pixel_accuracy")
    return {"weights": digest.hexdigest()[:16], **{k: test[k] for k in figures if k in test}}


def planned(plan: list[str]) -> str:
    """The output of `plan --json`; exit code 1 says that the plan does not fit."""
    return foveal("plan", *plan, "--json", codes=(0, 1))


def normalised(plan: str) -> str:
    """A plan without prose, without what depends on the memory that this process happens to have, and under autocast
    without its timeline: the order in which cached copies of weights are freed differs between processes."""
    values = json.loads(plan)
    dropped = {"budget_bytes", "largest_batch", "rss_bytes", "price"}
    dropped |= {"timeline"} if values["scenario"].get("precision") == "bf16" else set()

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: without(v) for k, v in value.items() if k not in dropped}
        return [without(v) for v in value] if isinstance(value, list) else value

    return json.dumps(without(values), sort_keys=True)


def foveal(*words: str, cache: Path | None = None, codes: tuple[int, ...] = (0,)) -> str:
    """Run one command, and return its stdout."""
    kept = {"FOVEAL_CACHE": str(cache), "FOVEAL_STATE": f"{cache}-state"} if cache else {}
    done = subprocess.run(
        [sys.executable, "-m", "foveal", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | kept,
    )
    if done.returncode not in codes:
        raise SystemExit(f"foveal {' '.join(words)}: exit {done.returncode}\n{done.stderr[-3000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
