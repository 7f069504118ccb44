"""OpenVINO on a CPU. The only place that imports it: see `_openvino` for why."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from foveal.engines.base import Features, Pixels
from foveal.files import cache_dir, digest_of, read_json, sha256_of, write_json
from foveal.models.backbones import load_trunk
from foveal.values import Backbone, Preprocess


@cache
def _openvino() -> Any:  # noqa: ANN401
    """OpenVINO without its telemetry, which would otherwise call home when imported."""
    if "openvino_telemetry" not in sys.modules:
        # Python's own way to say "not installed"; OpenVINO then uses its stub.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


@cache
def _core() -> Any:  # noqa: ANN401
    return _openvino().Core()


def version() -> str:
    """OpenVINO's version, short."""
    return str(_openvino().__version__).partition("-")[0]


def has_bf16() -> bool:
    """Whether this processor computes bfloat16 by itself."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OnOpenVino:
    """A model on the CPU, one stream over all cores, two batches under way.

    Args:
        model: OpenVINO's, with 8-bit `(N, H, W, C)` pictures as its input.
        shape: `(H, W, C)`.
        precision: `f32` or `bf16`.
    """

    name = "openvino"

    def __init__(self, model: Any, shape: tuple[int, int, int], *, precision: str) -> None:  # noqa: ANN401
        self.precision = precision
        self.version = version()
        self._shape, self._model = shape, model
        self._lock = threading.Lock()
        self._queue: Any = self._compiled()

    def _compiled(self) -> Any:  # noqa: ANN401
        """A queue of requests to the compiled network: what takes the memory."""
        options = {"NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": self.precision, "ENABLE_CPU_PINNING": False}
        queue = _openvino().AsyncInferQueue(_core().compile_model(self._model, "CPU", options), 2)
        queue.set_callback(_deliver)
        return queue

    def submit(self, pixels: Pixels) -> Future[Features]:
        """See `Engine.submit`.

        Raises:
            ValueError: when the pictures have another shape than the engine was made for.
        """
        if pixels.ndim != 4 or pixels.shape[1:] != self._shape:
            raise ValueError(
                f"pixels of shape {pixels.shape}: this engine takes (N, {', '.join(map(str, self._shape))})"
            )
        future: Future[Features] = Future()
        with self._lock:
            if self._queue is None:
                self._queue = self._compiled()
            self._queue.start_async([np.ascontiguousarray(pixels)], (future, time.perf_counter()))
        return future

    def __call__(self, pixels: Pixels) -> Features:
        """See `Engine.__call__`."""
        return self.submit(pixels).result()

    def release(self) -> None:
        """See `Engine.release`."""
        with self._lock:
            if self._queue is not None:
                self._queue.wait_all()
            self._queue = None  # compiled again when it is wanted: that takes a moment


class OpenVinoEngine(OnOpenVino):
    """A frozen trunk on the CPU.

    Args:
        backbone: the trunk.
        preprocess: how its input was made.
        precision: `f32` or `bf16`.
        stages: whether every stage, pooled, follows the features (see `models.segments.pooled`).
    """

    def __init__(
        self, backbone: Backbone, preprocess: Preprocess, *, precision: str = "f32", stages: bool = False
    ) -> None:
        whole = _core().read_model(converted(backbone))
        model = normalising(_outputs(whole, preprocess, stages=stages), preprocess)
        super().__init__(model, (preprocess.size, preprocess.size, 3), precision=precision)


def _deliver(request: Any, userdata: tuple[Future[Features], float]) -> None:  # noqa: ANN401
    future, _ = userdata
    try:
        future.set_result(np.array(request.get_output_tensor(0).data, dtype=np.float32))
    except Exception as error:  # a callback's exception would otherwise be lost in a C++ thread
        future.set_exception(error)


def _outputs(model: Any, preprocess: Preprocess, *, stages: bool) -> Any:  # noqa: ANN401
    """The model with one output: the features, and behind them, if wanted, every stage in 2 × 2 places."""
    ov = _openvino()
    ops = ov.opset13
    model.reshape([-1, 3, preprocess.size, preprocess.size])
    features, *maps = [model.get_results()[i].input_value(0) for i in range(len(model.outputs))]
    places = [ops.adaptive_avg_pool(m, ops.constant([2, 2], dtype="int64")) for m in maps] if stages else []
    rows = [ops.reshape(p, ops.constant([0, -1], dtype="int64"), special_zero=True) for p in places]
    return ov.Model([ops.concat([features, *rows], 1) if rows else features], model.get_parameters(), "trunk")


def normalising(model: Any, preprocess: Preprocess) -> Any:  # noqa: ANN401
    """The model with 8-bit `(N, H, W, 3)` pictures as input and the normalisation inside."""
    ov = _openvino()
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    mean, std = (list(v[: preprocess.channels]) for v in (preprocess.mean, preprocess.std))
    steps.input().preprocess().convert_element_type(ov.Type.f32).mean(mean).scale(std)
    return steps.build()


def converted(backbone: Backbone) -> Path:
    """The trunk as OpenVINO's own model file in the cache, converted when it is not there or damaged."""
    graph = sha256_of(backbone.graph) if backbone.graph is not None else None
    key = digest_of([backbone.name, backbone.weights_sha256, version(), graph, backbone.stage_dimension > 0])
    folder = cache_dir() / "models" / f"{backbone.name.replace('/', '-')}-{key}"

    def convert(beside: Path) -> Any:  # noqa: ANN401
        return _read_graph(backbone, beside) if backbone.graph is not None else _convert(backbone)

    return kept(folder, "trunk.xml", convert)


