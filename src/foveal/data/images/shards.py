"""Images inside other files: which file holds one, and its bytes. Other modules need not know the kinds of shards.

A path `shard.tar/key.jpg` is a member of a tar file, `FILE.parquet#7` a row, `train-images-idx3-ubyte#7` an image of an
IDX file (see `idx`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from foveal.data.images import idx, parquet_images, tar_shards
from foveal.data.images.file_kinds import is_named_as_image
from foveal.data.images.storage import is_remote, version_of
from foveal.data.images.tar_shards import Member
from foveal.errors import DataError

#: The endings of shards that are read where they are.
ENDINGS = (tar_shards.ENDING, parquet_images.ENDING)


def is_shard(path: str) -> bool:
    """Whether a path is that of a file with images in it: a tar file, or Parquet with a column of images."""
    return tar_shards.is_tar(path) or parquet_images.holds_images(path)


def in_shard(path: str) -> bool:
    """Whether an image lies in a tar file or in Parquet."""
    return tar_shards.split_member(path) is not None or parquet_images.split_row(path) is not None


def images_in(shard: str) -> Iterator[str]:
    """The paths of the images of a shard, in its order; of a tar file also those that can't be read.

    Raises:
        DataError: when the file is of another form, or damaged at its beginning.
    """
    if shard.lower().endswith(parquet_images.ENDING):
        yield from (f"{shard}#{number}" for number in range(parquet_images.rows_of(shard)))
        return
    for member in tar_shards.members_of(shard):
        if is_image(member):
            yield f"{shard}/{member.name}"


def is_image(member: Member) -> bool:
    """Whether a member is an image by its name, or stands for what could not be read."""
    hidden = os.path.basename(member.name).startswith(".")
    lost = member.problem is not None and member.problem[0] in ("truncated", "broken")
    return lost or (is_named_as_image(member.name) and not hidden)


def content_of(path: str) -> bytes | None:
    """The encoded image at a path inside another file; None when the path names none.

    Raises:
        UnreadableImage: for a member that can't be read.
        DataError: when the file that holds it is damaged.
    """
    if (member := tar_shards.split_member(path)) is not None:
        return tar_shards.read_member(*member)
    if (row := parquet_images.split_row(path)) is not None:
        return parquet_images.read_row(*row)
    return idx.member(path)


def file_of(path: str) -> str:
    """The file that holds an image: the shard, the IDX file, or the path itself."""
    if os.path.exists(path):
        return path
    if (member := tar_shards.split_member(path)) is not None:
        return member[0]
    if (row := parquet_images.split_row(path)) is not None:
        return row[0]
    return idx.file_of(path)


def changed_at(path: str) -> int:
    """When the file that holds an image was changed last, nanoseconds.

    Raises:
        OSError, DataError: when it is gone.
    """
    file = file_of(path)
    return version_of(file)[1] if is_remote(file) else os.stat(file).st_mtime_ns


def reading_order(path: str) -> bytes:
    """A key that sorts images into a random order, which is the same each time; rows of Parquet stay in groups."""
    row = parquet_images.split_row(path)
    if row is None:
        return hashlib.md5(os.fsencode(path)).digest()
    try:
        return parquet_images.reading_order(*row)
    except DataError:
        return hashlib.md5(os.fsencode(path)).digest()
