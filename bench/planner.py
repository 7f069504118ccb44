"""The planner against the profiler: predicted and true peaks of training steps, and what other tools predict.

uv run --group bench python bench/planner.py                    every case that is not yet measured
uv run --group bench python bench/planner.py --only resnet50    some networks; --forms fp32,checkpointed some forms
uv run --group bench python bench/planner.py --remedies         what remedies were predicted to save, and save
uv run --group bench python bench/planner.py --speed            seconds of planning a ResNet-50

The truth is the running sum of the signed bytes of the profiler's `[memory]` events plus the tensors that were
alive at its start, at its highest. It goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from common import Results
from foveal.models.resolve import resolve
from foveal.planner.backends import backend_for
from foveal.planner.passes import replay_training
from foveal.planner.scenario import Scenario
from foveal.planner.steps import make_optimizer, prepared, train_step
from peers.planners import PEERS

INPUT = (3, 224, 224)
#: Family → networks: functions of torchvision, or names of timm.
NETWORKS = {
    "ResNet": ("torchvision.models:resnet18", "torchvision.models:resnet50", "torchvision.models:resnext50_32x4d"),
    "VGG": ("torchvision.models:vgg11", "torchvision.models:vgg16_bn"),
    "DenseNet": ("torchvision.models:densenet121", "torchvision.models:densenet169"),
    "MobileNet": ("torchvision.models:mobilenet_v2", "torchvision.models:mobilenet_v3_large"),
    "EfficientNet": ("torchvision.models:efficientnet_b0", "timm/tf_efficientnet_lite0"),
    "ConvNeXt": ("torchvision.models:convnext_tiny", "timm/convnext_atto"),
    "ViT": ("torchvision.models:vit_b_16", "timm/vit_tiny_patch16_224", "timm/vit_small_patch16_224"),
    "RegNet": ("torchvision.models:regnet_y_400mf", "torchvision.models:regnet_x_800mf"),
    "ShuffleNet": ("torchvision.models:shufflenet_v2_x0_5", "torchvision.models:shufflenet_v2_x1_0"),
    "GoogLeNet": ("torchvision.models:googlenet", "torchvision.models:inception_v3"),
}
FORMS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "checkpointed": {"checkpoint": "blocks"},
    "bf16": {"precision": "bf16"},
}
#: Networks on which remedies are measured, at a batch of 8.
REMEDIED = (
    "torchvision.models:resnet18",
    "torchvision.models:mobilenet_v2",
    "torchvision.models:convnext_tiny",
    "torchvision.models:densenet121",
    "timm/vit_tiny_patch16_224",
)
REMEDIES: dict[str, dict[str, Any]] = {
    "checkpoint": {"checkpoint": "blocks"},
    "bf16": {"precision": "bf16"},
    "step-in-backward": {"optimizer": "adamw-in-backward"},
    "lean-optimizer": {"optimizer": "sgd"},
    "accumulate": {"batch": 4, "accumulate": 2},
    "smaller-batch": {"batch": 4},
    "smaller-input": {"input": (3, 160, 160)},
    "frozen": {"frozen": True},
    "offload": {"offload": True},
}


def build_of(name: str, scenario: Scenario) -> Callable[[], nn.Module]:
    """Builds a network with its weights drawn anew."""
    return lambda: resolve(name).build(scenario.input)


def true_peak(build: Callable[[], nn.Module], scenario: Scenario) -> int:
    """Bytes at the highest point of a real training step, in its steady state."""
    torch.manual_seed(0)
    module = prepared(build().train(), scenario)
    optimizer = make_optimizer(scenario.optimizer, module.parameters())
    inputs = torch.randn(scenario.batch * scenario.accumulate, *scenario.input)
    targets = torch.randint(0, 1000, (len(inputs),))
    train_step(module, optimizer, inputs, targets, scenario)
    optimizer.zero_grad(set_to_none=True)
    gc.collect()
    level = alive([*module.parameters(), *module.buffers(), *states(optimizer), inputs, targets])
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        train_step(module, optimizer, inputs, targets, scenario)
    events = watched.profiler.kineto_results.events()
    peak = level
    for _, change in sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"):
        level += change
        peak = max(peak, level)
    return peak


def states(optimizer: Any) -> list[Tensor]:
    """The tensors that an optimizer keeps between steps."""
    return [v for state in optimizer.state.values() for v in state.values() if isinstance(v, Tensor)]


def alive(tensors: list[Tensor]) -> int:
    """Bytes of the memory that they lie in, each once."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def measure(results: Results, family: str, name: str, optimizer: str, batch: int, form: str) -> None:
    """One case, unless it is there."""
    case = {"network": name, "optimizer": optimizer, "batch": batch, "form": form}
    threads = torch.get_num_threads()
    if results.of(**case, threads=threads):
        return
    shape = (3, 299, 299) if name.endswith("inception_v3") else INPUT
    scenario = Scenario(input=shape, batch=batch, optimizer=optimizer, **FORMS[form])
    build = build_of(name, scenario)
    began = time.perf_counter()
    played = replay_training(build(), scenario, backend_for("cpu", threads)).play(batch)
    seconds = time.perf_counter() - began
    truth = true_peak(build, scenario)
    peers = {n: asked(tool, build, scenario) for n, tool in PEERS.items() if form == "fp32"}
    results.add(
        **case, threads=threads, family=family, true_bytes=truth, planned_bytes=played.peak,
        bound_bytes=played.most, error=played.peak / truth - 1, bound_error=played.most / truth - 1,
        plan_seconds=seconds, peers={n: p / truth - 1 if p else None for n, p in peers.items()},
    )  # fmt: skip
    gc.collect()


