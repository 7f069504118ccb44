"""Where and how exactly to train: chosen by what is there, checked, and written down."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from foveal.engines.torch_engine import best_device
from foveal.machine import cores, instruction_sets
from foveal.models.networks import build
from foveal.values import Decisions, Preprocess

#: Half precision is taken only when its answers point the same way as fp32's (cosine), and it is this much faster.
LIKENESS, GAIN = 0.99, 1.15
#: Pictures that are tried, at least and at most, and places of all of them together: large ones take seconds each.
_FEWEST, _MOST, _PLACES = 4, 128, 128 * 32**2


@dataclass(frozen=True)
class Device:
    """`cpu`, `cuda` or `mps`; `f32` or `bf16`; threads of a CPU."""

    name: str
    precision: str
    threads: int


def choose_device(decisions: Decisions, network: Mapping[str, Any], preprocess: Preprocess) -> Device:
    """The device of this run, decided once; sets the number of threads, on which sums depend bit for bit."""

    def choose() -> tuple[dict[str, Any], str]:
        name = best_device()
        precision, reason = _precision(name, network, preprocess)
        return asdict(Device(name, precision, cores())), reason

    chosen = Device(**decisions.settle("device", choose))
    if chosen.name == "cpu" and torch.get_num_threads() != chosen.threads:
        torch.set_num_threads(chosen.threads)
    return chosen


def _precision(device: str, network: Mapping[str, Any], preprocess: Preprocess) -> tuple[str, str]:
    if device == "mps":
        return "f32", "Apple's GPU"
    if device == "cuda" and not torch.cuda.is_bf16_supported():
        return "f32", "this GPU computes no bf16"
    if device == "cpu" and not {"avx512_bf16", "amx_bf16"} & set(instruction_sets()):
        return "f32", "no GPU, and this processor computes no bf16"
    return _measured(device, network, preprocess)


def _measured(device: str, network: Mapping[str, Any], preprocess: Preprocess) -> tuple[str, str]:
    """Both precisions on one batch of noise: speed forth and back, likeness of the answers."""
    module = build(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    pictures = max(_FEWEST, min(_MOST, _PLACES // preprocess.size**2))
    batch = torch.randn(pictures, preprocess.channels, preprocess.size, preprocess.size, device=device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    seconds, answers = {}, {}
    for precision in ("f32", "bf16"):
        for turn in range(4):
            if turn == 1:
                began = time.perf_counter()
            torch.manual_seed(0)  # both drop the same units
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
                outputs = module(batch)
            outputs.float().square().mean().backward()
            answers[precision] = outputs.detach().float().cpu()  # waits for a GPU, too
        seconds[precision] = time.perf_counter() - began
    like = float(torch.nn.functional.cosine_similarity(answers["f32"], answers["bf16"]).min())
    return judged(seconds["f32"] / seconds["bf16"], like)


def judged(gain: float, like: float) -> tuple[str, str]:
    """The precision to take, given how much faster bf16 is and how like its answers are."""
    reason = f"bf16 is {gain:.2f} times as fast as fp32, likeness {like:.4f}"
    return ("bf16" if gain >= GAIN and like >= LIKENESS else "f32"), reason
