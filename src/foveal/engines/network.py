"""A whole network, trained here, compiled for the CPU: exported from torch once, kept, and held against torch.

A conversion takes some seconds, an answer of OpenVINO's a fraction of torch's. So the compiled form is kept by
the content of the weights and the size of the input; with it no torch is imported at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foveal.engines.base import Engine, Features, Pixels
from foveal.engines.openvino_engine import (
    OnOpenVino,
    converted_program,
    has_bf16,
    intact,
    kept,
    normalising,
    read,
    version,
)
from foveal.engines.probe import may_have_gpu
from foveal.errors import UsageError
from foveal.files import cache_dir, digest_of, read_json, write_json
from foveal.machine import cpu_name
from foveal.values import Preprocess

if TYPE_CHECKING:
    import torch

#: An engine is taken only when this share of torch's fp32 answers (the likeliest class) is its own, too.
SAME = 0.99

Shape = tuple[int, int, int]


def network_engine(
    network: Callable[[], torch.nn.Module],
    sha256: str,
    preprocess: Preprocess,
    shape: Shape,
    pixels: Callable[[], Pixels],
    *,
    precision: str | None = None,
) -> tuple[Engine, str]:
    """The fastest engine for a network whose answers are torch's; and why it was taken.

    Args:
        network: gives the module, ready to answer: normalised `(N, C, H, W)` to logits `(N, K, …)`. It is asked
            only when something has to be converted.
        sha256: of its weights and whatever else makes it what it is.
        preprocess: mean and deviation are computed inside; its geometry is not looked at.
        shape: `(H, W, C)` of the pictures, all of one size; their number is free.
        pixels: gives some pictures `(N, H, W, C)`, 8 bits, to measure on; asked only when measuring.
        precision: pins `f32` or `bf16`.

    Raises:
        UsageError: when that precision is not to be had here.
    """
    if precision == "bf16" and not has_bf16():
        raise UsageError("this processor computes no bf16 by itself", hint="leave --precision out")
    if may_have_gpu():
        return _torch(network, preprocess), "there is a GPU"
    folder = _folder(sha256, preprocess, shape)
    model = kept(folder, "network.xml", lambda _: _exported(network(), shape))
    measured = _read(folder / "measured.json")
    if measured is None or set(measured) != set(_precisions()):
        measured = _measured(network(), model, preprocess, shape, pixels())
        write_json(folder / "measured.json", measured)
    good = {p: m for p, m in measured.items() if m["same"] >= SAME and precision in (None, p)}
    words = "; ".join(
        f"openvino-{p} {m['rate']:.1f}/s, same as torch {m['same']:.4f}" for p, m in measured.items()
    )
    if not good:
        return _torch(network, preprocess), f"no other gives torch's answers: {words}"
    chosen = max(good, key=lambda p: good[p]["rate"])
    return _compiled(model, preprocess, shape, chosen), words


def is_ready(sha256: str, preprocess: Preprocess, shape: Shape) -> bool:
    """Whether a network of this content was converted for this size before."""
    return intact(_folder(sha256, preprocess, shape))


def same_answers(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Share of the rows, or pixels, of two `(N, K, …)` whose likeliest class is the same."""
    return float((a.argmax(axis=1) == b.argmax(axis=1)).mean())


def _folder(sha256: str, preprocess: Preprocess, shape: Shape) -> Path:
    statistics = [preprocess.mean, preprocess.std]
    key = digest_of([sha256, statistics, shape, version(), cpu_name()])
    return cache_dir() / "models" / f"network-{key}"


def _precisions() -> tuple[str, ...]:
    return ("f32", "bf16") if has_bf16() else ("f32",)


def _compiled(model: Path, preprocess: Preprocess, shape: Shape, precision: str) -> Engine:
    return OnOpenVino(normalising(read(model), preprocess), shape, precision=precision)


def _exported(module: torch.nn.Module, shape: Shape) -> Any:  # noqa: ANN401
    """By way of `torch.export`, for any number of pictures of this size."""
    import torch

    height, width, channels = shape
    example = torch.zeros(2, channels, height, width)
    batch = torch.export.Dim("batch", min=1, max=4096)
    with torch.no_grad():
        program = torch.export.export(module.eval(), (example,), dynamic_shapes=({0: batch},))
    return converted_program(program)


def _measured(
    module: torch.nn.Module, model: Path, preprocess: Preprocess, shape: Shape, pixels: Pixels
) -> dict[str, dict[str, float]]:
    """Precision → pictures a second, and the share of answers that are torch's."""
    truth = _torch(lambda: module, preprocess, device="cpu")(pixels)
    found = {}
    for precision in _precisions():
        engine = _compiled(model, preprocess, shape, precision)
        answers: Features = engine(pixels)
        started = time.perf_counter()
        for _ in range(2):
            engine(pixels)
        rate = 2 * len(pixels) / (time.perf_counter() - started)
        found[precision] = {"rate": rate, "same": same_answers(answers, truth)}
    return found


def _torch(network: Callable[[], torch.nn.Module], preprocess: Preprocess, *, device: str | None = None) -> Engine:
    from foveal.engines.torch_engine import TorchEngine

    return TorchEngine(network(), preprocess, device=device)


def _read(path: Path) -> dict[str, dict[str, float]] | None:
    try:
        known: dict[str, dict[str, float]] = read_json(path)
    except (OSError, ValueError):
        return None
    return known if all({"rate", "same"} <= set(m) for m in known.values()) else None


def noise(shape: Shape, count: int = 1) -> Pixels:
    """Something to measure engines on when no picture is at hand: soft blobs, not static."""
    from PIL import Image

    height, width, channels = shape
    coarse = np.random.default_rng(0).integers(0, 256, (count, 6, 8, channels), dtype=np.uint8)
    planes = [
        np.stack(
            [np.asarray(Image.fromarray(p[:, :, c]).resize((width, height))) for c in range(channels)], axis=-1
        )
        for p in coarse
    ]
    return np.stack(planes)
