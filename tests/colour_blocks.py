"""Arrays of images with masks: blocks of three colours, each a class, under noise."""

import numpy as np

COLOURS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]], dtype=np.uint8)


def blocks(count, height=64, width=96, seed=0):
    """Images `(N, 3, H, W)` and masks `(N, H, W)`."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, height, width), dtype=np.uint8)
    for mask in masks:
        for value in (1, 2):
            y, x = rng.integers(0, (height - 24, width - 24))
            mask[y : y + 24, x : x + 24] = value
    noise = rng.integers(-20, 20, (count, 3, height, width))
    pixels = np.clip(COLOURS[masks].transpose(0, 3, 1, 2) + noise, 0, 255).astype(np.uint8)
    return pixels, masks
