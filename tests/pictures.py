"""Small deterministic images and records for tests. No two seeds look alike."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from foveal.data.audit.scan import read_records
from foveal.values import ImageRecord

_TINTS = [(1.0, 0.5, 0.4), (0.4, 1.0, 0.5), (0.5, 0.5, 1.0), (1.0, 1.0, 0.4), (0.4, 1.0, 1.0), (1.0, 0.4, 1.0)]


def draw(seed, size=(72, 56), tint=0):
    """An image of soft blobs, a hard frame and a little noise; `tint` gives a class its colour."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (6, 8), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    grey[: size[1] // 8] = generator.integers(0, 256)
    grey = grey + generator.normal(0, 6, grey.shape)
    rgb = grey[..., None] * np.array(_TINTS[tint % len(_TINTS)], dtype=np.float32)
    return Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))


def encoded(image, form="PNG", **options):
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def make_folder(root, classes, *, seed=0, size=(72, 56)):
    """Write `{"cat": 5, …}` as class folders of JPEG and PNG files with distinct content; returns `root`."""
    root = Path(root)
    for number, (name, count) in enumerate(classes.items()):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            key = int.from_bytes(hashlib.sha256(f"{seed}/{name}/{i}".encode()).digest()[:8], "big")
            image = draw(key, (size[0] + i % 3, size[1] + i % 2), tint=number)
            form, suffix, options = ("PNG", "png", {}) if i % 3 == 2 else ("JPEG", "jpg", {"quality": 92})
            path = folder / f"{i:03d}.{suffix}"
            path.write_bytes(encoded(image, form, **options))
            os.utime(path, ns=(10**18 + i, 10**18 + i))
    return root


def read_one(entry, options=None, known=None):
    """The record of one image file."""
    (found,) = read_records([entry], options, known)
    assert isinstance(found, ImageRecord), found
    return found


def record(n, label="a", **given):
    """A record of image number `n` that was never a file; equal numbers have equal content."""
    digest = hashlib.sha256(f"content {n}".encode())
    values = {
        "path": f"/p/{label}/{n}.jpg",
        "label": label,
        "split": None,
        "group": None,
        "sha256": digest.hexdigest(),
        "width": 640,
        "height": 480,
        "file_time": int(n) if isinstance(n, int) else 0,
        "phash": int.from_bytes(digest.digest()[:8], "big"),
        "thumb": np.random.default_rng(list(digest.digest())).integers(0, 256, 768, dtype=np.uint8).tobytes(),
        "brightness": 120.0,
        "contrast": 50.0,
        "sharpness": 400.0,
    }
    return ImageRecord(**{**values, **given})
