"""The images that a command line names: files, folders, globs, and `-` for one on stdin."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from foveal.errors import UsageError

if TYPE_CHECKING:
    from foveal.inference.inputs import ImageInput

#: The name of stdin.
STDIN = "-"


def find_named(arguments: list[str], *, besides: Path | None = None) -> Iterator[ImageInput]:
    """The images, as they are found.

    Args:
        arguments: as on the command line.
        besides: a file that is left out where it lies in a folder of images: predictions of an earlier call.

    Raises:
        UsageError: at once, when a glob matches nothing, or nothing can be read from stdin.
    """
    from foveal.inference.inputs import find_images

    found = [_stdin() if name == STDIN else find_images([name]) for name in arguments]

    def each() -> Iterator[ImageInput]:
        for name, images in zip(arguments, found, strict=True):
            for image in images:
                if image == name or not _is_same_file(image, besides):
                    yield image

    return each()


def files_read(run: str, arguments: list[str], besides: Path | None = None) -> Iterator[str]:
    """The files that a prediction reads: those of the model, and the images; raises as `find_named` does."""
    from foveal.data.images.idx import file_of
    from foveal.models.shipped import bundle_files

    images = find_named(arguments, besides=besides)
    return chain(map(str, bundle_files(run)), (file_of(image) for image in images if isinstance(image, str)))


def paths_among(images: list[ImageInput]) -> list[str]:
    """The images that are files."""
    return [image for image in images if isinstance(image, str)]


def _is_same_file(image: ImageInput, file: Path | None) -> bool:
    return file is not None and isinstance(image, str) and os.path.exists(image) and file.samefile(image)


def _stdin() -> list[ImageInput]:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("no image on stdin", hint=f"as in: foveal predict RUN {STDIN} < image.jpg")
    return [_Stdin()]


class _Stdin:
    """The image on stdin, as a file object with the name that it has on the command line."""

    name = STDIN

    def read(self) -> bytes:
        """All of it."""
        return sys.stdin.buffer.read()
