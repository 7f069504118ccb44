"""`tfds:NAME[:SPLIT]`: a data set of TensorFlow Datasets, read as a data source, without TensorFlow."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from foveal.data.sources.datasets import (
    NO_NETWORK,
    Sample,
    class_name,
    encoded,
    only_column,
    unreachable,
    write_samples,
)
from foveal.data.sources.listing import subset_of
from foveal.errors import DataError, UsageError
from foveal.files import cache_dir, digest_of

#: Part of the key in the cache: change it when other features or images are taken.
_VERSION = 1


def fetch_tfds(text: str) -> Path:
    """The table of a data set, whose images are in the cache; downloaded and prepared if it is not on this machine.

    It is looked for, and prepared, in `TFDS_DATA_DIR`, or in foveal's cache where that is not set.

    Raises:
        UsageError: when `tensorflow-datasets` is not installed.
        DataError: when there is no such data set, or it does not hold one image and one class in each item.
    """
    name, _, split = text.partition(":")
    builder, sources = _load(name)
    if split and split not in sources:
        raise DataError(f"tfds:{text}: no split {split!r}", hint=f"it has {', '.join(sources)}")
    parts = {split: sources[split]} if split else sources
    features = builder.info.features
    kinds = {column: type(kind).__name__ for column, kind in features.items()}
    images = only_column(f"tfds:{name}", "image", [c for c, k in kinds.items() if k == "Image"])
    labels = only_column(f"tfds:{name}", "label", [c for c, k in kinds.items() if k == "ClassLabel"])
    made = os.stat(os.path.join(builder.data_dir, "dataset_info.json")).st_mtime_ns
    key = digest_of([_VERSION, str(builder.info.full_name), str(builder.data_dir), made, sorted(parts)])
    return write_samples(name, _samples(parts, images, labels, features[labels].names), key)


def _load(name: str) -> tuple[Any, Mapping[str, Any]]:
    """The builder, and a random access source for each split."""
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise UsageError(
            f"tfds:{name} needs the package tensorflow-datasets", hint="pip install 'foveal[tfds]'"
        ) from None
    folder = os.environ.get("TFDS_DATA_DIR") or str(cache_dir() / "tfds")
    try:
        builder = tfds.builder(name, data_dir=folder, file_format="array_record")
        with redirect_stdout(sys.stderr):  # it prints what it does; stdout is for results
            builder.download_and_prepare()
            return builder, builder.as_data_source()
    except ImportError as error:  # of a package that a builder needs beside tensorflow-datasets
        hint = (
            f"pip install 'foveal[tfds]'; if that is done: pip install {error.name or 'the package that it names'}"
        )
        raise UsageError(f"tfds:{name} needs a package that is missing: {error}", hint=hint) from None
    except Exception as error:  # of the network or a builder
        words = " ".join(str(error).split())[:200] or type(error).__name__
        hint = NO_NETWORK if unreachable(error) else "a name of the catalogue of TensorFlow Datasets"
        raise DataError(f"tfds:{name}: {words}", hint=hint) from None


def _samples(parts: Mapping[str, Any], images: str, labels: str, names: list[str]) -> Iterator[Sample]:
    subsets = {subset_of(split) for split in parts}
    given = "train" in subsets and len(subsets) > 1
    for split, source in parts.items():
        for number in range(len(source)):
            item, where = source[number], f"{split}[{number}]"
            subset = subset_of(split) if given else None
            yield Sample(encoded(item[images], where), class_name(item[labels], names, where), split=subset)
