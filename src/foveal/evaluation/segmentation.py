"""Predicted masks against targets: figures, and the images that the report shows."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.data.images.decode import decode, read_file
from foveal.errors import UnreadableImage
from foveal.evaluation.confusion import confusion_svg
from foveal.evaluation.thumbnails import as_data_uri
from foveal.inference.outputs.colours import as_hex, colours_of, painted
from foveal.metrics.segmentation import (
    Counts,
    block_bootstrap,
    block_intervals,
    boundary_counts,
    boundary_f1,
    confusion,
    iou,
    mean_boundary_f1,
    miou,
    pixel_accuracy,
)
from foveal.values import LabelMap

Mask = NDArray[np.uint8]

#: Images that the report shows, of each kind.
_SHOWN = {"best": 2, "median": 2, "worst": 4}
#: Long side at which they are drawn, pixels.
_DRAWN = 420


@dataclass(frozen=True)
class MaskPair:
    """One image: its path, the block of neighbours that it belongs to, the prediction and the target `(H, W)`."""

    path: str
    block: str
    prediction: Mask
    target: Mask


@dataclass(frozen=True)
class Example:
    """An image to show: best, median or worst by its own mIoU."""

    path: str
    kind: str
    miou: float
    prediction: Mask
    target: Mask


@dataclass(frozen=True)
class MaskMeasurement:
    """Figures, and the images that illustrate them.

    Attributes:
        figures: as `test` in `summary.json`.
        mistakes: the worst images, `{"path", "miou"}`.
        examples: best, median and worst.
        label_map: of the masks.
    """

    figures: dict[str, Any]
    mistakes: list[dict[str, Any]]
    examples: list[Example]
    label_map: LabelMap
    template: str = field(default="masks", init=False)

    def shown(self) -> dict[str, Any]:
        """The variables of its templates."""
        colours = colours_of(self.label_map)
        classes = self.label_map.classes
        examples = []
        for example in self.examples:
            image = _drawn(example.path)
            if image is None:
                continue
            views = [image, *(painted(image, m, colours) for m in (example.target, example.prediction))]
            examples.append((example, [as_data_uri(v) for v in views]))
        counts = np.array(self.figures["confusion"])
        shares = np.rint(100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).astype(int)
        svg = confusion_svg(shares.tolist(), classes) if self.figures["n"] else ""
        key = [(name, as_hex(c)) for name, c in zip(classes, colours, strict=True)]
        return {"examples": examples, "confusion": svg, "colours": key}


def measure_masks(pairs: Iterable[MaskPair], label_map: LabelMap) -> MaskMeasurement:
    """Count all images as they come; of their masks only a compressed copy is kept.

    Args:
        pairs: images with prediction and target.
        label_map: K classes.
    """
    k = len(label_map.classes)
    paths, blocks, packed, counts, edges = [], [], [], [], []
    for pair in pairs:
        paths.append(pair.path)
        blocks.append(pair.block)
        packed.append((_pack(pair.prediction), _pack(pair.target)))
        counts.append(confusion(pair.prediction, pair.target, k))
        edges.append(boundary_counts(pair.prediction, pair.target, k))
    confusions = np.array(counts, dtype=np.int64).reshape(-1, k, k)
    boundaries = np.array(edges, dtype=np.int64).reshape(-1, k, 4)
    figures = mask_figures(confusions, boundaries, blocks, label_map.classes)
    each = [miou(c) for c in confusions]
    order = sorted((i for i in range(len(paths)) if not np.isnan(each[i])), key=lambda i: each[i])
    examples = [
        Example(paths[i], kind, each[i], _unpack(packed[i][0]), _unpack(packed[i][1]))
        for kind, i in _examples(order)
    ]
    worst = [{"path": paths[i], "miou": each[i]} for i in order[:24]]
    return MaskMeasurement(figures, worst, examples, label_map)


def mask_figures(counts: Counts, edges: Counts, blocks: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    """All figures of `(N, K, K)` confusions and `(N, K, 4)` boundary counts.

    Intervals (95 %) are drawn over blocks of neighbouring frames; None where there are fewer than two.
    """
    place = np.unique(np.array(blocks, dtype=str), return_inverse=True)[1].astype(np.int64)
    total, edge_total = counts.sum(axis=0), edges.sum(axis=0)
    ious, f1s = iou(total), boundary_f1(edge_total)
    rows = total.sum(axis=1)
    known = max(1, int(rows.sum()))
    ends = block_intervals(counts, place, iou)
    per_class = [
        {
            "label": name,
            "iou": _plain(ious[i]),
            "iou_ci95": ends[:, i].tolist() if ends is not None and rows[i] else None,
            "boundary_f1": _plain(f1s[i]),
            "recall": _plain(total[i, i] / rows[i] if rows[i] else np.nan),
            "precision": _plain(total[i, i] / total[:, i].sum() if total[:, i].sum() else np.nan),
            "share": float(rows[i] / known),
            "pictures": int((counts[:, i].sum(axis=1) > 0).sum()),
        }
        for i, name in enumerate(classes)
    ]
    return {
        "n": len(counts),
        "blocks": len(set(blocks)),
        "miou": _plain(miou(total)),
        "miou_ci95": block_bootstrap(counts, place),
        "pixel_accuracy": _plain(pixel_accuracy(total)),
        "pixel_accuracy_ci95": block_bootstrap(counts, place, pixel_accuracy),
        "boundary_f1": _plain(mean_boundary_f1(edge_total)),
        "boundary_f1_ci95": block_bootstrap(edges, place, mean_boundary_f1),
        "per_class": per_class,
        "confusion": total.tolist(),
        "classes_not_tested": [name for i, name in enumerate(classes) if not rows[i]],
    }


def _plain(value: Any) -> float | None:  # noqa: ANN401
    return None if np.isnan(value) else float(value)


def _examples(order: Sequence[int]) -> Iterable[tuple[str, int]]:
    """Kind and image, none of them twice; `order` is from the worst to the best."""
    taken: set[int] = set()
    middle = len(order) // 2
    preferred = {
        "best": order[::-1],
        "median": sorted(order, key=lambda i: abs(order.index(i) - middle)),
        "worst": order,
    }
    for kind, candidates in preferred.items():
        chosen = [i for i in candidates if i not in taken][: _SHOWN[kind]]
        taken.update(chosen)
        yield from ((kind, i) for i in chosen)


def _pack(mask: Mask) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _unpack(content: bytes) -> Mask:
    return np.asarray(Image.open(io.BytesIO(content)))


def _drawn(path: str) -> Image.Image | None:
    """The image at the size of the report; None when it is gone."""
    try:
        image = decode(read_file(path), path)
    except UnreadableImage:
        return None
    scale = _DRAWN / max(image.size)
    return image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
