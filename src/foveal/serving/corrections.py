"""Mistakes that come back: an image with its right label, in a folder of its own, for `foveal train --corrections`.

images/SHA256.jpg …    each image as it was sent, named by its content
corrections.csv        path,label: a table that `foveal train --corrections` takes
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection
from pathlib import Path

from filelock import FileLock

from foveal.data.images.decode import finish, open_image, quiet
from foveal.data.sources.corrections import FILE_NAME
from foveal.errors import UnreadableImage
from foveal.files import CsvWriter, read_csv, write_bytes, write_text
from foveal.serving.problems import Problem
from foveal.serving.uploads import Upload

_IMAGES = "images"
#: Pillow's name of a format → the ending of the file. The client's name plays no part.
_ENDINGS = {
    "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "DIB": "bmp", "TIFF": "tif",
    "PPM": "ppm", "AVIF": "avif", "JPEG2000": "jp2", "ICO": "ico", "TGA": "tga",
}  # fmt: skip


class Corrections:
    """The folder of corrections of a model; several processes may share one.

    Args:
        folder: made when the first correction comes.
        classes: labels that may be given.
        most: images that it may hold.
        max_pixels: of an image.
    """

    def __init__(self, folder: Path, classes: Collection[str], *, most: int, max_pixels: int) -> None:
        self.folder = folder
        self._classes, self._most, self._max_pixels = frozenset(classes), most, max_pixels

    def store(self, image: Upload, label: str | None) -> int:
        """Keep an image with its right label; a later label of the same image replaces an earlier one.

        Returns:
            How many corrections there are.

        Raises:
            Problem: 409 when the folder is full, 422 for an unknown label or an image that can't be read.
        """
        if label not in self._classes:
            raise Problem(
                422, "unknown_label", "the label is not a class of this model", hint="see classes in /v1/model"
            )
        ending = self._checked(image)
        path = f"{_IMAGES}/{hashlib.sha256(image.content).hexdigest()}.{ending}"
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            labels = self._labels()
            if path not in labels and len(labels) >= self._most:
                raise Problem(
                    409,
                    "corrections_full",
                    f"there are {len(labels)} corrections already",
                    hint="train with them and empty the folder, or allow more with --max-corrections",
                )
            if not (self.folder / path).is_file():
                write_bytes(self.folder / path, image.content)
            labels[path] = label
            self._write(labels)
        return len(labels)

    def _checked(self, image: Upload) -> str:
        """The ending for an image that can be decoded whole."""
        try:
            with quiet():
                opened = open_image(image.content, image.name, max_pixels=self._max_pixels)
                ending = _ENDINGS[opened.format or ""]
                finish(opened, image.name)
        except UnreadableImage as error:
            raise unreadable(error) from None
        return ending

    def _labels(self) -> dict[str, str]:
        try:
            with (self.folder / FILE_NAME).open(encoding="utf-8", newline="") as lines:
                return {row["path"]: row["label"] for row in read_csv(lines)}
        except FileNotFoundError:
            return {}

    def _write(self, labels: dict[str, str]) -> None:
        buffer = io.StringIO()
        writer = CsvWriter(buffer)
        writer.writerow(("path", "label"))
        for row in labels.items():
            writer.writerow(row)
        write_text(self.folder / FILE_NAME, buffer.getvalue())


def unreadable(error: UnreadableImage) -> Problem:
    """The refusal of a request whose image can't be read."""
    return Problem(
        422,
        error.code,
        error.detail,
        hint="send an image such as JPEG, PNG or WebP that other programs can open, within the limits of /v1/model",
    )
