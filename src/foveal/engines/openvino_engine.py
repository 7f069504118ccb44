"""OpenVINO on a CPU as an engine, and torch's modules as its models."""

from __future__ import annotations

import copy
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from foveal.devices import AUTO, wanted_device
from foveal.engines.base import BATCH_SIZE, EngineSpec, Features, Pixels
from foveal.engines.model_cache import cached_model, compiled_model
from foveal.engines.openvino_runtime import (
    compile_model,
    convert_program,
    core,
    has_bf16,
    import_openvino,
    read,
    version,
)
from foveal.files import cache_dir, digest_of, sha256_of
from foveal.models.backbones import load_feature_network
from foveal.values import Backbone, Preprocess

if TYPE_CHECKING:
    import torch


#: In fp32 the maps of 8 images stay in a processor's cache, of 32 not. Lite0 on two cores, fp32: 181-183 images/s by
#: 8, 155-168 by 32; bf16: 265 and 280.
_FP32_BATCH_SIZE = 8
#: Batches: while one is computed, the next is made ready.
_IN_FLIGHT = 2


class CompiledModel:
    """A model on the CPU, one stream over all cores, two batches in flight.

    Args:
        model: gives OpenVINO's, with 8-bit images `(N, H, W, C)` as its input; called when it has to be compiled.
        key: whatever makes it what it is, see `compiled_model`.
        shape: `(H, W, C)`.
        precision: `fp32` or `bf16`.
    """

    name = "openvino"

    def __init__(
        self, model: Callable[[], Any], key: Sequence[object], shape: tuple[int, int, int], *, precision: str
    ) -> None:
        self.precision = precision
        self.batch_size = _FP32_BATCH_SIZE if precision == "fp32" else BATCH_SIZE
        self.version = version()
        self._shape, self._model, self._key = shape, model, key
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_IN_FLIGHT)
        self._idle: SimpleQueue[Any] | None = self._requests()

    def _requests(self) -> SimpleQueue[Any]:
        """Requests to the compiled network, which hold it: what takes the memory."""
        compiled = compiled_model(self._key, self._model, self.precision)
        requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(_IN_FLIGHT):
            requests.put(compiled.create_infer_request())
        return requests

    def submit(self, pixels: Pixels) -> Future[Features]:
        """See `Engine.submit`.

        Raises:
            ValueError: when the images have another shape than the engine was made for.
        """
        if pixels.ndim != 4 or pixels.shape[1:] != self._shape:
            raise ValueError(
                f"images of shape {pixels.shape}: this engine takes (N, {', '.join(map(str, self._shape))})"
            )
        with self._lock:
            if self._idle is None:
                self._idle = self._requests()
            return self._pool.submit(_run, self._idle, np.ascontiguousarray(pixels))

    def __call__(self, pixels: Pixels) -> Features:
        """See `Engine.__call__`."""
        return self.submit(pixels).result()

    def release(self) -> None:
        """See `Engine.release`."""
        with self._lock:
            self._idle = None  # read again when it is needed: that takes a moment


def _run(requests: SimpleQueue[Any], pixels: Pixels) -> Features:
    """One batch, in a thread of Python's.

    A callback of OpenVINO's would come from a thread of its own. When that thread returns to an interpreter that is
    being finalized, the process aborts, whatever its exit code should have been.
    """
    request = requests.get()
    try:
        request.infer([pixels])
        return np.array(request.get_output_tensor(0).data, dtype=np.float32)
    finally:
        requests.put(request)


class OpenVinoEngine(CompiledModel):
    """A backbone on the CPU.

    Args:
        backbone: what to compute.
        preprocess: how its input was made.
        precision: `fp32` or `bf16`.
        stages: whether every stage, pooled, follows the features (see `backbone_stages.pool_stages`).
    """

    def __init__(
        self, backbone: Backbone, preprocess: Preprocess, *, precision: str = "fp32", stages: bool = False
    ) -> None:
        def model() -> Any:  # noqa: ANN401
            return normalising(_outputs(read(convert_backbone(backbone)), preprocess, stages=stages), preprocess)

        key = [_key(backbone), preprocess.size, preprocess.statistics, stages]
        super().__init__(model, key, (preprocess.size, preprocess.size, 3), precision=precision)


def _outputs(model: Any, preprocess: Preprocess, *, stages: bool) -> Any:  # noqa: ANN401
    """The model with one output: the features, followed, if wanted, by every stage in 2 × 2 cells."""
    ov = import_openvino()
    ops = ov.opset13
    model.reshape([-1, 3, preprocess.size, preprocess.size])
    features, *maps = [model.get_results()[i].input_value(0) for i in range(len(model.outputs))]
    cells = [ops.adaptive_avg_pool(m, ops.constant([2, 2], dtype="int64")) for m in maps] if stages else []
    rows = [ops.reshape(c, ops.constant([0, -1], dtype="int64"), special_zero=True) for c in cells]
    return ov.Model([ops.concat([features, *rows], 1) if rows else features], model.get_parameters(), "trunk")