def asked(tool: Callable[[Callable[[], nn.Module], Scenario], int], build: Any, scenario: Scenario) -> int | None:
    """What a tool says, None when it fails on this network."""
    try:
        return tool(build, scenario)
    except Exception as error:
        print(f"{getattr(tool, '__name__', tool)}: {type(error).__name__}: {error}"[:200])
        return None


def summary(results: Results) -> dict[str, Any]:
    """Errors by form, and those of the other tools on the same cases."""
    found: dict[str, Any] = {}
    for form in FORMS:
        rows = [r for r in results.rows if r.get("form") == form]
        if rows:
            found[form] = _errors(rows, [r["error"] for r in rows]) | {
                "lowest_bound": min(r["bound_error"] for r in rows),
                "highest_bound": max(r["bound_error"] for r in rows),
            }
    for tool in PEERS:
        rows = [r for r in results.rows if r.get("peers", {}).get(tool) is not None]
        if rows:
            found[tool] = _errors(rows, [r["peers"][tool] for r in rows])
    saved = [r["error"] for r in results.rows if "remedy" in r and r["error"] is not None]
    if saved:
        found["remedies"] = {"n": len(saved), "worst_absolute_error": max(map(abs, saved))}
    return found


def _errors(rows: list[dict[str, Any]], errors: list[float]) -> dict[str, Any]:
    return {
        "n": len(rows),
        "networks": len({r["network"] for r in rows}),
        "mean_absolute_error": statistics.fmean(map(abs, errors)),
        "worst_absolute_error": max(map(abs, errors)),
    }


def remedies(results: Results) -> None:
    """Every remedy on five networks: the peak that was predicted with it, and the true one."""
    threads = torch.get_num_threads()
    for name in REMEDIED:
        plain = Scenario(input=INPUT, batch=8, optimizer="adamw")
        peaks: dict[str, tuple[int, int]] = {}
        todo: dict[str, dict[str, Any]] = {"none": {}, **REMEDIES}
        for remedy, change in todo.items():
            known = results.of(network=name, remedy=remedy, threads=threads)
            if known:
                peaks[remedy] = known[0]["planned_bytes"], known[0]["true_bytes"]
                continue
            scenario = plain.but(**change)
            build = build_of(name, scenario)
            played = replay_training(build(), scenario, backend_for("cpu", threads)).play(scenario.batch)
            peaks[remedy] = played.peak, true_peak(build, scenario)
            planned, true = (a - b for a, b in zip(peaks["none"], peaks[remedy], strict=True))
            results.add(
                network=name, remedy=remedy, threads=threads, planned_bytes=peaks[remedy][0],
                true_bytes=peaks[remedy][1], planned_saving=planned, true_saving=true,
                error=planned / true - 1 if true else None,
            )  # fmt: skip


def speed(results: Results) -> None:
    """Seconds to plan a ResNet-50 when everything is imported, and to play one more batch."""
    from foveal.planner import plan

    seconds, further = [], []
    for turn in range(6):
        began = time.perf_counter()
        plan("torchvision.models:resnet50", batch=32, remedies=False)
        if turn:
            seconds.append(time.perf_counter() - began)
    scenario = Scenario(input=INPUT)
    build = build_of("torchvision.models:resnet50", scenario)
    replay = replay_training(build(), scenario, backend_for("cpu", torch.get_num_threads()))
    for batch in range(1, 65):
        began = time.perf_counter()
        replay.play(batch)
        further.append(time.perf_counter() - began)
    results.add(speed="resnet50", plan_seconds=seconds, further_batch_seconds=further)


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--batches", default="2,8")
    parser.add_argument("--remedies", action="store_true")
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    results = Results("planner")
    if arguments.remedies:
        remedies(results)
    elif arguments.speed:
        speed(results)
    else:
        for form in arguments.forms.split(","):
            for batch in map(int, arguments.batches.split(",")):
                for family, names in NETWORKS.items():
                    for name in names:
                        for optimizer in ("sgd", "adamw"):
                            if arguments.only in name:
                                measure(results, family, name, optimizer, batch, form)
                results.save(summary=summary(results))
    results.save(summary=summary(results))


if __name__ == "__main__":
    main()
