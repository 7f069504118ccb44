"""Images of several shapes, for several labels each: a red ball, a green box, a blue bar."""

import json

import numpy as np
from PIL import Image, ImageDraw

NAMES = ("ball", "bar", "box")
_CHANCES = {"ball": 0.5, "bar": 0.25, "box": 0.35}


def draw_shapes(labels, seed, size=(80, 64)):
    """An image with these shapes somewhere."""
    generator = np.random.default_rng(seed)
    ground = generator.integers(90, 150, (8, 10, 3), dtype=np.uint8)
    image = Image.fromarray(ground).resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for name in labels:
        x, y = generator.integers(2, 50), generator.integers(2, 40)
        if name == "ball":
            pen.ellipse((x, y, x + 22, y + 22), fill=(225, 40, 40))
        elif name == "box":
            pen.rectangle((x, y, x + 20, y + 20), fill=(40, 200, 60))
        else:
            pen.rectangle((x, y, x + 28, y + 7), fill=(50, 60, 230))
    return image


def write_shapes(folder, count, *, seed=0):
    """Write images and `data.jsonl`; returns the table and the labels of each image."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        labels = [name for name in NAMES if generator.random() < _CHANCES[name]]
        draw_shapes(labels, 1000 * seed + i).save(folder / f"{i:03d}.png")
        rows.append({"path": f"{i:03d}.png", "label": labels})
    table = folder / "data.jsonl"
    table.write_text("\n".join(json.dumps(row) for row in rows))
    return table, [row["label"] for row in rows]
