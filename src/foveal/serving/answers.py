"""How images are predicted for a client, by the kind of predictor; the answer is what the API returns as JSON.

A predictor of another task is served through its `stream`, or by a class that is registered here.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from msgspec.structs import replace
from PIL import Image

from foveal.data.images.decode import quiet
from foveal.errors import UnreadableImage
from foveal.inference.classifier import ClassificationPredictor
from foveal.inference.inputs import decode_input
from foveal.inference.multi_label import MultiLabelPredictor
from foveal.inference.predictor import Predictor
from foveal.inference.segmenter import SegmentationPredictor
from foveal.serving.schemas import ClassProbability, ClassShare, ImageAnswer


class Answering(Protocol):
    """Images in, answers out, in two parts: the first runs in several threads, the second in few.

    Attributes:
        batch_size: how many images are computed at once, at most.
        in_flight: how many threads call `answer`.
    """

    batch_size: int
    in_flight: int

    def warm_up(self) -> None:
        """Do now what the first image would have to wait for."""
        ...

    def prepare(self, content: bytes, name: str) -> Any:  # noqa: ANN401
        """Decode an image.

        Raises:
            UnreadableImage: with its reason code.
        """
        ...

    def answer(
        self, names: Sequence[str], prepared: Sequence[Any], topk: int
    ) -> list[ImageAnswer | UnreadableImage]:
        """The answers for what `prepare` returned, or why there is none."""
        ...


class LabelAnswers:
    """Of a classifier: while one batch is computed, another is prepared for the engine or answered."""

    in_flight = 2

    def __init__(self, predictor: ClassificationPredictor, *, max_pixels: int, max_batch: int) -> None:
        self._predictor, self._max_pixels, self.batch_size = predictor, max_pixels, max_batch

    def warm_up(self) -> None:
        """See `Answering`; batches larger than the engine's own would be slower."""
        self.batch_size = min(self.batch_size, self._predictor.warm_up())

    def prepare(self, content: bytes, name: str) -> Any:  # noqa: ANN401
        """See `Answering`."""
        return self._predictor.prepare(content, name, max_pixels=self._max_pixels)

    def answer(
        self, names: Sequence[str], prepared: Sequence[Any], topk: int
    ) -> list[ImageAnswer | UnreadableImage]:
        """See `Answering`."""
        topk = min(topk, len(self._predictor.bundle.manifest.classes))
        made = self._predictor.predict_prepared(names, prepared, topk=topk)
        return [self._one(p) for p in made]

    def _one(self, prediction: Any) -> ImageAnswer:  # noqa: ANN401
        return ImageAnswer(
            name=prediction.path,
            label=prediction.label,
            probability=prediction.probability,
            topk=tuple(ClassProbability(*pair) for pair in prediction.topk),
            set=prediction.set,
            unknown=prediction.unknown,
            p_value=prediction.p_value,
        )


class LabelSetAnswers(LabelAnswers):
    """Of a model that gives several labels to an image."""

    def _one(self, prediction: Any) -> ImageAnswer:  # noqa: ANN401
        return replace(super()._one(prediction), labels=prediction.labels)


class MaskAnswers:
    """Of a segmenter: the share of each class, and the mask as a PNG whose values are positions in the classes."""

    batch_size = in_flight = 1  # images have sizes of their own

    def __init__(self, predictor: SegmentationPredictor, *, max_pixels: int, max_batch: int) -> None:
        self._predictor, self._max_pixels = predictor, max_pixels

    def warm_up(self) -> None:
        """See `Answering`."""
        side = 64
        self._predictor.predict_mask(Image.new("RGB", (side, side)))

    def prepare(self, content: bytes, name: str) -> Image.Image:
        """See `Answering`."""
        background = self._predictor.bundle.manifest.preprocess.background
        return decode_input(content, name, max_pixels=self._max_pixels, background=background)

    def answer(
        self, names: Sequence[str], prepared: Sequence[Any], topk: int
    ) -> list[ImageAnswer | UnreadableImage]:
        """See `Answering`."""
        return [self._one(name, rgb, topk) for name, rgb in zip(names, prepared, strict=True)]

    def _one(self, name: str, rgb: Image.Image, topk: int) -> ImageAnswer | UnreadableImage:
        made = next(iter(self._predictor.stream([rgb])))
        if made.mask is None:
            code, _, words = (made.error or "broken: no mask").partition(": ")
            return UnreadableImage(name, code, words)
        classes = self._predictor.label_map.classes
        counts = np.bincount(made.mask.ravel(), minlength=len(classes))[: len(classes)]
        order = [k for k in np.argsort(-counts, kind="stable").tolist() if counts[k]]
        return ImageAnswer(
            name=name,
            label=classes[order[0]],
            shares=tuple(ClassShare(classes[k], float(counts[k] / made.mask.size)) for k in order[:topk]),
            size=rgb.size,
            mask=png_uri(Image.fromarray(made.mask)),
        )


class StreamAnswers:
    """Of any other predictor, by its public `stream`: a prediction has a `label`, and maybe a `probability`."""

    batch_size = in_flight = 1

    def __init__(self, predictor: Predictor, *, max_pixels: int, max_batch: int) -> None:
        self._predictor, self._max_pixels = predictor, max_pixels

    def warm_up(self) -> None:
        """See `Answering`."""

    def prepare(self, content: bytes, name: str) -> Image.Image:
        """See `Answering`."""
        return decode_input(content, name, max_pixels=self._max_pixels)

    def answer(
        self, names: Sequence[str], prepared: Sequence[Any], topk: int
    ) -> list[ImageAnswer | UnreadableImage]:
        """See `Answering`."""
        made = self._predictor.stream(prepared, topk=topk)
        return [
            ImageAnswer(name=name, label=str(p.label), probability=getattr(p, "probability", None))
            for name, p in zip(names, made, strict=True)
        ]


#: By the class of the predictor; of several that fit, the last.
ANSWERS: dict[type, Callable[..., Answering]] = {
    ClassificationPredictor: LabelAnswers,
    SegmentationPredictor: MaskAnswers,
    MultiLabelPredictor: LabelSetAnswers,
}


def register_answers(predictor: type, answers: Callable[..., Answering]) -> None:
    """Answer for predictors of a class by what `answers` makes of one, `max_pixels` and `max_batch`."""
    ANSWERS[predictor] = answers


def answers_of(predictor: Predictor, *, max_pixels: int, max_batch: int) -> Answering:
    """How a predictor is served."""
    known = (made for kind, made in reversed(ANSWERS.items()) if isinstance(predictor, kind))
    made: Callable[..., Answering] = next(known, StreamAnswers)
    return made(predictor, max_pixels=max_pixels, max_batch=max_batch)


def png_uri(image: Image.Image) -> str:
    """An image as a PNG in a data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def prepared_quietly(answers: Answering, content: bytes, name: str) -> Any:  # noqa: ANN401
    """`prepare` without Pillow's own warnings and limit: the limit is checked by it."""
    with quiet():
        return answers.prepare(content, name)
