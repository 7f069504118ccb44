"""Does an exported model answer as the run does? Measured on the user's own images, with an interval."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.config import MAX_PIXELS
from foveal.data.images.decode import quiet
from foveal.errors import DataError
from foveal.export.format import Runner
from foveal.inference.bundle import Bundle
from foveal.inference.classifier import Prediction
from foveal.inference.inputs import decode_input
from foveal.inference.multi_label import LabelSetPrediction
from foveal.inference.predictor import predictor_of
from foveal.inference.segmenter import SegmentationPredictor
from foveal.metrics.intervals import wilson
from foveal.progress import Bar

#: An export is published when at least this share of its answers are the run's …
EQUAL = 0.995
#: … and no probability differs by more.
DIFFERENCE = 0.02


@dataclass(frozen=True)
class Agreement:
    """How far an exported model and its run agree.

    Attributes:
        n: images.
        equal: share of equal answers: labels, with "unknown" where the bundle can tell; of
            several labels for an image all of them; of masks, of the pixels.
        equal_ci95: Wilson's interval. Pixels of one image go together, so for masks n is the number of images.
        largest_difference: between two probabilities of a class; None for masks.
        different: images with another answer; of masks, those with the fewest equal pixels. Ten at most.
    """

    n: int
    equal: float
    equal_ci95: tuple[float, float]
    largest_difference: float | None
    different: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether the export may be published."""
        return self.equal >= EQUAL and (self.largest_difference or 0.0) <= DIFFERENCE

    def to_dict(self) -> dict[str, Any]:
        """As in `export.json`."""
        return {
            **asdict(self),
            "required": {"equal": EQUAL, "largest_difference": DIFFERENCE},
            "holds": self.holds,
        }


def agreement(
    bundle: Bundle, run: Runner, paths: Sequence[str], bar: Bar, *, size: tuple[int, int] | None = None
) -> Agreement:
    """Compare the answers of an exported model with those of its bundle, in fp32.

    Args:
        bundle: the model.
        run: the exported one.
        paths: images; those that can't be read are left out.
        bar: is told of each image.
        size: height and width of the only images that the exported one takes; None: any. Others are left out.

    Raises:
        DataError: when no image is left.
    """
    rows = _masks(bundle, run, paths, size) if bundle.manifest.label_map else _labels(bundle, run, paths)
    shares, differences, different = [], [], []
    for path, share, difference in rows:
        bar(1)
        shares.append(share)
        differences.append(difference)
        if share < 1:
            different.append((share, path))
    if not shares:
        raise DataError(
            "none of the images can be used to check the export"
            + (f", which takes {size[1]} × {size[0]}" if size else ""),
            hint="give images like those that the model will see: --images FOLDER",
        )
    n, total = len(shares), float(sum(shares))
    largest = None if bundle.manifest.label_map else float(max(differences, default=0.0))
    interval = wilson(total, n) or (0.0, 1.0)
    worst = tuple(path for _, path in sorted(different)[:10])
    return Agreement(n, total / n, interval, largest, worst)


def _labels(bundle: Bundle, run: Runner, paths: Iterable[str]) -> Iterator[tuple[str, float, float]]:
    classes = bundle.manifest.classes
    for prediction in predictor_of(bundle, precision="fp32").stream(paths, topk=len(classes)):
        if prediction.error is not None:
            continue
        answers = run(_pixels(bundle, prediction.path))
        by_name = dict(prediction.topk)
        expected = np.array([by_name[name] for name in classes])
        difference = float(np.abs(answers["probabilities"][0] - expected).max())
        yield prediction.path, float(_equal(answers, prediction, classes)), difference


def _equal(answers: Mapping[str, NDArray[Any]], prediction: Prediction, classes: Sequence[str]) -> bool:
    if isinstance(prediction, LabelSetPrediction):
        return {classes[k] for k in np.flatnonzero(answers["labels"][0]).tolist()} == set(prediction.labels)
    equal = classes[int(answers["probabilities"][0].argmax())] == prediction.label
    return equal and ("unknown" not in answers or bool(answers["unknown"][0]) == prediction.unknown)


def _masks(
    bundle: Bundle, run: Runner, paths: Iterable[str], size: tuple[int, int] | None
) -> Iterator[tuple[str, float, float]]:
    predictor = SegmentationPredictor(bundle, precision="fp32")
    for prediction in predictor.stream(paths):
        if prediction.mask is None or prediction.image is None or size not in (None, prediction.mask.shape):
            continue
        found = run(np.asarray(prediction.image)[None])["masks"][0]
        yield prediction.path, float((found == prediction.mask).mean()), 0.0


def _pixels(bundle: Bundle, path: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An image as another program would read it: all of its pixels, upright, in RGB, `(1, H, W, 3)`."""
    with quiet():
        image = decode_input(path, path, max_pixels=MAX_PIXELS, background=bundle.manifest.preprocess.background)
    return np.asarray(image)[None]
