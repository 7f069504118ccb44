"""What a model predicts on: files by name, encoded images in memory, open images and arrays."""

from __future__ import annotations

import glob
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeGuard, cast, runtime_checkable

from PIL import Image

from foveal.config import MAX_PIXELS
from foveal.data.images.array_batches import SupportsArray, as_numpy_or_tensor, is_array, split_array
from foveal.data.images.arrays import from_pixels
from foveal.data.images.decode import REASONS, WHITE, decode, finish, read_file
from foveal.data.images.file_kinds import may_be_image
from foveal.data.images.idx import is_idx, read_idx
from foveal.data.images.shards import ENDINGS, images_in, is_shard
from foveal.data.images.storage import is_remote, named_files
from foveal.errors import URL_HINT, UnreadableImage, UsageError, is_url


@runtime_checkable
class BinaryFile(Protocol):
    """A file object that was opened in binary mode."""

    def read(self) -> bytes:
        """All that is left of its content."""
        ...


@runtime_checkable
class ImageDataset(Protocol):
    """A data set as torchvision has them: items are an image and its label."""

    def __len__(self) -> int:
        """How many items it has."""
        ...

    def __getitem__(self, index: int, /) -> tuple[ImageInput, object]:
        """One image with its label."""
        ...


#: An image: a file by name; the content of an image file, as bytes or as a binary file object; an open Pillow
#: image; an array or a tensor `(H, W)`, `(H, W, C)` or `(C, H, W)`, C being 1, 3 or 4.
ImageInput = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryFile | Image.Image | SupportsArray
#: One image or several: a folder and a glob, too, and arrays of one dimension more.
Images = ImageInput | Iterable[ImageInput] | ImageDataset

#: Pillow decodes an open image when it is first used, and not from two threads at once. One lock for each image
#: would have to be kept with it, so images share a few.
_DECODING = tuple(threading.Lock() for _ in range(64))


def name_of(image: ImageInput, number: int = 0) -> str:
    """The path of an image, or the name of a file object; `<image N>` for one that has none."""
    if _is_path(image):
        return os.fspath(image)
    name = getattr(image, "name", None) if isinstance(image, BinaryFile) else None
    return name if isinstance(name, str) else f"<image {number}>"


def decode_input(
    image: ImageInput,
    name: str,
    *,
    shrink_to: int | None = None,
    max_pixels: int = MAX_PIXELS,
    background: tuple[int, int, int] = WHITE,
) -> Image.Image:
    """Any image as a decoded RGB image; the arguments are those of `decode`.

    Raises:
        UnreadableImage: with its reason code.
        UsageError: when it is none of `ImageInput`.
    """
    if isinstance(image, Image.Image):
        with _DECODING[id(image) % len(_DECODING)]:
            return finish(image, name, shrink_to=shrink_to, background=background)
    content = _content_of(image, name)
    if content is None:
        return finish(_from_array(image, name), name, shrink_to=shrink_to, background=background)
    return decode(content, name, shrink_to=shrink_to, max_pixels=max_pixels, background=background)


def _from_array(image: ImageInput, name: str) -> Image.Image:
    if not is_array(image):
        raise UsageError(
            f"{name}: {type(image).__name__} is not an image",
            hint="give a path, bytes, a Pillow image or an array",
        )
    return from_pixels(as_numpy_or_tensor(image), name)


def _content_of(image: ImageInput, name: str) -> bytes | None:
    """The encoded content of an image; None where it is pixels already."""
    if _is_path(image):
        return read_file(os.fspath(image))
    if isinstance(image, BinaryFile):
        content = image.read()
        if not isinstance(content, bytes):
            raise UsageError(f"{name}: its read() returns text", hint="open the file in binary mode, 'rb'")
    elif isinstance(image, bytes | bytearray | memoryview):
        content = bytes(image)
    else:
        return None
    if not content:
        raise UnreadableImage(name, "empty_file", REASONS["empty_file"])
    return content


