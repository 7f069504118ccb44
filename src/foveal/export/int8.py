"""Networks in 8-bit integers, by NNCF: calibrated on training images, and bounded in what that costs on held-out ones.

Processors without VNNI add products of 8 bits in 16 bits, which overflows. So weights use half of their range.
The preprocessing stays in fp32: it has to be exact.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foveal.data.images.decode import quiet
from foveal.data.split.split_csv import read_rows
from foveal.engines.openvino_files import save
from foveal.engines.openvino_runtime import compile_model, import_openvino, read
from foveal.errors import DataError, UnreadableImage, UsageError
from foveal.export.images import run_folder
from foveal.inference.bundle import Bundle
from foveal.inference.inputs import decode_input
from foveal.metrics.paired import paired_difference

#: Training images that ranges are taken from, at most: NNCF's own default.
CALIBRATION = 300
#: Held-out images that the loss is measured on: at least, at most.
LEAST_HELD_OUT, MOST_HELD_OUT = 20, 2000

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Loss:
    """What 8 bits cost.

    Attributes:
        n: held-out images.
        before, after: accuracy in fp32 and in int8.
        drop_points: the difference, percentage points.
        drop_ci95: its interval, see `metrics.paired.paired_difference`.
        max_drop: what was allowed, percentage points.
        seen: whether the model was trained on the held-out images as well, after its figures were measured.
    """

    n: int
    before: float
    after: float
    drop_points: float
    drop_ci95: tuple[float, float]
    max_drop: float
    seen: bool

    @property
    def holds(self) -> bool:
        """Whether it is as small as allowed."""
        return self.drop_points <= self.max_drop

    def to_dict(self) -> dict[str, Any]:
        """As in `export.json`."""
        return {**asdict(self), "holds": self.holds}


def quantise(file: Path, bundle: Bundle, run: Path, max_drop: float) -> Loss:
    """Replace a model's file by one in 8 bits.

    Args:
        file: ending in `.xml`, as the OpenVINO format writes it.
        bundle: the model.
        run: its run folder, for the images.
        max_drop: percentage points of accuracy that it may cost.

    Raises:
        UsageError: when NNCF is not installed, or the model is no classifier.
        DataError: when there are too few images.
    """
    nncf = _nncf()
    if bundle.manifest.task != "classify":
        raise UsageError("--int8 is for classifiers of one label for each image", hint="export without --int8")
    train, held_out = _labelled(run, "train")[:CALIBRATION], _labelled(run, "val")[:MOST_HELD_OUT]
    calibration = [pixels for path, _ in train if (pixels := _read(path, bundle)) is not None]
    validation = [
        (pixels, bundle.manifest.classes.index(label))
        for path, label in held_out
        if label in bundle.manifest.classes and (pixels := _read(path, bundle)) is not None
    ]
    if not calibration or len(validation) < LEAST_HELD_OUT:
        raise DataError(
            f"{run}: {len(calibration)} training and {len(validation)} validation images can be opened; int8 needs "
            f"both, and {LEAST_HELD_OUT} of the latter",
            hint="export without --int8",
        )
    model = read(file)
    labels = [label for _, label in validation]

    def right(compiled: Any, images: Iterable[Any]) -> list[bool]:  # noqa: ANN401
        answers = (compiled(image)["probabilities"][0].argmax() for image in images)
        return [int(answer) == label for answer, label in zip(answers, labels, strict=True)]

    def accuracy(compiled: Any, images: Iterable[Any]) -> tuple[float, None]:  # noqa: ANN401
        return float(np.mean(right(compiled, images))), None

    with redirect_stdout(io.StringIO()):  # NNCF draws its progress there
        small = nncf.quantize_with_accuracy_control(
            model,
            calibration_dataset=nncf.Dataset(calibration),
            validation_dataset=nncf.Dataset([pixels for pixels, _ in validation]),
            validation_fn=accuracy,
            max_drop=max_drop / 100,
            subset_size=len(calibration),
            ignored_scope=nncf.IgnoredScope(names=_before_the_network(model), validate=False),
            advanced_quantization_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE
            ),
        )
    images = [pixels for pixels, _ in validation]
    before, after = (right(compile_model(m, "fp32"), images) for m in (model, small))
    scratch = file.parent / "int8"
    scratch.mkdir()
    save(small, scratch / file.name)
    for made in scratch.iterdir():
        made.replace(file.parent / made.name)
    scratch.rmdir()
    return _loss(before, after, max_drop, seen="val" in bundle.manifest.learned_from)


def _loss(before: Sequence[bool], after: Sequence[bool], max_drop: float, *, seen: bool) -> Loss:
    found = paired_difference(np.array(before), np.array(after))
    low, high = found.ci95
    interval = -100 * high, -100 * low
    return Loss(found.n, sum(before) / found.n, sum(after) / found.n, -100 * found.value, interval, max_drop, seen)


def _nncf() -> Any:  # noqa: ANN401
    """NNCF, without telemetry and without its messages.

    Raises:
        UsageError: when it is not installed.
    """
    import_openvino()  # before NNCF, which imports it with its telemetry
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it misses CUDA
    try:
        import nncf
    except ModuleNotFoundError:
        raise UsageError("--int8 needs nncf, which is not installed", hint="pip install 'foveal[int8]'") from None
    nncf.set_log_level(logging.ERROR)
    return nncf


def _labelled(run: Path, subset: str) -> list[tuple[str, str]]:
    """Paths and labels of a subset, in the order of their hashes: a mixture of classes."""
    file = run_folder(run) / "split.csv"
    rows = [row for row in read_rows(file) if row["split"] == subset]
    return [(row["path"], row["label"]) for row in sorted(rows, key=lambda row: row["sha256"])]


def _read(path: str, bundle: Bundle) -> Pixels | None:
    """`(1, H, W, 3)`; None when it can't be read."""
    try:
        with quiet():
            return np.asarray(decode_input(path, path, background=bundle.manifest.preprocess.background))[None]
    except UnreadableImage:
        return None


def _before_the_network(model: Any) -> list[str]:  # noqa: ANN401
    """Names of all operations on which no layer with weights acts before: the preprocessing.

    Raises:
        UsageError: when there is no such layer.
    """
    after: set[str] = set()
    names = []
    for node in model.get_ordered_ops():
        name, sources = (
            node.get_friendly_name(),
            [node.input_value(i).get_node() for i in range(node.get_input_size())],
        )
        if _has_weights(node, sources) or any(source.get_friendly_name() in after for source in sources):
            after.add(name)
        elif node.get_type_name() != "Constant":
            names.append(name)
    if not after:
        raise UsageError("this model has no layer that 8 bits would make faster", hint="export without --int8")
    return names


def _has_weights(node: Any, sources: Sequence[Any]) -> bool:  # noqa: ANN401
    kind = node.get_type_name()
    return kind in ("Convolution", "GroupConvolution") or (
        kind == "MatMul" and any(source.get_type_name() == "Constant" for source in sources)
    )
