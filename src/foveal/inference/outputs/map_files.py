"""A dense map as images that a person can read: the likeliest class at each place, and each class as heat."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from foveal.data.wording import count_of
from foveal.errors import UnreadableImage
from foveal.files import replacing, write_json
from foveal.inference.dense_map import DenseMap, DenseMapPredictor
from foveal.inference.inputs import ImageInput
from foveal.inference.outputs.drawing import PALETTE, as_rgb, at_display_size, save_png, with_key
from foveal.inference.outputs.names import DIGESTS, Names, digests_of, shortened
from foveal.values import SCHEMA

if TYPE_CHECKING:
    from foveal.models.fcn_conversion.convert import FullyConvolutional

_REST = (128, 128, 128)
#: Dark to bright, with about even steps of lightness (some points of matplotlib's inferno).
_HEAT = np.array([[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]], float)
#: Classes that get an image of their own: those with the highest peaks.
_SHOWN = 8
#: Bytes of a class's name that the name of its image keeps.
_LONGEST_LABEL = 100


def write_maps(dense: DenseMap, folder: Path, names: Names | None = None) -> dict[str, Any]:
    """Write the array, the images and a record of them; returns the record, as `maps[]` of `--json`.

    Files: `NAME.npy` `(K, h, w)`, `NAME.png` (the likeliest class at each place), `NAME-CLASS.png` for the classes
    with the highest peaks, `NAME.json`; where the model can tell, `NAME-none.npy` `(h, w)`, the probability of
    none of the classes. NAME is the image's own, as long as no other file has it; `names` gives the names of
    several images.
    """
    peaks = dense.probabilities.max(axis=(1, 2))
    shown = _names_of([dense.classes[k] for k in np.argsort(-peaks, kind="stable")[:_SHOWN].tolist()])
    endings = [".npy", ".png", "-none.npy", ".json", *(f"-{plain}.png" for plain in shown.values())]
    name = (names or Names(folder)).fresh(dense.path, endings)
    files = {"array": folder / f"{name}.npy", "overlay": folder / f"{name}.png"}
    with replacing(files["array"]) as part, part.open("wb") as stream:
        np.save(stream, dense.probabilities)
    if dense.outside is not None:
        files["none"] = folder / f"{name}-none.npy"
        with replacing(files["none"]) as part, part.open("wb") as stream:
            np.save(stream, dense.outside)
    save_png(likeliest_classes(dense), files["overlay"])
    heat = {label: folder / f"{name}-{plain}.png" for label, plain in shown.items()}
    for label, target in heat.items():
        save_png(one_class(dense, dense.classes.index(label)), target)
    wins = _is_likeliest(dense)
    record = {
        "schema": SCHEMA,
        "path": dense.path,
        **{kind: str(file) for kind, file in files.items()},
        "heat": {label: str(file) for label, file in heat.items()},
        DIGESTS: digests_of(folder, [*files.values(), *heat.values()]),
        "classes": list(dense.classes),
        "shape": list(dense.probabilities.shape),
        "window": dense.window,
        "stride": dense.stride,
        "left": dense.left,
        "top": dense.top,
        "share": {c: n / wins.sum() for c, n in zip(dense.classes, wins.tolist(), strict=True) if n},
        "peak": {c: float(p) for c, p in zip(dense.classes, peaks, strict=True)},
        "seconds": dense.seconds,
        "tiles": dense.tiles,
        "agreement": dense.agreement,
    }
    write_json(folder / f"{name}.json", record)
    return record


def map_records(
    predictor: DenseMapPredictor,
    images: Iterable[ImageInput],
    folder: Path,
    names: Names,
    on_error: Callable[[str, str], None] = lambda *_: None,
) -> Iterator[dict[str, Any]]:
    """Predict and write the maps of images, one after the other: see `write_maps`.

    Yields:
        The record of each image, or its path and `error`; `on_error` is told path and reason of such an image.
    """
    for image in images:
        try:
            yield write_maps(predictor(image), folder, names)
        except UnreadableImage as refusal:
            on_error(refusal.path, refusal.detail)
            yield {"path": refusal.path, "error": f"{refusal.code}: {refusal.detail}"}


def maps_object(records: Sequence[Mapping[str, Any]], network: FullyConvolutional) -> dict[str, Any]:
    """The object that `--map --json` prints."""
    return {
        "schema": SCHEMA,
        "maps": [record for record in records if "error" not in record],
        "refused": [record for record in records if "error" in record],
        "network": {"padded": network.padded, "mixing": network.mixing, "remarks": network.remarks},
    }


def notes_on(records: Sequence[Mapping[str, Any]], network: FullyConvolutional) -> list[str]:
    """What a person should know about written maps: layers that see the whole image, and how exact they are."""
    notes = []
    if network.mixing:
        notes.append(
            f"note: {count_of(len(network.mixing), 'layer sees', 'layers see')} the whole image "
            f"({network.mixing[0]} …): each prediction depends on all of it"
        )
    agreement = next((record["agreement"] for record in records if "error" not in record), None)
    if agreement:
        notes.append(
            f"checked at {agreement['places']} places against the network on that window alone: same class in "
            f"{100 * agreement['same']:.0f} %, probabilities {agreement['mean']:.3f} apart, "
            f"at most {agreement['largest']:.3f}"
        )
    return notes


def _names_of(labels: list[str]) -> dict[str, str]:
    """Classes as parts of file names, no two of them equal."""
    names: dict[str, str] = {}
    for label in labels:
        plain = shortened(re.sub(r"[^\w.-]+", "_", label), _LONGEST_LABEL)
        taken = {known.lower() for known in names.values()}
        candidates = (plain if n == 1 else f"{plain}-{n}" for n in count(1))
        names[label] = next(c for c in candidates if c.lower() not in taken)
    return names


def likeliest_classes(dense: DenseMap) -> Image.Image:
    """The image in the colours of the likeliest classes, stronger where they are more certain, with a key.

    Where the model says "none of the classes" the colour fades.
    """
    best, wins = dense.probabilities.argmax(axis=0), _is_likeliest(dense)
    order = [k for k in np.argsort(-wins, kind="stable").tolist() if wins[k]]
    palette = np.tile(np.array(_REST, float), (len(dense.classes), 1))
    palette[order[: len(PALETTE)]] = np.array(PALETTE, float)[: len(order)]
    confidence = dense.probabilities.max(axis=0)
    base = at_display_size(dense.image)
    chance = 1.0 / len(dense.classes)
    strength = 0.15 + 0.5 * np.clip((confidence - chance) / (1.0 - chance), 0.0, 1.0)
    if dense.outside is not None:
        strength = strength * (1.0 - dense.outside)
    colour = _spread(dense, palette[best].astype(np.float32), base.size, smooth=False)
    painted = _blend(base, colour, _spread(dense, strength[..., None], base.size, smooth=False))
    rows = [(_share_of(dense, k, wins), as_rgb(palette[k])) for k in order[: len(PALETTE)]]
    if len(order) > len(PALETTE):
        rows.append((f"{len(order) - len(PALETTE)} more", _REST))
    return with_key(painted, f"likeliest class, window {dense.window:.0f} px", rows)


def one_class(dense: DenseMap, k: int) -> Image.Image:
    """The probability of one class as heat over the grey image, with a scale from 0 to 100 %."""
    base = at_display_size(dense.image).convert("L").convert("RGB")
    p = _spread(dense, dense.probabilities[k][..., None], base.size, smooth=True)
    painted = _blend(base, _heat(p[..., 0]), 0.25 + 0.5 * p)
    steps = [(f"{100 * v:.0f} %", as_rgb(_heat(np.array([v]))[0])) for v in (0.0, 0.25, 0.5, 0.75, 1.0)]
    peak = float(dense.probabilities[k].max())
    return with_key(painted, f"{dense.classes[k]}: up to {100 * peak:.0f} %", steps)


def _is_likeliest(dense: DenseMap) -> NDArray[np.float64]:
    """At how many places each class is the likeliest; places that may be none of them count less."""
    inside = None if dense.outside is None else (1.0 - dense.outside).ravel()
    best = dense.probabilities.argmax(axis=0).ravel()
    return np.bincount(best, weights=inside, minlength=len(dense.classes)).astype(np.float64)


def _share_of(dense: DenseMap, k: int, wins: NDArray[np.float64]) -> str:
    return f"{dense.classes[k]}: {100 * wins[k] / wins.sum():.0f} %"


def _spread(
    dense: DenseMap, values: NDArray[np.floating[Any]], size: tuple[int, int], *, smooth: bool
) -> NDArray[np.float32]:
    """Values `(h, w, C)` at the centres of the windows, over all pixels `(H, W, C)` of the drawn image.

    A pixel takes the value of the nearest centre, or a mixture of the four around it; beyond the outermost centres
    the outermost values go on.
    """
    result = values.astype(np.float32)
    for axis, (pixels, start) in enumerate(((size[1], dense.top), (size[0], dense.left))):
        drawn = pixels / (dense.image.height if axis == 0 else dense.image.width)
        centres = start + dense.window / 2
        at = ((np.arange(pixels) + 0.5) / drawn - centres) / dense.stride
        at = np.clip(at, 0, result.shape[axis] - 1)
        low = np.floor(at).astype(int) if smooth else np.rint(at).astype(int)
        high = np.minimum(low + 1, result.shape[axis] - 1)
        rest = (at - low if smooth else np.zeros(pixels)).astype(np.float32)
        shape = [1, 1, 1]
        shape[axis] = pixels
        rest = rest.reshape(shape)
        result = result.take(low, axis=axis) * (1 - rest) + result.take(high, axis=axis) * rest
    return result


def _blend(
    base: Image.Image, colour: NDArray[np.floating[Any]], strength: NDArray[np.floating[Any]]
) -> Image.Image:
    pixels = np.asarray(base, dtype=np.float32)
    return Image.fromarray(np.rint(pixels * (1 - strength) + colour * strength).astype(np.uint8))


def _heat(p: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Values in 0-1 to RGB 0-255."""
    at = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(p, at, _HEAT[:, i]) for i in range(3)], axis=-1).astype(np.float32)
