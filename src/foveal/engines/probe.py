"""Which engine? Measured on this machine, on the user's own pictures: speed, and likeness to fp32.

Asking takes a second or two, so the answer is remembered, by processor, versions and weights.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from foveal.engines.base import Engine, Features, Pixels
from foveal.engines.openvino_engine import OpenVinoEngine, has_bf16, version
from foveal.errors import UsageError
from foveal.files import cache_dir, digest_of, read_json, write_json
from foveal.machine import cpu_name
from foveal.values import Backbone, Decisions, Preprocess

#: A faster engine is taken only when every feature vector points the same way as fp32's (cosine).
LIKENESS = 0.995
#: And only when it is so many times as fast: where bf16 gains nothing, noise would choose the features otherwise.
GAIN = 1.15

_Maker = Callable[[], Engine]


def choose_engine(
    backbone: Backbone,
    preprocess: Preprocess,
    pixels: Callable[[], Pixels],
    decisions: Decisions,
    *,
    precision: str | None = None,
    stages: bool = False,
) -> Engine:
    """The fastest engine here whose features are like fp32's; the reason goes into `decisions`.

    Args:
        backbone: the trunk.
        preprocess: how its input was made.
        pixels: gives some of the user's pictures, rendered, `(N, size, size, 3)`; asked only when measuring.
        decisions: a choice made earlier is obeyed; otherwise choice and reason are written there.
        precision: pins `f32` or `bf16` without a probe.
        stages: whether every stage, pooled, is to follow the features.

    Raises:
        UsageError: when that precision is not to be had here.
    """
    makers = _candidates(backbone, preprocess, stages=stages)
    key = digest_of([cpu_name(), version(), backbone.weights_sha256, preprocess.to_dict(), sorted(makers)])
    remembered = cache_dir() / "engines.json"
    known = _read(remembered)
    if "engine" in decisions.made and decisions.made["engine"]["value"] in makers:
        return makers[decisions.made["engine"]["value"]]()
    if precision is not None:
        chosen, reason = f"openvino-{precision}", "the precision was given"
        if chosen not in makers:
            raise UsageError(f"this processor computes no {precision} by itself", hint="leave --precision out")
    elif len(makers) == 1:
        chosen, reason = (
            next(iter(makers)),
            "the only candidate: this processor computes no bf16 and there is no GPU",
        )
    elif key in known and known[key]["engine"] in makers:
        chosen, reason = known[key]["engine"], known[key]["reason"] + " (measured earlier)"
    else:
        engine, chosen, reason = _measure(makers, pixels())
        with suppress(OSError):  # a cache that can't be written is measured again
            write_json(remembered, {**known, key: {"engine": chosen, "reason": reason}})
        decisions.record("engine", chosen, reason)
        return engine
    decisions.record("engine", chosen, reason)
    return makers[chosen]()


def available() -> list[str]:
    """The engines that could be chosen on this machine."""
    return [
        "openvino-f32",
        *(["openvino-bf16"] if has_bf16() else []),
        *(["torch-f32"] if may_have_gpu() else []),
    ]


def _candidates(backbone: Backbone, preprocess: Preprocess, *, stages: bool) -> dict[str, _Maker]:
    """By name, the reference first."""
    openvino = partial(OpenVinoEngine, backbone, preprocess, stages=stages)
    makers: dict[str, _Maker] = {"openvino-f32": openvino}
    if has_bf16():
        makers["openvino-bf16"] = partial(openvino, precision="bf16")
    if may_have_gpu():
        makers["torch-f32"] = lambda: _torch(backbone, preprocess, stages=stages)
    return makers


def _torch(backbone: Backbone, preprocess: Preprocess, *, stages: bool) -> Engine:
    from foveal.engines.torch_engine import TorchEngine

    return TorchEngine(backbone, preprocess, stages=stages)


def may_have_gpu() -> bool:
    """A guess that costs nothing: torch, which knows, takes seconds to import."""
    return Path("/dev/nvidia0").exists() or (sys.platform == "darwin" and platform.machine() == "arm64")


def _measure(makers: dict[str, _Maker], pixels: Pixels) -> tuple[Engine, str, str]:
    reference: Features | None = None
    best: tuple[float, str, Engine] | None = None  # a slower one is let go at once
    words = []
    for name, make in makers.items():
        engine = make()
        features = engine(pixels)
        started = time.perf_counter()
        engine(pixels)
        rate = len(pixels) / (time.perf_counter() - started)
        reference = features if reference is None else reference
        like = float(likeness(features, reference).min())
        words.append(f"{name} {rate:.0f} pictures/s, likeness {like:.4f}")
        if best is None or (like >= LIKENESS and rate > GAIN * best[0]):
            best = rate, name, engine
    assert best is not None  # the first, which is its own reference, or a faster one
    return best[2], best[1], "; ".join(words)


def likeness(a: Features, b: Features) -> Features:
    """Cosine between the rows of two `(N, D)` arrays."""
    product = (a * b).sum(axis=1)
    result: Features = product / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12)
    return result


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        known: dict[str, dict[str, str]] = read_json(path)
    except (OSError, ValueError):
        return {}
    return known