def each_image(images: Images, *, grey: bool = False) -> Iterable[ImageInput]:
    """The images of one image, a folder, a glob, an array of images or of names, a data set, or anything to loop over.

    Args:
        images: generators are consumed as images are needed; of a data set's items `(image, label)` the image counts.
        grey: arrays of three dimensions are several grey images; see `images.array_batches`.

    Raises:
        UsageError: at once, when a glob matches nothing, or an array holds no images.
    """
    if _is_path(images):
        return find_images([images])
    if isinstance(images, bytes | bytearray | memoryview | Image.Image | BinaryFile | Mapping):
        return [images]  # type: ignore[list-item]  # a mapping is refused as an image
    if is_array(images):
        return split_array(images, grey=grey)
    if isinstance(images, Iterable):
        return images
    if isinstance(images, ImageDataset):
        return (cast(ImageInput, _image_in(item)) for item in each_item(images))
    return [images]  # refused as an image


def _image_in(item: object) -> object:
    """The image of an item `(image, label)`, or the item."""
    return item[0] if isinstance(item, tuple | list) and item else item


def each_item(dataset: ImageDataset | Iterable[object]) -> Iterator[object]:
    """The items of a data set: by position where that is possible, since some never raise an IndexError."""
    if isinstance(dataset, ImageDataset):
        return (dataset[i] for i in range(len(dataset)))
    return iter(dataset)


def find_images(
    patterns: Sequence[str | os.PathLike[str]], on_skipped: Callable[[str], None] = lambda _: None
) -> Iterator[str]:
    """Files named by paths, folders and globs, as they are found.

    Of a folder, everything below it counts, except hidden files and those whose name says that they are not images.
    A name that is none of these is passed on: it becomes a prediction with an error.

    Args:
        patterns: the names.
        on_skipped: called with each file of a folder whose name says that it is not an image.

    Raises:
        UsageError: at once, when a glob matches nothing, and for a URL.
    """
    names = [os.fspath(p) for p in patterns]
    for name in names:
        if is_url(name) and not (is_remote(name) and name.lower().endswith(ENDINGS)):
            raise UsageError(f"{name} is a URL, and foveal does not download it", hint=URL_HINT)
        if _is_glob(name) and not is_remote(name) and next(glob.iglob(name, recursive=True), None) is None:
            raise UsageError(f"{name}: no file matches", hint="quote the pattern and check the folder")

    return _matching(names, on_skipped)


def _matching(names: Sequence[str], on_skipped: Callable[[str], None]) -> Iterator[str]:
    for name in names:
        for match in _names(name):
            yield from _below(match, on_skipped) if os.path.isdir(match) else _images_in(match)


def _images_in(file: str) -> Iterator[str]:
    """A file, or each image of an IDX file or a shard."""
    if is_shard(file):
        yield from images_in(file)
    elif is_idx(file) and os.path.isfile(file):
        yield from (f"{file}#{i}" for i in range(len(read_idx(file))))
    else:
        yield file


def _below(folder: str, on_skipped: Callable[[str], None]) -> Iterator[str]:
    for current, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(f for f in files if not f.startswith(".")):
            path = os.path.join(current, name)
            if name.lower().endswith(ENDINGS) and is_shard(path):
                yield from images_in(path)
            elif may_be_image(path):
                yield path
            else:
                on_skipped(path)


def _names(name: str) -> Sequence[str]:
    """What a glob matches, and the shards that braces name."""
    if name.lower().endswith(ENDINGS):
        return named_files(name)
    return sorted(glob.iglob(name, recursive=True)) if _is_glob(name) else (name,)


def _is_glob(name: str) -> bool:
    return glob.has_magic(name) and not os.path.exists(name)


def _is_path(image: object) -> TypeGuard[str | os.PathLike[str]]:
    return isinstance(image, str | os.PathLike)
