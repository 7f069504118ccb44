"""Size and colour of a sample of the images, before all of them are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foveal.data.images.decode import finish, open_image, orientation_of, quiet, read_file
from foveal.errors import UnreadableImage
from foveal.values import Entry

_SAMPLED = 48
#: Pillow's modes without colour.
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")


@dataclass(frozen=True)
class ImageProbe:
    """What the images of a data set are like.

    Attributes:
        count: how many there are.
        side: the most frequent length of the long side, pixels; 0 when no image of the sample can be read.
        grey: whether all images of the sample are without colour; large ones are judged by their mode.
        background: the median colour of their edges, RGB.
        usual: the most frequent width and height.
        share: of the sample that has this size.
    """

    count: int
    side: int
    grey: bool
    background: tuple[int, int, int]
    usual: tuple[int, int] = (0, 0)
    share: float = 0.0


def probe_images(entries: Sequence[Entry]) -> ImageProbe:
    """Probe a sample, evenly spaced over the list: the sizes of all of it, and the pixels of small images."""
    sides, sizes, edges, grey = [], Counter[tuple[int, int]](), [], True
    with quiet():
        for entry in entries[:: max(1, len(entries) // _SAMPLED)]:
            try:
                opened = open_image(read_file(entry.path), entry.path)
                width, height = opened.size if orientation_of(opened) < 5 else opened.size[::-1]
                sides.append(max(width, height))
                sizes[width, height] += 1
                if max(opened.size) > 256:  # decoding all of them would take seconds
                    grey = grey and opened.mode in _GREY_MODES
                    continue
                pixels = np.asarray(finish(opened, entry.path)).astype(int)
            except UnreadableImage:
                continue
            grey = grey and bool(np.ptp(pixels, axis=2).max() <= 2)
            edges.append(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]))
    side = Counter(sides).most_common(1)[0][0] if sides else 0
    edge = np.median(np.concatenate(edges), axis=0) if edges else np.full(3, 255)
    (usual, most), *_ = sizes.most_common(1) or [((0, 0), 0)]
    background = (round(edge[0]), round(edge[1]), round(edge[2]))
    return ImageProbe(len(entries), side, grey, background, usual, most / max(1, len(sides)))
