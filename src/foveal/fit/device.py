"""Where and how exactly to train: chosen by what is there, checked, and written down."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch

from foveal.engines.torch_engine import best_device
from foveal.files import cache_dir, digest_of, read_json, write_json
from foveal.fit.depthwise import quicken
from foveal.machine import cores, cpu_name, instruction_sets
from foveal.models.networks import build
from foveal.prefetch import fetched
from foveal.values import Decisions, Preprocess

#: Half precision is taken only when its answers point the same way as fp32's (cosine), and it is this much faster.
LIKENESS, GAIN = 0.99, 1.15
#: Values of the batch that precisions are compared on, pictures at least, and passes counted after a first one.
_VALUES, _FEWEST, _PASSES = 32 * 3 * 96 * 96, 4, 2
#: Seconds: where the fewest pictures take longer than that, they have to do, and one pass.
_LONG = 0.3


@dataclass(frozen=True)
class Device:
    """`cpu`, `cuda` or `mps`; `f32` or `bf16`; threads of a CPU."""

    name: str
    precision: str
    threads: int


def choose_device(
    decisions: Decisions, network: Mapping[str, Any], preprocess: Preprocess, *, room: bool = True
) -> Device:
    """The device of this run, decided once; sets the number of threads, on which sums depend bit for bit.

    Without `room` in memory a processor's bf16 is not tried: its kernels stay resident beside those of fp32.
    """

    def choose() -> tuple[dict[str, Any], str]:
        name = best_device()
        tight = name == "cpu" and not room
        precision, reason = ("f32", "memory is short") if tight else _precision(name, network, preprocess)
        return asdict(Device(name, precision, cores())), reason

    return _settled(decisions, choose)


def choose_place(decisions: Decisions) -> Device:
    """As `choose_device`, for a trainer that measures its precision on its own steps: fp32 until then."""

    def choose() -> tuple[dict[str, Any], str]:
        return asdict(
            Device(best_device(), "f32", cores())
        ), "what there is; the precision is measured on its steps"

    return _settled(decisions, choose)


def _settled(decisions: Decisions, choose: Callable[[], tuple[dict[str, Any], str]]) -> Device:
    chosen = Device(**decisions.settle("device", choose))
    if chosen.name == "cpu" and torch.get_num_threads() != chosen.threads:
        torch.set_num_threads(chosen.threads)
    return chosen


def computes_bf16(device: str) -> bool:
    """Whether a GPU, or this processor, has instructions for it."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device == "cpu" and bool({"avx512_bf16", "amx_bf16"} & set(instruction_sets()))


def _precision(device: str, network: Mapping[str, Any], preprocess: Preprocess) -> tuple[str, str]:
    if device == "mps":
        return "f32", "Apple's GPU"
    if not computes_bf16(device):
        return "f32", "this GPU computes no bf16" if device == "cuda" else "no GPU, and this processor has no bf16"
    return _remembered(device, network, preprocess)


def _remembered(device: str, network: Mapping[str, Any], preprocess: Preprocess) -> tuple[str, str]:
    """Measured once for a processor, torch and a network's form: how many classes there are hardly matters."""
    form = {k: v for k, v in network.items() if k != "classes"}
    key = digest_of([device, cpu_name(), cores(), torch.__version__, form, preprocess.size, preprocess.channels])
    file = cache_dir() / "precisions.json"
    try:
        known: dict[str, list[str]] = read_json(file)
    except (OSError, ValueError):
        known = {}
    if key in known:
        precision, reason = known[key]
        return precision, f"{reason} (measured earlier)"
    fetched()
    found = _measured(device, network, preprocess)
    with suppress(OSError):  # a cache that can't be written is measured again
        write_json(file, {**known, key: list(found)})
    return found


def _measured(device: str, network: Mapping[str, Any], preprocess: Preprocess) -> tuple[str, str]:
    """Both precisions on one batch of noise: speed forth and back, likeness of the answers."""
    module = build(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    quicken(module)
    shape = (preprocess.channels, preprocess.size, preprocess.size)
    batch = torch.randn(max(_FEWEST, min(128, _VALUES // math.prod(shape))), *shape, device=device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    answers: dict[str, torch.Tensor] = {}

    def compute(precision: str, pictures: torch.Tensor) -> float:
        began = time.perf_counter()
        torch.manual_seed(0)  # both drop the same units
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            outputs = module(pictures)
        outputs.float().square().mean().backward()
        answers[precision] = outputs.detach().float().cpu()  # waits for a GPU, too
        return time.perf_counter() - began

    passes = _PASSES
    if compute("f32", batch[:_FEWEST]) > _LONG:
        batch, passes = batch[:_FEWEST], 1
    seconds = {}
    for precision in ("f32", "bf16"):
        compute(precision, batch)
        seconds[precision] = sum(compute(precision, batch) for _ in range(passes))
    like = float(torch.nn.functional.cosine_similarity(answers["f32"], answers["bf16"]).min())
    return judged(seconds["f32"] / seconds["bf16"], like)


def judged(gain: float, like: float) -> tuple[str, str]:
    """The precision to take, given how much faster bf16 is and how like its answers are."""
    reason = f"bf16 is {gain:.2f} times as fast as fp32, likeness {like:.4f}"
    return ("bf16" if gain >= GAIN and like >= LIKENESS else "f32"), reason
