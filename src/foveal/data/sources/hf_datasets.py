"""`hf:NAME[:SPLIT]`: a data set of the Hugging Face hub, or a folder that `Dataset.save_to_disk` wrote."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from foveal.data.images.decode import read_file
from foveal.data.sources.datasets import NO_NETWORK, Sample, class_name, only_column, unreachable, write_samples
from foveal.data.sources.listing import subset_of
from foveal.errors import DataError, UsageError
from foveal.files import digest_of

#: Part of the key in the cache: change it when other columns or images are taken.
_VERSION = 1


def fetch_hf(name: str) -> Path:
    """The table of a data set, whose images are in the cache; downloaded by `datasets` if it is not on this machine.

    Raises:
        UsageError: when `datasets` is not installed.
        DataError: when there is no such data set, or it does not hold one image and one class in each row.
    """
    parts = _load(name)
    images, labels = _columns(name, next(iter(parts.values())))
    key = digest_of([_VERSION, {split: part._fingerprint for split, part in parts.items()}, images, labels])
    return write_samples(os.path.basename(name), _samples(parts, images, labels), key)


def _load(text: str) -> dict[str, Any]:
    """The splits, each a `datasets.Dataset`."""
    try:
        import datasets
    except ImportError:
        raise UsageError(f"hf:{text} needs the package datasets", hint="pip install 'foveal[hf]'") from None
    name, _, split = text.partition(":")
    try:
        if os.path.isdir(name) and (
            Path(name, "dataset_info.json").exists() or Path(name, "dataset_dict.json").exists()
        ):
            loaded = datasets.load_from_disk(name)
        else:
            loaded = datasets.load_dataset(name)
    except Exception as error:  # of the network, the hub, or a builder
        words = " ".join(str(error).split())[:200] or type(error).__name__
        hint = "hf:NAME of the hub, or hf:FOLDER of save_to_disk"
        raise DataError(f"hf:{text}: {words}", hint=NO_NETWORK if unreachable(error) else hint) from None
    parts = dict(loaded) if isinstance(loaded, Mapping) else {str(getattr(loaded, "split", None) or "all"): loaded}
    if split and split not in parts:
        raise DataError(f"hf:{text}: no split {split!r}", hint=f"it has {', '.join(parts)}")
    return {split: parts[split]} if split else parts


def _columns(name: str, part: Any) -> tuple[str, str]:  # noqa: ANN401
    import datasets

    kinds = part.features
    images = only_column(f"hf:{name}", "image", [c for c, k in kinds.items() if isinstance(k, datasets.Image)])
    classes = [c for c, k in kinds.items() if isinstance(k, datasets.ClassLabel)]
    return images, only_column(f"hf:{name}", "label", classes or [c for c in ("label", "class") if c in kinds])


def _samples(parts: Mapping[str, Any], images: str, labels: str) -> Iterator[Sample]:
    import datasets

    subsets = {subset_of(split) for split in parts}
    given = "train" in subsets and len(subsets) > 1
    for split, part in parts.items():
        names = getattr(part.features[labels], "names", None)
        raw = part.select_columns([images, labels]).cast_column(images, datasets.Image(decode=False))
        for number, row in enumerate(raw):
            image = row[images] or {}
            content = image.get("bytes") or (read_file(image["path"]) if image.get("path") else b"")
            label = class_name(row[labels], names, f"{split}[{number}]")
            yield Sample(content, label, _suffix(image.get("path")), subset_of(split) if given else None)


def _suffix(path: str | None) -> str:
    suffix = os.path.splitext(path or "")[1].lower()
    return suffix if suffix[1:].isalnum() and len(suffix) < 6 else ".png"
