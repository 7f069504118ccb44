"""Small sets of small images in IDX form, cheap to learn: a bar whose place or direction is the class."""

import struct

import numpy as np


def idx(array):
    """An array as the content of an IDX file."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def bars(n, *, seed=0, side=12, colour=False):
    """`(n, side, side)` images and their labels 0-3: a bar at either end, upright or lying; noise on all."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n).astype(np.uint8)
    images = rng.normal(30, 20, (n, side, side))
    places = rng.integers(0, 2, n)
    for i, (label, place) in enumerate(zip(labels, places, strict=True)):
        position = 2 + place if label % 2 == 0 else side - 4 + place
        area = (slice(2, -2), position) if label < 2 else (position, slice(2, -2))
        images[i][area] += 150
    images = np.clip(images, 0, 255).astype(np.uint8)
    return (np.repeat(images[..., None], 3, axis=3) if colour else images), labels


def write_idx(folder, *, train=2400, test=300, side=12, seed=0):
    """Four files as MNIST has them; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, n, more in (("train", train, 0), ("t10k", test, 1)):
        images, labels = bars(n, seed=2 * seed + more, side=side)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder
