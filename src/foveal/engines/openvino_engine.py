"""OpenVINO on a CPU. The only place that imports it: see `import_openvino` for why."""

from __future__ import annotations

import atexit
import errno
import shutil
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveal.devices import AUTO, wanted_device
from foveal.engines.base import BATCH_SIZE, EngineSpec, Features, Pixels
from foveal.files import cache_dir, cannot_write, digest_of, process_folder, sha256_of, write_json
from foveal.models.backbones import load_feature_network
from foveal.schema import Sha256, read_cached, signed
from foveal.values import Backbone, Preprocess

if TYPE_CHECKING:
    import torch


#: In fp32 the maps of 8 images stay in a processor's cache, of 32 not. Lite0 on two cores, fp32: 181-183 images/s by
#: 8, 155-168 by 32; bf16: 265 and 280.
_FP32_BATCH_SIZE = 8
#: Our names of precisions → OpenVINO's.
_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


@cache
def import_openvino() -> Any:  # noqa: ANN401
    """OpenVINO without its telemetry, which would otherwise contact its server when imported."""
    if "openvino_telemetry" not in sys.modules:
        # Python's own way to say "not installed"; OpenVINO then uses its stub.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


@cache
def core() -> Any:  # noqa: ANN401
    """OpenVINO's runtime, one for the process; what it compiled is released at exit."""
    atexit.register(_release_all)
    return import_openvino().Core()


def version() -> str:
    """OpenVINO's version, short."""
    return str(import_openvino().__version__).partition("-")[0]


def has_bf16() -> bool:
    """Whether this processor has instructions for bfloat16."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


#: What may still be inside a callback when the interpreter ends.
_compiled_models: weakref.WeakSet[CompiledModel] = weakref.WeakSet()


def _release_all() -> None:
    """Wait for OpenVINO's threads: one that returns from a callback to an interpreter that is finalized aborts the
    process, whatever its exit code should have been."""
    for model in list(_compiled_models):
        model.release()


class CompiledModel:
    """A model on the CPU, one stream over all cores, two batches in flight.

    Args:
        model: OpenVINO's, with 8-bit images `(N, H, W, C)` as its input.
        shape: `(H, W, C)`.
        precision: `fp32` or `bf16`.
    """

    name = "openvino"

    def __init__(self, model: Any, shape: tuple[int, int, int], *, precision: str) -> None:  # noqa: ANN401
        self.precision = precision
        self.batch_size = _FP32_BATCH_SIZE if precision == "fp32" else BATCH_SIZE
        self.version = version()
        self._shape, self._model = shape, model
        self._lock = threading.Lock()
        self._queue: Any = self._compiled()
        _compiled_models.add(self)

    def _compiled(self) -> Any:  # noqa: ANN401
        """A queue of requests to the compiled network: what takes the memory."""
        queue = import_openvino().AsyncInferQueue(compile_model(self._model, self.precision), 2)
        queue.set_callback(_deliver)
        return queue

    def submit(self, pixels: Pixels) -> Future[Features]:
        """See `Engine.submit`.

        Raises:
            ValueError: when the images have another shape than the engine was made for.
        """
        if pixels.ndim != 4 or pixels.shape[1:] != self._shape:
            raise ValueError(
                f"images of shape {pixels.shape}: this engine takes (N, {', '.join(map(str, self._shape))})"
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
            self._queue = None  # compiled again when it is needed: that takes a moment


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
        whole = core().read_model(convert_backbone(backbone))
        model = normalising(_outputs(whole, preprocess, stages=stages), preprocess)
        super().__init__(model, (preprocess.size, preprocess.size, 3), precision=precision)


def _deliver(request: Any, userdata: tuple[Future[Features], float]) -> None:  # noqa: ANN401
    future, _ = userdata
    try:
        future.set_result(np.array(request.get_output_tensor(0).data, dtype=np.float32))
    except Exception as error:  # a callback's exception would otherwise be lost in a C++ thread
        future.set_exception(error)


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
    graph = sha256_of(backbone.graph) if backbone.graph is not None else None
    key = digest_of([backbone.name, backbone.weights_sha256, version(), graph, backbone.stage_dimension > 0])
    folder = cache_dir() / "models" / f"{backbone.name.replace('/', '-')}-{key}"

    def convert(scratch: Path) -> Any:  # noqa: ANN401
        return _read_graph(backbone, scratch) if backbone.graph is not None else _convert(backbone)

    return cached_model(folder, "trunk.xml", convert)


def cached_model(folder: Path, name: str, make: Callable[[Path], Any]) -> Path:
    """A model in OpenVINO's own format in a folder of the cache, made when it is not there or damaged.

    The folder appears whole, by one rename, with the hashes that `is_intact` checks: of two processes that make it
    at once one keeps what the other made. Where the cache can't be written it lies in a temporary folder instead, until
    the process ends.

    Args:
        folder: of this model alone.
        name: of the file, ending in `.xml`.
        make: a folder for its temporary files → OpenVINO's model.
    """
    if is_intact(folder):
        return folder / name
    if folder not in _ELSEWHERE:
        try:
            return _converted(folder, name, make)
        except OSError as error:
            cannot_write(error)
        _ELSEWHERE[folder] = process_folder() / folder.name
        _converted(_ELSEWHERE[folder], name, make)
    return _ELSEWHERE[folder] / name


#: Models for which the cache had no room: their folders in it → where they lie until the process ends.
_ELSEWHERE: dict[Path, Path] = {}


def _converted(folder: Path, name: str, make: Callable[[Path], Any]) -> Path:
    """Make a model in its folder, which appears whole.

    Raises:
        OSError: when it can't be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        target, model = scratch / name, make(scratch)
        try:
            import_openvino().save_model(model, target, compress_to_fp16=False)
        except RuntimeError as error:  # OpenVINO's word for a full disk is "iostream error"
            raise OSError(errno.EIO, f"the converted model: {error}") from None
        files = (target, target.with_suffix(".bin"))
        write_json(scratch / "hashes.json", signed({"value": {f.name: sha256_of(f) for f in files}}))
        if not is_intact(folder):
            _remove(folder)
            scratch.rename(folder)
    except OSError:
        if not is_intact(folder):  # else another process was faster
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder / name


def _remove(path: Path) -> None:
    """Whatever is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def is_intact(folder: Path) -> bool:
    """Whether the model in a folder of the cache is still what was written."""
    hashes: dict[str, str] | None = read_cached(folder / "hashes.json", dict[str, Sha256])
    try:
        return bool(hashes) and all(sha256_of(folder / name) == digest for name, digest in (hashes or {}).items())
    except OSError:
        return False


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
        program = torch.export.export(module.eval(), (example,), dynamic_shapes=({0: batch},))
    return import_openvino().convert_model(program)


def read(path: Path) -> Any:  # noqa: ANN401
    """A model file as OpenVINO's model."""
    return core().read_model(path)


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
    model = core().read_model(convert_backbone(backbone))
    model.reshape([-1, 3, size, size])
    output = model.get_results()[0 if stage is None else 1 + stage].input_value(0)
    compiled = compile_model(import_openvino().Model([output], model.get_parameters(), "beginning"), precision)

    def run(images: Features) -> Features:
        return np.array(compiled(images)[compiled.output(0)], dtype=np.float32)

    return run


def compile_model(model: Any, precision: str) -> Any:  # noqa: ANN401
    """One stream over all cores; two processes may share them, so threads are not pinned."""
    options = {
        "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
        "ENABLE_CPU_PINNING": False,
    }
    return core().compile_model(model, "CPU", options)


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