def normalising(model: Any, preprocess: Preprocess) -> Any:  # noqa: ANN401
    """The model with 8-bit images `(N, H, W, C)` as input and the normalisation inside."""
    ov = import_openvino()
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    mean, std = (list(v) for v in preprocess.statistics)
    steps.input().preprocess().convert_element_type(ov.Type.f32).mean(mean).scale(std)
    return steps.build()


def convert_backbone(backbone: Backbone) -> Path:
    """The backbone as OpenVINO's own model file in the cache, converted when it is not there or damaged."""
    folder = cache_dir() / "models" / f"{backbone.name.replace('/', '-')}-{_key(backbone)}"

    def convert(scratch: Path) -> Any:  # noqa: ANN401
        return _read_graph(backbone, scratch) if backbone.graph is not None else _convert(backbone)

    return cached_model(folder, "trunk.xml", convert)


def _key(backbone: Backbone) -> str:
    """What its converted model depends on."""
    graph = sha256_of(backbone.graph) if backbone.graph is not None else None
    return digest_of([backbone.name, backbone.weights_sha256, version(), graph, backbone.stage_dimension > 0])


def _read_graph(backbone: Backbone, folder: Path) -> Any:  # noqa: ANN401
    """A graph whose weights lie in another file: ONNX needs both in one folder."""
    assert backbone.graph is not None and backbone.blob is not None
    source = folder / "source"
    source.mkdir(exist_ok=True)
    try:
        graph = Path(shutil.copy(backbone.graph, source))
        shutil.copy(backbone.blob, source)
        model = core().read_model(graph)
        model.validate_nodes_and_infer_types()
        return model
    finally:
        # The weights are memory-mapped, which outlives the file's name (not on Windows, where the copy stays).
        shutil.rmtree(source, ignore_errors=True)


def _convert(backbone: Backbone) -> Any:  # noqa: ANN401
    """Any backbone in torch."""
    size = backbone.preprocess.size
    return convert_module(load_feature_network(backbone, maps=backbone.stage_dimension > 0), (size, size, 3))


def convert_module(module: torch.nn.Module, shape: tuple[int, int, int]) -> Any:  # noqa: ANN401
    """A module in torch as OpenVINO's model, by way of `torch.export`, for any number of images of one size.

    Args:
        module: normalised images `(N, C, H, W)` to whatever it gives.
        shape: `(H, W, C)` of the images.
    """
    import torch

    height, width, channels = shape
    example = torch.zeros(2, channels, height, width)
    batch = torch.export.Dim("batch", min=1, max=4096)
    with torch.no_grad():
        program = torch.export.export(_with_clamps(module.eval()), (example,), dynamic_shapes=({0: batch},))
    return convert_program(program)


def _with_clamps(module: torch.nn.Module) -> torch.nn.Module:
    """The module, or a copy that computes the same by `clamp` in place of ReLU6 and hardtanh.

    Those are not core operators of torch.export; decomposing them took half of the conversion time.
    """
    import torch

    class Clamp(torch.nn.Module):
        def __init__(self, low: float, high: float) -> None:
            super().__init__()
            self.low, self.high = low, high

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return values.clamp(self.low, self.high)

    found = [name for name, part in module.named_modules() if isinstance(part, torch.nn.Hardtanh) and name]
    if not found:
        return module
    copied = copy.deepcopy(module)
    for name in found:
        part = copied.get_submodule(name)  # ReLU6 is a hardtanh
        copied.set_submodule(name, Clamp(part.min_val, part.max_val))  # type: ignore[arg-type]
    return copied


def leading_stages(
    backbone: Backbone, size: int, stage: int | None, precision: str
) -> Callable[[Features], Features]:
    """The leading part of a backbone on normalised images `(N, 3, size, size)`, one batch after the other.

    Args:
        backbone: of a known family.
        size: side of the images, pixels.
        stage: the one whose map `(N, C, H, W)` is wanted, from 0; None for the features `(N, dimension)`.
        precision: `fp32` or `bf16`.
    """
    model = read(convert_backbone(backbone))
    model.reshape([-1, 3, size, size])
    output = model.get_results()[0 if stage is None else 1 + stage].input_value(0)
    compiled = compile_model(import_openvino().Model([output], model.get_parameters(), "beginning"), precision)

    def run(images: Features) -> Features:
        return np.array(compiled(images)[compiled.output(0)], dtype=np.float32)

    return run


def _may_use_cpu() -> bool:
    """Whether no GPU is asked for."""
    return wanted_device() in (AUTO, "cpu")


FP32 = EngineSpec(
    "openvino-fp32",
    "fp32",
    _may_use_cpu,
    lambda backbone, preprocess, stages: OpenVinoEngine(backbone, preprocess, stages=stages),
)
BF16 = EngineSpec(
    "openvino-bf16",
    "bf16",
    lambda: _may_use_cpu() and has_bf16(),
    lambda backbone, preprocess, stages: OpenVinoEngine(backbone, preprocess, precision="bf16", stages=stages),
)
