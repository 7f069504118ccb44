"""The images that a command line names: files, folders, globs, and `-` for one on stdin."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from foveal.errors import UsageError

if TYPE_CHECKING:
    from foveal.inference.inputs import ImageInput

#: The name of stdin.
STDIN = "-"


#: Endings of files that hold images, or name them, and what to give instead.
_NO_IMAGES = {
    **dict.fromkeys(
        (".zip", ".tar", ".tgz", ".gz", ".xz", ".bz2", ".7z", ".rar"), "unpack it, and give the folder"
    ),
    **dict.fromkeys((".csv", ".jsonl", ".parquet"), "give the images that it names, or their folder"),
}


def find_named(
    arguments: list[str], *, besides: Path | None = None, on_skipped: Callable[[str], None] = lambda _: None
) -> Iterator[ImageInput]:
    """The images, as they are found.

    Args:
        arguments: as on the command line.
        on_skipped: called with each file of a folder whose name says that it is not an image.
        besides: a file that is left out where it lies in a folder of images: predictions of an earlier call.

    Raises:
        UsageError: at once, for a URL, when a glob matches nothing, or nothing can be read from stdin.
    """
    from foveal.inference.inputs import find_images

    def skip(file: str) -> None:
        if not _is_same_file(file, besides):
            on_skipped(file)

    found = [_stdin() if name == STDIN else find_images([name], skip) for name in arguments]

    def each() -> Iterator[ImageInput]:
        for name, images in zip(arguments, found, strict=True):
            for image in images:
                if image == name or not _is_same_file(image, besides):
                    yield image

    return each()


def files_read(run: str, arguments: list[str], besides: Path | None = None) -> Iterator[str]:
    """The files that a prediction reads or passes over: the model's, the images, and others in their folders.

    Raises:
        UsageError: as `find_named`.
    """
    from foveal.data.images.shards import file_of
    from foveal.models.shipped import bundle_files

    skipped: list[str] = []  # they are not read, and kept all the same
    images = find_named(arguments, besides=besides, on_skipped=skipped.append)
    return chain(
        map(str, bundle_files(run)), (file_of(image) for image in images if isinstance(image, str)), skipped
    )


def hint_about(path: str) -> str | None:
    """What to give instead of a file that holds images, or names them, and is none."""
    return _NO_IMAGES.get(os.path.splitext(path)[1].lower())


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
