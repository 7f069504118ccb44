"""A quick look at some of the pictures, before anything is read in earnest: how large, how colourful?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foveal.data.decode import finish, open_picture, orientation_of, quiet, read_file
from foveal.errors import UnreadableImage
from foveal.values import Entry

_LOOKED_AT = 48


@dataclass(frozen=True)
class Glance:
    """What the pictures are like.

    Attributes:
        count: how many there are.
        side: the usual length of the long side, pixels; 0 when none of those looked at can be read.
        grey: whether all that were looked at are without colour.
        background: the usual colour of their edges, RGB.
        usual: the commonest width and height.
        share: of those looked at, that have it.
    """

    count: int
    side: int
    grey: bool
    background: tuple[int, int, int]
    usual: tuple[int, int] = (0, 0)
    share: float = 0.0


def glance(entries: Sequence[Entry]) -> Glance:
    """Look at some of the pictures, evenly spread over the list; sizes first, and pixels only of the small."""
    sides, sizes, edges, grey = [], Counter[tuple[int, int]](), [], True
    with quiet():
        for entry in entries[:: max(1, len(entries) // _LOOKED_AT)]:
            try:
                opened = open_picture(read_file(entry.path), entry.path)
                width, height = opened.size if orientation_of(opened) < 5 else opened.size[::-1]
                sides.append(max(width, height))
                sizes[width, height] += 1
                if max(opened.size) > 256:
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
    return Glance(len(entries), side, grey, background, usual, most / max(1, len(sides)))
