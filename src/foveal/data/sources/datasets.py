"""Data sets that are no files, such as those of torchvision: written once, as images and a table, into the cache."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from foveal.data.images.arrays import from_pixels
from foveal.data.images.decode import to_rgb
from foveal.data.sources.cached_folder import settle, temporary_beside
from foveal.errors import DataError
from foveal.files import cache_dir
from foveal.values import Subset

#: Files of one folder; some file systems are slow with many more.
_PER_FOLDER = 1000
#: The hint where a data set can't be reached.
NO_NETWORK = "is there a network? it is not on this machine, and its server can't be reached from here"
#: Modes that a PNG holds without loss; others are made RGB, as in decoding.
_LOSSLESS = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}


@dataclass(frozen=True)
class Sample:
    """One image of a data set.

    Attributes:
        content: an image file.
        label: its class; None where it is not known.
        suffix: of the file's name, with its dot.
        split: the subset that it was given to.
    """

    content: bytes
    label: str | None
    suffix: str = ".png"
    split: Subset | None = None


def materialise(dataset: Any, on_each: Callable[[int], None] = lambda _: None) -> Path:  # noqa: ANN401
    """Write a data set in the style of torchvision into the cache, unless the same one is there already.

    Images are stored without loss. Those of an `ImageFolder` without transforms stay where they are.

    Args:
        dataset: items `(image, label)`: a Pillow image, a tensor or an array (see `images.arrays`), and a class as
            its position in the attribute `classes`, or a name. It is read once, from the first item to the last.
        on_each: called with the number of items read since the last call.

    Returns:
        A table, JSON lines of `path` and `label`, to be used as DATA.

    Raises:
        DataError: for an item that is not a pair, a label that is not one class, or no items at all.
        UsageError: for an image of another form.
    """
    name = type(dataset).__name__
    names = _class_names(dataset)
    if (files := _files_of(dataset)) is not None:
        return write_table(name, [{"path": path, "label": class_name(i, names, path)} for path, i in files])
    return write_samples(name, _samples(dataset, name, names, on_each))


def write_samples(name: str, samples: Iterable[Sample], key: str | None = None) -> Path:
    """Write images and their table into the cache.

    Args:
        name: short, for people.
        samples: to be written, in order.
        key: identifies the data set, where that is known without reading it; otherwise its content does.

    Returns:
        The table.
    """
    base = cache_dir() / "datasets"
    if key is not None and (table := _table_in(_folder(base, name, key))).is_file():
        return table
    content = hashlib.sha256()
    with temporary_beside(base / "new") as part:
        rows = []
        for number, sample in enumerate(samples):
            inner = Path("images", f"{number // _PER_FOLDER:03d}", f"{number:06d}{sample.suffix}")
            (part / inner).parent.mkdir(parents=True, exist_ok=True)
            (part / inner).write_bytes(sample.content)
            content.update(hashlib.sha256(sample.content).digest())
            rows.append({"path": str(inner), "label": sample.label, "split": sample.split})
        if not rows:
            raise DataError(f"{name}: the data set is empty", hint="give one with images and labels")
        text = _as_lines(rows)
        content.update(text.encode("utf-8", "surrogateescape"))
        folder = _folder(base, name, key or content.hexdigest()[:16])
        _table_in(part, folder).write_text(text, encoding="utf-8", errors="surrogateescape")
        settle(part, folder)
    return _table_in(folder)


def write_table(name: str, rows: Sequence[Mapping[str, str | None]]) -> Path:
    """Write a table of images that lie elsewhere into the cache, named by its content."""
    text = _as_lines(rows)
    key = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    folder = _folder(cache_dir() / "datasets", name, key)
    if not folder.is_dir():
        with temporary_beside(folder) as part:
            _table_in(part, folder).write_text(text, encoding="utf-8", errors="surrogateescape")
            settle(part, folder)
    return _table_in(folder)


def encoded(image: Any, name: str) -> bytes:  # noqa: ANN401
    """A Pillow image, upright, or an array or a tensor as a PNG file.

    Raises:
        UsageError: when it is none of them.
    """
    opened = image if isinstance(image, Image.Image) else from_pixels(image, name)
    upright = ImageOps.exif_transpose(opened)
    png = io.BytesIO()
    (upright if upright.mode in _LOSSLESS else to_rgb(upright)).save(png, "PNG", compress_level=1)
    return png.getvalue()


def unreachable(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, is about the connection; libraries have classes of their own for it."""
    while error is not None:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if kinds & {
            "ConnectionError",
            "ConnectError",
            "ConnectTimeout",
            "OfflineModeIsEnabled",
            "gaierror",
            "URLError",
        }:
            return True
        error = error.__cause__ or error.__context__
    return False


