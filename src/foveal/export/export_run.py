"""A run becomes a folder for other runtimes: traced, written, checked on the user's own images, and then published."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveal.errors import UsageError
from foveal.export.agreement import Agreement, agreement
from foveal.export.formats import find_format
from foveal.export.images import LEAST, own_images
from foveal.export.metadata import metadata_of
from foveal.export.published import Unpublished, check_target
from foveal.inference.bundle import load_bundle
from foveal.machine import versions
from foveal.models.shipped import model_path
from foveal.progress import Progress

if TYPE_CHECKING:
    from foveal.export.int8 import Loss

#: Percentage points of accuracy that 8-bit integers may cost.
MAX_DROP = 0.5


@dataclass(frozen=True)
class Exported:
    """What an export came to.

    Attributes:
        folder: where it is, or would have been.
        published: whether it is there: not where it disagrees with the run.
        record: the content of `export.json`.
        agreement: with the run.
        loss: what 8-bit integers cost; None in fp32.
    """

    folder: Path
    published: bool
    record: dict[str, Any]
    agreement: Agreement
    loss: Loss | None = None


def export_run(
    run: str,
    to: str,
    *,
    out: Path | None = None,
    images: str | None = None,
    licence: str | None = None,
    int8: bool = False,
    max_drop: float = MAX_DROP,
    progress: Progress | None = None,
) -> Exported:
    """Export the model of a run, and check it. Nothing is published where it disagrees with the run.

    Args:
        run: a run folder, a bundle, or `model:NAME`.
        to: the name of a format.
        out: the folder to make; by default `exports/FORMAT` in the run.
        images: a folder of images to check on; by default those of the run.
        licence: of the model, written into the file.
        int8: whether the network is to compute in 8-bit integers. Its answers then need not be the run's.
        max_drop: percentage points of accuracy that these may cost.
        progress: is told of each image.

    Raises:
        UnknownName: for an unknown format.
        BundleError: when there is no usable model.
        UsageError: when the model can't be exported, or the folder can't be written.
        DataError: when there are no images to check on.
    """
    format, path, progress = find_format(to), model_path(run), progress or Progress()
    bundle = load_bundle(path)
    folder = out or path / "exports" / (f"{format.name}-int8" if int8 else format.name)
    if int8 and format.graph is None:
        raise UsageError(f"--int8 is not for {format.name}", hint="--to openvino --int8")
    if not 0 <= max_drop <= 100:
        raise UsageError(f"max_drop is {max_drop:g}", hint="percentage points, such as 0.5")
    check_target(folder)
    chosen = own_images(path, images)
    from foveal.export.trace import traced

    with progress.stage("convert"):
        began = time.monotonic()
        graph = traced(bundle, lambda outputs: metadata_of(bundle, outputs, licence))
    unpublished = Unpublished(folder)
    try:
        with unpublished as scratch:
            format.write(graph, scratch)
            loss = None
            if int8 and format.graph is not None:
                from foveal.export.int8 import quantise

                with progress.stage("8-bit integers"):
                    loss = quantise(scratch / format.graph, bundle, path, max_drop)
            converted = time.monotonic() - began
            with progress.stage("compare with the run", len(chosen.paths)) as bar:
                found = agreement(bundle, format.open(scratch), chosen.paths, bar, size=graph.size)
            record = {
                "run": str(path.resolve()),
                "weights_sha256": bundle.manifest.weights_sha256,
                "classes": list(bundle.manifest.classes),
                "outputs": list(graph.outputs),
                "checked_on": {"source": chosen.source, "kinds": chosen.kinds, "enough": found.n >= LEAST},
                "agreement": found.to_dict(),
                "seconds": converted,
                "versions": versions(),
            }
            if loss is not None:
                record["int8"] = loss.to_dict()
            holds = found.holds if loss is None else loss.holds
            if holds:
                unpublished.publish(format, record)
    except OSError as error:
        raise UsageError(
            f"{folder} can't be written: {error.strerror or error}", hint="make room, or give another --out"
        ) from None
    return Exported(folder, holds, record, found, loss)
