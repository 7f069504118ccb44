"""The planner compared with the profiler: predicted and true peaks of training steps, and what other tools predict.

uv run --group bench python bench/planner.py                    every case that is not measured yet
uv run --group bench python bench/planner.py --only resnet50    some networks; --forms fp32,checkpointed some forms
uv run --group bench python bench/planner.py --held-out         the same for networks that no rule was derived from
uv run --group bench python bench/planner.py --again            plan all measured cases again; measurements are kept
uv run --group bench python bench/planner.py --remedies         what remedies save, predicted and measured
uv run --group bench python bench/planner.py --speed            seconds of planning a ResNet-50

The true peak is the maximum of the running sum of the profiler's `[memory]` events, in signed bytes, plus the tensors
that were alive at its start. It continues where it stopped; `--seconds N` stops it after the current case.
"""

from __future__ import annotations

import argparse
import copy
import gc
import itertools
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
from foveal.planner.remedy import blocks_of
from foveal.planner.scenario import Scenario
from foveal.planner.steps import make_optimizer, prepared, train_step
from peers.planners import PEERS

INPUT = (3, 224, 224)
#: Family → networks: functions of torchvision, or timm names.
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
#: No rule was derived from these.
HELD_OUT = (
    "torchvision.models:squeezenet1_1",
    "torchvision.models:mnasnet1_0",
    "torchvision.models:swin_t",
    "torchvision.models:efficientnet_v2_s",
    "timm/mixer_s16_224",
    "timm/resnetv2_50",
    "timm/ghostnet_100",
    "timm/repvgg_a0",
)
FORMS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "checkpointed": {"checkpoint": "blocks"},
    "bf16": {"precision": "bf16"},
}
#: Networks on which remedies are measured, with batch size 8.
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
    """Makes copies of a network whose weights were initialized once."""
    key = name, scenario.input
    if key not in _BUILT:
        _BUILT.clear()
        _BUILT[key] = resolve(name).build(scenario.input)
    return lambda: copy.deepcopy(_BUILT[key])


def true_peak(build: Callable[[], nn.Module], scenario: Scenario) -> int:
    """Peak memory of a real training step in bytes, in its steady state."""
    torch.manual_seed(0)
    module = prepared(build().train(), scenario)
    optimizer = make_optimizer(scenario.optimizer, module.parameters())
    inputs = torch.randn(scenario.batch * scenario.accumulate, *scenario.input)
    targets = torch.randint(0, 1000, (len(inputs),))
    prime(module, optimizer)
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


def prime(module: nn.Module, optimizer: Any) -> None:
    """Give the optimizer its state, as after a first step, without a forward pass."""
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def states(optimizer: Any) -> list[Tensor]:
    """The tensors that an optimizer keeps between steps."""
    return [v for state in optimizer.state.values() for v in state.values() if isinstance(v, Tensor)]