def only_column(where: str, wanted: str, found: Sequence[str]) -> str:
    """The one column of a kind; among several the one that is named like it.

    Raises:
        DataError: when there is none, or it can't be told which.
    """
    if wanted in found or len(found) == 1:
        return wanted if wanted in found else found[0]
    several = f"which column is the {wanted}: {' or '.join(found)}?" if found else f"no column with one {wanted}"
    raise DataError(f"{where}: {several}", hint="one image and one class in each row are needed")


def class_name(label: Any, names: Sequence[str] | None, where: str) -> str | None:  # noqa: ANN401
    """One label as the name of its class; None where it is unknown: None, or -1 where classes have names.

    Args:
        label: a position in `names`, a name, or a number or tensor of one element.
        names: of the classes, if they have any.
        where: the item, for messages.

    Raises:
        DataError: for several labels, and for a position without a name.
    """
    if hasattr(label, "item") and getattr(label, "ndim", 1) == 0:
        label = label.item()
    if isinstance(label, bytes):
        label = label.decode("utf-8", "surrogateescape")
    if label is None or isinstance(label, str):
        return label
    if not isinstance(label, int | float):
        raise DataError(
            f"{where}: the label {str(label)[:60]} is not one class",
            hint="give one class for each image; several labels for an image are not supported yet",
        )
    if names is None:
        return str(label)
    if label == -1:
        return None
    if label != int(label) or not 0 <= label < len(names):
        raise DataError(f"{where}: class {label}, where there are {len(names)}", hint="count classes from 0")
    return names[int(label)]


def _samples(
    dataset: Any,  # noqa: ANN401
    name: str,
    names: Sequence[str] | None,
    on_each: Callable[[int], None],
) -> Iterator[Sample]:
    for number, item in enumerate(_items(dataset)):
        where = f"{name}[{number}]"
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"{where}: not a pair of image and label", hint="items must be (image, label)")
        image, label = item
        yield Sample(encoded(image, where), class_name(label, names, where))
        on_each(1)


def _items(dataset: Any) -> Iterator[Any]:  # noqa: ANN401
    """By position where there is a length: some data sets never raise the IndexError that would end a loop."""
    if hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        return (dataset[i] for i in range(len(dataset)))
    if hasattr(dataset, "__iter__"):
        return iter(dataset)
    raise DataError(f"{type(dataset).__name__}: not a data set", hint="its items must be (image, label)")


def _class_names(dataset: Any) -> list[str] | None:  # noqa: ANN401
    """The names of the classes, of a data set or of that which it is a `Subset` of."""
    while getattr(dataset, "classes", None) is None and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    classes = getattr(dataset, "classes", None)
    if classes is None:
        return None
    # Some name a class by several words, as torchvision's ImageNet does.
    return [", ".join(map(str, c)) if isinstance(c, tuple | list) else str(c) for c in classes]


def _files_of(dataset: Any) -> list[tuple[str, int]] | None:  # noqa: ANN401
    """Paths and labels of an `ImageFolder` that changes nothing; None where that can't be told."""
    samples = getattr(dataset, "samples", None)
    if not isinstance(samples, list) or len(samples) != len(dataset):
        return None
    if any(getattr(dataset, name, None) is not None for name in ("transform", "target_transform", "transforms")):
        return None
    if not all(isinstance(s, tuple) and len(s) == 2 and isinstance(s[0], str) for s in samples):
        return None
    return [(str(Path(path).absolute()), label) for path, label in samples]


def _folder(base: Path, name: str, key: str) -> Path:
    return base / f"{re.sub(r'[^a-zA-Z0-9_.-]+', '-', name)[:60] or 'data'}-{key}"


def _table_in(folder: Path, named: Path | None = None) -> Path:
    """The table of a data set's folder, named like the data set."""
    return folder / f"{(named or folder).name.rpartition('-')[0]}.jsonl"


def _as_lines(rows: Sequence[Mapping[str, str | None]]) -> str:
    return "".join(
        json.dumps({k: v for k, v in row.items() if v is not None or k == "label"}, ensure_ascii=False) + "\n"
        for row in rows
    )
