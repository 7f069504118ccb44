"""Where and in which precision to train: chosen by what is there, checked on the network, and written down."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from foveal.decisions import DEVICE, Decisions
from foveal.devices import kind_of
from foveal.engines.torch_engine import best_device
from foveal.files import cache_dir, digest_of
from foveal.machine import cores, cpu_name, instruction_sets
from foveal.models.depthwise import fast_depthwise
from foveal.models.networks import build
from foveal.prefetch import wait_for_prefetch
from foveal.schema import read_cached, write_cached

#: bf16 is used only when its outputs point the same way as those of fp32 (cosine), and it is this much faster.
LIKENESS, GAIN = 0.99, 1.15
#: Values of the batch that precisions are compared on, images at least, and passes timed after a first one.
_VALUES, _FEWEST, _PASSES = 32 * 3 * 96 * 96, 4, 2
#: Seconds: where the fewest images take longer than that, they and one pass have to do.
_LONG = 0.3

#: A precision, and why.
_Choice = tuple[Literal["fp32", "bf16"], str]
#: `(C, H, W)` of a network's input.
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Device:
    """`cpu`, `cuda`, `cuda:N` or `mps`; `fp32` or `bf16`; threads of a CPU."""

    name: str
    precision: str
    threads: int


def choose_device(decisions: Decisions, network: Mapping[str, Any], shape: Shape, *, room: bool = True) -> Device:
    """The device of this run, decided once; sets the number of threads, on which sums depend bit for bit.

    Args:
        decisions: obeyed, or written to.
        network: arguments of `models.networks.build` for what is to be trained.
        shape: of its input.
        room: whether memory is ample; otherwise a CPU's bf16 is not tried, since its kernels stay resident beside
            those of fp32.
    """

    def choose() -> tuple[dict[str, Any], str]:
        name = best_device()
        tight = name == "cpu" and not room
        precision, reason = ("fp32", "memory is short") if tight else _precision(name, network, shape)
        return asdict(Device(name, precision, cores())), reason

    chosen = Device(**decisions.settle(DEVICE, choose))
    if chosen.name == "cpu" and torch.get_num_threads() != chosen.threads:
        torch.set_num_threads(chosen.threads)
    return chosen


def computes_bf16(device: str) -> bool:
    """Whether a GPU, or this processor, has instructions for it."""
    if kind_of(device) == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device == "cpu" and bool({"avx512_bf16", "amx_bf16"} & set(instruction_sets()))


def _precision(device: str, network: Mapping[str, Any], shape: Shape) -> tuple[str, str]:
    if device == "mps":
        return "fp32", "MPS"
    if not computes_bf16(device):
        return "fp32", "this GPU has no bf16" if kind_of(
            device
        ) == "cuda" else "no GPU, and this processor has no bf16"
    return _cached(device, network, shape)


def _cached(device: str, network: Mapping[str, Any], shape: Shape) -> tuple[str, str]:
    """Measured once for a processor, version of torch and architecture; the number of classes hardly matters."""
    form = {k: v for k, v in network.items() if k != "classes"}
    key = digest_of([device, cpu_name(), cores(), torch.__version__, form, shape])
    file = cache_dir() / "precisions.json"
    known: dict[str, _Choice] = read_cached(file, dict[str, _Choice]) or {}
    if key in known:
        precision, reason = known[key]
        return precision, f"{reason} (measured earlier)"
    wait_for_prefetch()
    measured = _measured(device, network, shape)
    write_cached(file, {**known, key: measured})
    return measured


def _measured(device: str, network: Mapping[str, Any], shape: Shape) -> tuple[str, str]:
    """Both precisions on one batch of noise: speed of forward and backward, likeness of the outputs."""
    module = build(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch = torch.randn(max(_FEWEST, min(128, _VALUES // math.prod(shape))), *shape, device=device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    outputs: dict[str, torch.Tensor] = {}

    def compute(precision: str, images: torch.Tensor) -> float:
        began = time.perf_counter()
        torch.manual_seed(0)  # both drop the same units
        with torch.autocast(kind_of(device), torch.bfloat16, enabled=precision == "bf16"):
            result = module(images)
        result.float().square().mean().backward()
        outputs[precision] = result.detach().float().cpu().flatten(1)  # waits for a GPU, too
        return time.perf_counter() - began

    passes, seconds = _PASSES, {}
    with fast_depthwise(module):
        if compute("fp32", batch[:_FEWEST]) > _LONG:
            batch, passes = batch[:_FEWEST], 1
        for precision in ("fp32", "bf16"):
            compute(precision, batch)
            seconds[precision] = sum(compute(precision, batch) for _ in range(passes))
    likeness = float(torch.nn.functional.cosine_similarity(outputs["fp32"], outputs["bf16"]).min())
    return judge(seconds["fp32"] / seconds["bf16"], likeness)


def judge(gain: float, likeness: float) -> tuple[str, str]:
    """The precision to use, given how much faster bf16 is and how like its outputs are."""
    reason = f"bf16 is {gain:.2f} times as fast as fp32, likeness of outputs {likeness:.4f}"
    return ("bf16" if gain >= GAIN and likeness >= LIKENESS else "fp32"), reason
