"""Heat maps: a classifier's predictions all over an image, as `predict --map` draws them.

One at a time, in a thread of its own: a map takes as long as many predictions, which must not wait for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image

from foveal.data.images.decode import quiet
from foveal.errors import FovealError, UnreadableImage
from foveal.inference.bundle import Bundle
from foveal.inference.inputs import decode_input
from foveal.serving.problems import Problem
from foveal.serving.schemas import HeatMap
from foveal.serving.settings import ServeSettings
from foveal.serving.uploads import Upload

#: The shorter side of an image has so many windows: a prediction is about half of it.
_WINDOWS = 2
#: The longer side is cut to so many windows.
_MOST_WINDOWS = 5


class Maps:
    """Makes the maps of a classifier; the converted network, and PyTorch, are loaded by the first one.

    Args:
        bundle: the classifier.
        settings: `map_queue`, `map_deadline` and `max_pixels` of it.
    """

    def __init__(self, bundle: Bundle, settings: ServeSettings) -> None:
        self._bundle = bundle
        self._most, self._deadline = settings.map_queue, settings.seconds("map_deadline")
        self._max_pixels = settings.max_pixels
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="map")
        self._predictor: Any = None
        self.waiting = 0

    def close(self) -> None:
        """Stop the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def check(self, count: int) -> None:
        """Refuse maps before anything is computed.

        Raises:
            Problem: 503 when there are as many as may wait.
        """
        if self.waiting + count > self._most:
            raise Problem(
                503,
                "map_queue_full",
                "as many heat maps are waiting as may wait",
                hint="try again, or ask for fewer maps at once",
                headers={"Retry-After": str(2 * max(1, self.waiting))},
            )

    async def __call__(self, images: Sequence[Upload], labels: Sequence[str | None]) -> list[HeatMap | None]:
        """The maps of images, None where a label is None.

        Args:
            images: to draw on.
            labels: the class of each that is shown as heat.

        Raises:
            Problem: 503 when too many are waiting, 504 when the deadline passed, 422 when the network has none.
        """
        self.check(len(images))
        wanted = threading.Event()
        wanted.set()
        loop = asyncio.get_running_loop()
        self.waiting += len(images)

        def counted(image: Upload, label: str | None) -> HeatMap | None:
            try:
                return self._draw(image, label) if label is not None and wanted.is_set() else None
            finally:
                loop.call_soon_threadsafe(self._one_less)

        jobs = [loop.run_in_executor(self._thread, counted, *job) for job in zip(images, labels, strict=True)]
        try:
            async with asyncio.timeout(self._deadline):
                return list(await asyncio.gather(*jobs))
        except TimeoutError:
            raise Problem(
                504, "map_deadline", f"no heat map within {self._deadline:g} s", hint="try again without the map"
            ) from None
        except FovealError as error:
            raise Problem(
                422, "no_map", f"no heat map: {error.message}", hint=error.hint or "ask without the map"
            ) from None
        finally:
            wanted.clear()

    def _one_less(self) -> None:
        self.waiting -= 1

    def _draw(self, image: Upload, label: str) -> HeatMap | None:
        from foveal.evaluation.thumbnails import as_data_uri
        from foveal.inference.outputs.map_files import likeliest_classes, one_class

        background = self._bundle.manifest.preprocess.background
        try:
            with quiet():
                rgb = decode_input(image.content, image.name, max_pixels=self._max_pixels, background=background)
        except UnreadableImage:
            return None  # its prediction says so
        rgb, scale = _at_map_size(rgb, self._bundle.manifest.preprocess.size)
        dense = self._loaded()(rgb)
        _, height, width = dense.probabilities.shape
        return HeatMap(
            label=label,
            heat=as_data_uri(one_class(dense, dense.classes.index(label))),
            likeliest=as_data_uri(likeliest_classes(dense)),
            shape=(height, width),
            window=dense.window / scale,
            stride=dense.stride / scale,
        )

    def _loaded(self) -> Any:  # noqa: ANN401
        if self._predictor is None:
            from foveal.inference.dense_map import DenseMapPredictor

            self._predictor = DenseMapPredictor(self._bundle)
        return self._predictor


def _at_map_size(rgb: Image.Image, window: int) -> tuple[Image.Image, float]:
    """An image at the size at which windows are laid over it, and by what it was scaled."""
    scale = min(_WINDOWS * window / min(rgb.size), _MOST_WINDOWS * window / max(rgb.size))
    size = (max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale)))
    return rgb.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0), scale
