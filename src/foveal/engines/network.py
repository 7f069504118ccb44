"""A whole network, trained here, compiled for the CPU: exported from torch once, cached, and compared with torch.

A conversion takes some seconds, a prediction of OpenVINO's a fraction of torch's. So the converted model is
cached by the content of the weights and the size of the input; with it torch is not imported at all. A network that
can't be converted is computed by torch, and is not converted again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from foveal.engines.base import Engine, Features, Pixels
from foveal.engines.model_cache import cached_model, is_intact
from foveal.engines.openvino_engine import CompiledModel, convert_module, normalising
from foveal.engines.openvino_runtime import has_bf16, read, version
from foveal.engines.torch_engine import may_have_gpu
from foveal.errors import FovealError, UsageError
from foveal.files import cache_dir, digest_of
from foveal.machine import cpu_name
from foveal.schema import Share, read_cached, write_cached
from foveal.values import Preprocess

if TYPE_CHECKING:
    import torch

#: An engine is taken only when at least this share of its most likely classes are those of torch in fp32.
SAME = 0.99
#: And only when no probability of a class differs by more; for maps, on average over the positions of an image.
DIFFERENT = 0.01

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class _Measured:
    """What an engine was seen to do.

    Attributes:
        rate: images a second.
        same: share of its predictions that are torch's.
        difference: the largest one between its probabilities and torch's, see `largest_difference`.
    """

    rate: Annotated[float, Meta(gt=0, le=1e12)]
    same: Share
    difference: Share

    @property
    def agrees(self) -> bool:
        """Whether it may take the place of torch."""
        return self.same >= SAME and self.difference <= DIFFERENT


def network_engine(
    network: Callable[[], torch.nn.Module],
    sha256: str,
    preprocess: Preprocess,
    shape: Shape,
    pixels: Callable[[], Pixels],
    *,
    precision: str | None = None,
) -> tuple[Engine, str]:
    """The fastest engine for a network whose predictions are torch's; and why it was taken.

    Args:
        network: gives the module in evaluation mode: normalised `(N, C, H, W)` to logits `(N, K, …)`. It is called
            only when something has to be converted.
        sha256: of its weights and whatever else makes it what it is.
        preprocess: mean and deviation are applied inside the engine; its geometry is ignored.
        shape: `(H, W, C)` of the images, all of one size; the batch size is free.
        pixels: gives some images `(N, H, W, C)`, 8 bits, to measure on; called only for a measurement.
        precision: pins `fp32` or `bf16`.

    Raises:
        UsageError: when this machine does not have that precision.
    """
    if precision == "bf16" and not has_bf16():
        raise UsageError("no engine computes bf16 on this machine", hint="omit --precision")
    if may_have_gpu():
        return _torch(network, preprocess), "there is a GPU"
    folder = _folder(sha256, preprocess, shape)
    refused = folder.with_name(f"{folder.name}-refused.json")
    if (why := read_cached(refused, str)) is not None:
        return _torch(network, preprocess), why
    measured: dict[str, _Measured] | None = read_cached(folder / "measured.json", dict[str, _Measured])
    if measured is None or set(measured) != set(_precisions()):
        try:
            _converted(folder, network, shape)
        except (FovealError, MemoryError):
            raise
        except Exception as error:  # whatever an exporter raises for a network that it can't take
            why = f"it can't be converted: {type(error).__name__}"
            write_cached(refused, why)
            return _torch(network, preprocess), why
        measured = _measured(folder, network(), preprocess, shape, pixels())
        write_cached(folder / "measured.json", {p: asdict(m) for p, m in measured.items()})
    good = {p: m for p, m in measured.items() if m.agrees and precision in (None, p)}
    reason = "; ".join(
        f"openvino-{p} {m.rate:.1f}/s, same as torch {m.same:.4f}, largest difference {m.difference:.4f}"
        for p, m in measured.items()
    )
    if not good:
        return _torch(network, preprocess), f"no other gives torch's predictions: {reason}"
    chosen = max(good, key=lambda p: good[p].rate)
    return _compiled(folder, network, preprocess, shape, chosen), reason


def is_ready(sha256: str, preprocess: Preprocess, shape: Shape) -> bool:
    """Whether a network of this content was converted for this size before."""
    return is_intact(_folder(sha256, preprocess, shape))


def same_predictions(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Share of the rows, or pixels, of two `(N, K, …)` whose most likely class is the same."""
    return float((a.argmax(axis=1) == b.argmax(axis=1)).mean())


def largest_difference(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Between the probabilities of two logits `(N, K, …)`: the largest of each position, averaged over the positions
    of an image; the largest of the images."""
    each = np.abs(_softmax(a) - _softmax(b)).max(axis=1)
    return float(each.reshape(len(each), -1).mean(axis=1).max())


def _softmax(logits: NDArray[Any]) -> NDArray[Any]:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[Any] = shares / shares.sum(axis=1, keepdims=True)
    return result


def _folder(sha256: str, preprocess: Preprocess, shape: Shape) -> Path:
    statistics = [preprocess.mean, preprocess.std]
    key = digest_of([sha256, statistics, shape, version(), cpu_name()])
    return cache_dir() / "models" / f"network-{key}"


def _precisions() -> tuple[str, ...]:
    return ("fp32", "bf16") if has_bf16() else ("fp32",)


def _converted(folder: Path, network: Callable[[], torch.nn.Module], shape: Shape) -> Path:
    return cached_model(folder, "network.xml", lambda _: convert_module(network(), shape))


def _compiled(
    folder: Path, network: Callable[[], torch.nn.Module], preprocess: Preprocess, shape: Shape, precision: str
) -> Engine:
    def model() -> Any:  # noqa: ANN401
        return normalising(read(_converted(folder, network, shape)), preprocess)

    return CompiledModel(model, [folder.name], shape, precision=precision)


def _measured(
    folder: Path, module: torch.nn.Module, preprocess: Preprocess, shape: Shape, pixels: Pixels
) -> dict[str, _Measured]:
    """By precision."""
    expected = _torch(lambda: module, preprocess, device="cpu")(pixels)
    measured = {}
    for precision in _precisions():
        engine = _compiled(folder, lambda: module, preprocess, shape, precision)
        logits: Features = engine(pixels)
        started = time.perf_counter()
        for _ in range(2):
            engine(pixels)
        rate = 2 * len(pixels) / (time.perf_counter() - started)
        same, difference = same_predictions(logits, expected), min(1.0, largest_difference(logits, expected))
        measured[precision] = _Measured(rate, same, difference)
    return measured


def _torch(network: Callable[[], torch.nn.Module], preprocess: Preprocess, *, device: str | None = None) -> Engine:
    from foveal.engines.torch_engine import TorchEngine

    return TorchEngine(network(), preprocess, device=device)