def alive(tensors: list[Tensor]) -> int:
    """Bytes of the tensors' storages, each counted once."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def measure(results: Results, family: str, name: str, optimizer: str, batch: int, form: str) -> None:
    """One case, unless it was measured before."""
    case = {"network": name, "optimizer": optimizer, "batch": batch, "form": form}
    threads = torch.get_num_threads()
    if results.of(**case, threads=threads):
        return
    scenario = scenario_of(case)
    build = build_of(name, scenario)
    true_bytes = true_peak(build, scenario)
    peers = {n: predicted_by(tool, build, scenario) for n, tool in PEERS.items() if form == "fp32"}
    row = {**case, "threads": threads, "family": family, "true_bytes": true_bytes}
    row["peers"] = {n: p / true_bytes - 1 if p else None for n, p in peers.items()}
    results.add(**row, **predicted(row))
    gc.collect()


def scenario_of(row: dict[str, Any]) -> Scenario:
    """The scenario of a case."""
    shape = (3, 299, 299) if row["network"].endswith("inception_v3") else INPUT
    return Scenario(input=shape, batch=row["batch"], optimizer=row["optimizer"], **FORMS[row["form"]])


def predicted(row: dict[str, Any]) -> dict[str, Any]:
    """What the planner predicts for a case, and its error."""
    scenario, true_bytes = scenario_of(row), row["true_bytes"]
    key = row["network"], scenario.but(batch=1), row["threads"]
    if key not in _REPLAYS:
        _REPLAYS.clear()
        backend = backend_for("cpu", row["threads"])
        _REPLAYS[key] = replay_training(build_of(row["network"], scenario)(), scenario, backend)
    played = _REPLAYS[key].play(row["batch"])
    return {
        "planned_bytes": played.peak, "bound_bytes": played.most,
        "error": played.peak / true_bytes - 1, "bound_error": played.most / true_bytes - 1,
    }  # fmt: skip


#: The network and the recording that were used last; the next case often has the same.
_BUILT: dict[Any, nn.Module] = {}
_REPLAYS: dict[Any, Any] = {}


def again(results: Results, only: str) -> None:
    """Plan every measured case of these networks again; measurements are kept."""
    cases = [row for row in results.rows if "form" in row and only in row["network"]]
    for row in sorted(cases, key=lambda r: (r["network"], r["optimizer"], r["form"], r["batch"])):
        row |= predicted(row)
    results.save()


def predicted_by(
    tool: Callable[[Callable[[], nn.Module], Scenario], int], build: Any, scenario: Scenario
) -> int | None:
    """What a tool predicts; None when it fails on this network."""
    try:
        return tool(build, scenario)
    except Exception as error:
        print(f"{getattr(tool, '__name__', tool)}: {type(error).__name__}: {error}"[:200])
        return None


def summary(results: Results) -> dict[str, Any]:
    """Errors by form, and those of the other tools on the same cases."""
    table: dict[str, Any] = {}
    for form, held_out in itertools.product(FORMS, (False, True)):
        rows = [r for r in results.rows if r.get("form") == form and (r["family"] == "held out") is held_out]
        if rows:
            table[f"{form}, held out" if held_out else form] = _errors(rows, [r["error"] for r in rows]) | {
                "lowest_bound": min(r["bound_error"] for r in rows),
                "highest_bound": max(r["bound_error"] for r in rows),
            }
    for tool in PEERS:
        rows = [r for r in results.rows if r.get("peers", {}).get(tool) is not None]
        if rows:
            table[tool] = _errors(rows, [r["peers"][tool] for r in rows])
    saved = [r["error"] for r in results.rows if "remedy" in r and r["error"] is not None]
    if saved:
        table["remedies"] = _errors([r for r in results.rows if r.get("remedy", "none") != "none"], saved)
    return table


def _errors(rows: list[dict[str, Any]], errors: list[float]) -> dict[str, Any]:
    return {
        "n": len(rows),
        "networks": len({r["network"] for r in rows}),
        "mean_absolute_error": statistics.fmean(map(abs, errors)),
        "worst_absolute_error": max(map(abs, errors)),
    }


def remedies(results: Results, until: float) -> None:
    """Every remedy on five networks: the true peak; `savings` adds the predicted one."""
    threads = torch.get_num_threads()
    for name in REMEDIED:
        for remedy in ("none", *REMEDIES, "checkpoint-selective"):
            if results.of(network=name, remedy=remedy, threads=threads) or time.monotonic() > until:
                continue
            scenario = changed(name, remedy)
            true_bytes = true_peak(build_of(name, scenario), scenario)
            results.add(network=name, remedy=remedy, threads=threads, true_bytes=true_bytes)
    savings(results)


def changed(name: str, remedy: str) -> Scenario:
    """The scenario with a remedy."""
    plain = Scenario(input=INPUT, batch=8, optimizer="adamw")
    if remedy == "checkpoint-selective":
        blocks = tuple(blocks_of(build_of(name, plain)()))
        return plain.but(checkpoint=blocks[: len(blocks) // 2])
    return plain.but(**REMEDIES.get(remedy, {}))


def savings(results: Results) -> None:
    """Plan every remedy that was measured, and compare the predicted with the true saving."""
    rows = [row for row in results.rows if "remedy" in row]
    for row in rows:
        scenario = changed(row["network"], row["remedy"])
        backend = backend_for("cpu", row["threads"])
        row["planned_bytes"] = (
            replay_training(build_of(row["network"], scenario)(), scenario, backend).play(scenario.batch).peak
        )
    for row in rows:
        plain = next(r for r in rows if r["network"] == row["network"] and r["remedy"] == "none")
        row["planned_saving"] = plain["planned_bytes"] - row["planned_bytes"]
        row["true_saving"] = plain["true_bytes"] - row["true_bytes"]
        row["error"] = row["planned_saving"] / row["true_saving"] - 1 if row["true_saving"] else None
    results.save()


def speed(results: Results) -> None:
    """Seconds to plan a ResNet-50 once everything is imported, and to replay it for one more batch size."""
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
    results.rows = [r for r in results.rows if "speed" not in r]
    results.add(speed="resnet50", plan_seconds=seconds, further_batch_seconds=further)


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--forms", default=",".join(FORMS))
    parser.add_argument("--batches", default="2,8")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--remedies", action="store_true")
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    results = Results("planner")
    if arguments.again:
        again(results, arguments.only)
        savings(results)
    elif arguments.remedies:
        remedies(results, time.monotonic() + arguments.seconds)
    elif arguments.speed:
        speed(results)
    else:
        cases(results, arguments, time.monotonic() + arguments.seconds)
    results.save(summary=summary(results))


def cases(results: Results, arguments: argparse.Namespace, until: float) -> None:
    """Measure the requested cases that are missing, while there is time."""
    families = {"held out": HELD_OUT} if arguments.held_out else NETWORKS
    some = [(family, name) for family, names in families.items() for name in names if arguments.only in name]
    forms, batches = arguments.forms.split(","), tuple(map(int, arguments.batches.split(",")))
    for (family, name), form, optimizer, batch in itertools.product(some, forms, ("sgd", "adamw"), batches):
        if time.monotonic() < until:
            measure(results, family, name, optimizer, batch, form)


if __name__ == "__main__":
    main()