def kept(folder: Path, name: str, make: Callable[[Path], Any]) -> Path:
    """A model in OpenVINO's own form in a folder of the cache, made when it is not there or damaged.

    It comes to its place whole, with the hashes by which `intact` knows it: of two processes that make it at once
    one keeps what the other made.
    """
    if not intact(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            target = beside / name
            _openvino().save_model(make(beside), target, compress_to_fp16=False)
            files = (target, target.with_suffix(".bin"))
            write_json(beside / "hashes.json", {f.name: sha256_of(f) for f in files})
            if not intact(folder):
                shutil.rmtree(folder, ignore_errors=True)
                beside.rename(folder)
        except OSError:
            if not intact(folder):  # else another process was sooner
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return folder / name


def intact(folder: Path) -> bool:
    """Whether a model that was kept in this folder is still what was written."""
    try:
        hashes = read_json(folder / "hashes.json")
        return bool(hashes) and all(sha256_of(folder / name) == digest for name, digest in hashes.items())
    except (OSError, ValueError):
        return False


def _read_graph(backbone: Backbone, folder: Path) -> Any:  # noqa: ANN401
    """A graph whose weights lie in another file: ONNX wants the two side by side."""
    assert backbone.graph is not None and backbone.blob is not None
    beside = folder / "source"
    beside.mkdir(exist_ok=True)
    try:
        graph = Path(shutil.copy(backbone.graph, beside))
        shutil.copy(backbone.blob, beside)
        model = _core().read_model(graph)
        model.validate_nodes_and_infer_types()
        return model
    finally:
        # The weights are mapped, and a mapping outlives its name (not on Windows, where the copy stays).
        shutil.rmtree(beside, ignore_errors=True)


def _convert(backbone: Backbone) -> Any:  # noqa: ANN401
    """Any torch trunk, by way of `torch.export`."""
    import torch

    size = backbone.preprocess.size
    example = torch.zeros(2, 3, size, size)
    batch = torch.export.Dim("batch", min=1, max=4096)
    with torch.no_grad():
        trunk = load_trunk(backbone, maps=backbone.stage_dimension > 0)
        program = torch.export.export(trunk, (example,), dynamic_shapes=({0: batch},))
    return _openvino().convert_model(program)


def converted_program(program: Any) -> Any:  # noqa: ANN401
    """What `torch.export` made, as OpenVINO's model."""
    return _openvino().convert_model(program)


def read(path: Path) -> Any:  # noqa: ANN401
    """A model file, as OpenVINO's model."""
    return _core().read_model(path)


def beginning(backbone: Backbone, size: int, stage: int | None, precision: str) -> Callable[[Features], Features]:
    """The beginning of a trunk on normalised pictures `(N, 3, size, size)`, one batch after the other.

    Args:
        backbone: whose stages are known.
        size: side of the pictures, pixels.
        stage: the one whose map `(N, C, H, W)` is wanted, from 0; None for the features `(N, dimension)`.
        precision: `f32` or `bf16`.
    """
    model = _core().read_model(converted(backbone))
    model.reshape([-1, 3, size, size])
    output = model.get_results()[0 if stage is None else 1 + stage].input_value(0)
    part = _openvino().Model([output], model.get_parameters(), "beginning")
    options = {"NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": precision, "ENABLE_CPU_PINNING": False}
    compiled = _core().compile_model(part, "CPU", options)

    def run(pictures: Features) -> Features:
        return np.array(compiled(pictures)[compiled.output(0)], dtype=np.float32)

    return run
