"""Small images with masks, whose colours give the classes away."""

import os

import numpy as np
from PIL import Image

from foveal.metrics.segmentation import VOID

CLASSES = ("ground", "red", "green")
_INKS = np.array([[60, 60, 70], [210, 50, 40], [40, 190, 60]], dtype=np.float32)


def draw_pair(seed, size=(64, 48)):
    """An image and its mask: a red and a green rectangle on grey; the right edge is to be ignored."""
    rng = np.random.default_rng(seed)
    width, height = size
    mask = np.zeros((height, width), dtype=np.uint8)
    for k in (1, 2):
        top, left = rng.integers(2, height // 2), rng.integers(2, width // 2)
        mask[top : top + height // 3, left : left + width // 3] = k
    shade = np.asarray(Image.fromarray(rng.integers(0, 60, (4, 5), dtype=np.uint8)).resize(size), dtype=np.float32)
    image = _INKS[mask] + shade[..., None] + rng.normal(0, 6, (height, width, 3))
    mask[:, -3:] = VOID
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)), Image.fromarray(mask)


def write_pairs(root, count=24, *, size=(64, 48), names="{:c}x{}", seed=0, classes=True):
    """`images/`, `masks/` and `classes.txt`; returns the root. No two names look like frames of a video."""
    for i in range(count):
        image, mask = draw_pair([seed, i], size)
        name = names.format(97 + i % 26, i)
        for folder, content in (("images", image), ("masks", mask)):
            path = root / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            content.save(path)
            os.utime(path, ns=(10**18 + i, 10**18 + i))
    if classes:
        (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return root
