"""Choose an engine: measured on this machine, on the user's own images, by speed and similarity to fp32.

Measuring takes a second or two, so the choice is remembered, by processor, versions and weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from foveal.decisions import ENGINE, Decisions
from foveal.devices import AUTO, wanted_device
from foveal.engines.base import Engine, EngineSpec, Features, Pixels
from foveal.engines.openvino_runtime import version
from foveal.engines.registry import available_engines
from foveal.errors import UsageError
from foveal.files import cache_dir, digest_of
from foveal.machine import cpu_name
from foveal.schema import read_cached, write_cached
from foveal.values import Backbone, Preprocess

#: A faster engine is taken only when the cosine between each feature vector and the reference's is at least this.
MIN_SIMILARITY = 0.995
#: And only when it is so many times as fast: where bf16 gains nothing, noise in the timing would decide.
GAIN = 1.15


@dataclass(frozen=True)
class _Remembered:
    """A choice that was measured earlier."""

    engine: str
    reason: str


def choose_engine(
    backbone: Backbone,
    preprocess: Preprocess,
    pixels: Callable[[], Pixels],
    decisions: Decisions,
    *,
    precision: str | None = None,
    stages: bool = False,
) -> Engine:
    """The fastest engine here whose features are like the reference's; the reason goes into `decisions`.

    Args:
        backbone: what it computes.
        preprocess: how its input was made.
        pixels: gives some of the user's images, rendered, `(N, size, size, 3)`; called only for a measurement.
        decisions: a choice made earlier is obeyed; otherwise choice and reason are recorded there.
        precision: pins `fp32` or `bf16` without a probe.
        stages: whether every stage, pooled, is to follow the features.

    Raises:
        UsageError: when no engine has that precision on this machine.
    """
    engines = {engine.name: engine for engine in available_engines()}
    key = digest_of([cpu_name(), version(), backbone.weights_sha256, preprocess.to_dict(), sorted(engines)])
    remembered = cache_dir() / "engines.json"
    known: dict[str, _Remembered] = read_cached(remembered, dict[str, _Remembered]) or {}
    if (decided := decisions.get(ENGINE)) in engines:
        return engines[str(decided)].build(backbone, preprocess, stages)
    if precision is not None:
        chosen, reason = _of_precision(engines.values(), precision), "the precision was given"
    elif len(engines) == 1:
        wanted = wanted_device()
        why = "there is neither a GPU nor bf16 on this processor" if wanted == AUTO else f"--device {wanted}"
        chosen, reason = next(iter(engines)), f"the only candidate: {why}"
    elif key in known and known[key].engine in engines:
        chosen, reason = known[key].engine, f"{known[key].reason} (measured earlier)"
    else:
        engine, chosen, reason = _measure(engines, backbone, preprocess, pixels(), stages=stages)
        write_cached(remembered, {k: asdict(v) for k, v in {**known, key: _Remembered(chosen, reason)}.items()})
        decisions.record(ENGINE, chosen, reason)
        return engine
    decisions.record(ENGINE, chosen, reason)
    return engines[chosen].build(backbone, preprocess, stages)


def _of_precision(engines: Iterable[EngineSpec], precision: str) -> str:
    for engine in engines:
        if engine.precision == precision:
            return engine.name
    raise UsageError(f"no engine computes {precision} on this machine", hint="omit --precision")


def _measure(
    engines: Mapping[str, EngineSpec], backbone: Backbone, preprocess: Preprocess, pixels: Pixels, *, stages: bool
) -> tuple[Engine, str, str]:
    reference: Features | None = None
    best: tuple[float, str, Engine] | None = None  # a slower one is freed at once
    reasons = []
    for name, spec in engines.items():
        engine = spec.build(backbone, preprocess, stages)
        features = engine(pixels)
        started = time.perf_counter()
        engine(pixels)
        rate = len(pixels) / (time.perf_counter() - started)
        reference = features if reference is None else reference
        similarity = float(cosine_similarity(features, reference).min())
        reasons.append(f"{name} {rate:.0f} images/s, cosine similarity {similarity:.4f}")
        if best is None or (similarity >= MIN_SIMILARITY and rate > GAIN * best[0]):
            best = rate, name, engine
    assert best is not None  # the first, which is its own reference, or a faster one
    return best[2], best[1], "; ".join(reasons)


def cosine_similarity(a: Features, b: Features) -> Features:
    """Cosine between the rows of two `(N, D)` arrays."""
    product = (a * b).sum(axis=1)
    result: Features = product / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12)
    return result
