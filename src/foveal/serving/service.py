"""A model that is being served: what the routes share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from foveal.errors import UnreadableImage
from foveal.inference.bundle import Bundle
from foveal.models.shipped import model_path
from foveal.serving.answers import Answering
from foveal.serving.batcher import Batcher, Result
from foveal.serving.corrections import Corrections, unreadable
from foveal.serving.drift import DriftWatch
from foveal.serving.maps import Maps
from foveal.serving.measured import Measured
from foveal.serving.problems import Problem
from foveal.serving.schemas import ImageAnswer, ImageError, Limits, Model, Predictions
from foveal.serving.settings import ServeSettings
from foveal.serving.uploads import Upload, Uploads
from foveal.serving.warm_up import WarmUp
from foveal.values import EARLIER_COVERAGE
from foveal.version import __version__

CLASSIFY = "classify"


class Service:
    """A predictor with its queues, counters and folders.

    Args:
        run: as the user named it.
        bundle: loaded from it.
        answers: what predicts with it.
        warm_up: of it.
        settings: the limits.

    Attributes:
        is_stopping: no further requests are wanted.
    """

    def __init__(
        self, run: str, bundle: Bundle, answers: Answering, warm_up: WarmUp, settings: ServeSettings
    ) -> None:
        self.run, self.settings, self.warm_up = run, settings, warm_up
        self.manifest = bundle.manifest
        self.is_classifier = self.manifest.task == CLASSIFY
        self.measured = Measured()
        self.uploads = Uploads(settings)
        self.batcher = Batcher(answers, settings, self.measured.batch)
        self.maps = Maps(bundle, settings) if self.is_classifier else None
        self.corrections = Corrections(
            settings.corrections_folder(self.manifest.weights_sha256),
            self.manifest.classes,
            most=settings.max_corrections,
            max_pixels=settings.max_pixels,
        )
        validation = self.manifest.provenance.get("validation")
        self.drift = DriftWatch(validation.get("scores") if isinstance(validation, Mapping) else None)
        self.is_stopping = False

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered without a wait for the model."""
        return self.warm_up.is_done and not self.is_stopping

    @property
    def failure(self) -> BaseException | None:
        """Why the model can't be used."""
        return self.warm_up.failure

    async def predict(self, images: Sequence[Upload], *, topk: int, with_map: bool) -> Predictions:
        """The answer to `/v1/predict`.

        Raises:
            Problem: when queue, deadline or map forbid it, or no image could be read.
        """
        if with_map:
            self._checked_maps().check(len(images))
        results = await self.batcher(images, topk)
        answers = [_answer(image, result) for image, result in zip(images, results, strict=True)]
        for answer in answers:
            self.measured.answer(answer)
            self.drift.add(answer)
        unread = [result for result in results if isinstance(result, UnreadableImage)]
        if len(unread) == len(answers):
            raise _no_readable_image(unread)
        if with_map:
            drawn = await self._checked_maps()(images, [answer.label for answer in answers])
            answers = [replace(answer, map=made) for answer, made in zip(answers, drawn, strict=True)]
        return Predictions(self.manifest.weights_sha256[:16], tuple(answers))

    def _checked_maps(self) -> Maps:
        if self.maps is None:
            detail = f"there are no maps for a model of the task {self.manifest.task!r}"
            raise Problem(422, "no_map", detail, hint="ask without map; models of masks answer with them already")
        return self.maps

    def describe(self) -> Model:
        """The answer to `/v1/model`."""
        manifest, settings = self.manifest, self.settings
        kept = ("foveal", "made", "strategy", "data", "trained_on", "validation")
        return Model(
            name=str(manifest.provenance.get("data") or os.path.basename(os.path.normpath(self.run))),
            task=manifest.task,
            classes=manifest.classes,
            sha256=manifest.weights_sha256,
            input=(manifest.preprocess.channels, *manifest.preprocess.box),
            knows_unknown=manifest.knows_unknown,
            maps=self.maps is not None,
            corrections=self.is_classifier,
            has_run=(model_path(self.run) / "summary.json").is_file(),
            needs_token=settings.needs_token,
            limits=Limits(
                max_bytes=settings.max_bytes_n,
                max_images=settings.max_images,
                max_pixels=settings.max_pixels,
                deadline_s=settings.seconds("deadline"),
                queue=settings.queue,
            ),
            provenance={k: manifest.provenance[k] for k in kept if k in manifest.provenance},
            version=__version__,
            colours=self._colours(),
            coverage=manifest.coverage or EARLIER_COVERAGE,
        )

    def _colours(self) -> tuple[str, ...]:
        if self.manifest.label_map is None:
            return ()
        from foveal.inference.outputs.colours import as_hex, colours_of

        return tuple(as_hex(colour) for colour in colours_of(self.manifest.label_map))

    def close(self) -> None:
        """Stop the threads."""
        self.batcher.close()
        if self.maps is not None:
            self.maps.close()


def _answer(image: Upload, result: Result) -> ImageAnswer:
    if isinstance(result, ImageAnswer):
        return result
    return ImageAnswer(image.name, error=ImageError(result.code, result.detail))


def _no_readable_image(unread: Sequence[UnreadableImage]) -> Problem:
    first = unreadable(unread[0])
    if len(unread) == 1:
        return first
    detail = f"none of the {len(unread)} images could be read; the first: {first.detail}"
    return Problem(422, "no_readable_image", detail, hint=first.hint)
