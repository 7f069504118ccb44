"""Rebuild `model:mnist`: a small network that recognizes one handwritten digit, and rejects everything else.

    python tools/build_mnist_model.py FONTS [--epochs 6]

FONTS is a folder of .ttf files (for example Debian's `fonts-dejavu`). The network is trained on the training
subset of `sample:mnist`, as it is and rendered as photographs, and on negatives: printed letters that resemble
no digit, scribbles, several digits in a row, clip art and parts of it, drawn objects and faces, empty pages.
The test images are not used.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from foveal.data.images.decode import decode
from foveal.data.images.idx import find_pairs, read_pair
from foveal.data.images.render import render
from foveal.data.sources.samples import unpack
from foveal.inference.bundle import Bundle, save_bundle, weights_bytes
from foveal.metrics.calibration import fit_temperature, prediction_sets, softmax
from foveal.models.networks import build
from foveal.training.batches.arrays import Batches, logits_of
from foveal.training.loop.loop import train_network
from foveal.training.loop.task import LoopSettings, TrainTask
from foveal.training.recipes.scratch import RECIPES
from foveal.values import Manifest, Preprocess
from foveal.version import __version__
from photographed import letter, photograph, scribble, side_by_side, thing

TARGET = Path(__file__).parents[1] / "src" / "foveal" / "models" / "shipped" / "mnist"
#: Without those that some people write like a digit: O Q D I l S Z B G T b g q z and their like.
LETTERS = "ACEFHKMNPRUVWXYadefhkmnprtuvwxy&@#%?$+=*"
PREPROCESS = Preprocess(
    size=28, resize="digit", channels=1, background=(255, 255, 255), mean=(33.3,) * 3, std=(78.6,) * 3
)
OUTSIDE = 10
HELD_OUT = 1500
#: Ink is drawn up to this size, pixels: it is resized to less than that, so that larger only takes longer.
LARGEST = 240
#: Share of digits that may be rejected.
MISSED = 0.01

Pixels = NDArray[np.uint8]


def one(task: tuple[int, str, list[str]]) -> tuple[Pixels, int]:
    """Picture number `seed` of a kind, in MNIST's form, and its class."""
    seed, kind, fonts = task
    rng = np.random.default_rng([seed, 7])
    harsh = float(rng.uniform(0.1, 1.0))
    images, labels = digits()
    pick = int(rng.integers(len(images) - HELD_OUT))
    if kind == "thing":
        return rendered(thing(rng)), OUTSIDE
    if kind == "clipart":
        return rendered(part_of_clipart(rng)), OUTSIDE
    ink = images[pick] if kind == "digit" else ink_of(kind, rng, fonts)
    label = int(labels[pick]) if kind == "digit" else OUTSIDE
    return rendered(photograph(ink, rng, harsh=harsh, largest=LARGEST)), label


def ink_of(kind: str, rng: np.random.Generator, fonts: list[str]) -> Pixels:
    """Ink of anything but a digit."""
    if kind == "letter":
        text = "".join(rng.choice(list(LETTERS), 1 if rng.random() < 0.8 else 2))
        return letter(text, rng, str(rng.choice(fonts)))
    if kind == "scribble":
        return scribble(rng)
    if kind == "row":
        images, _ = digits()
        return side_by_side([images[int(i)] for i in rng.integers(0, 58_000, int(rng.integers(2, 5)))])
    return np.zeros((40, 40), dtype=np.uint8)


def part_of_clipart(rng: np.random.Generator) -> Image.Image:
    """An image of the clip art sample, or a quarter of it."""
    file = clipart()[int(rng.integers(len(clipart())))]
    whole = decode(file.read_bytes(), str(file))
    if rng.random() < 0.3:
        return whole
    left, top = (round(float(v) * n) for v, n in zip(rng.uniform(0, 0.5, 2), whole.size, strict=True))
    return whole.crop((left, top, left + whole.width // 2, top + whole.height // 2))


@cache
def digits() -> tuple[Pixels, NDArray[np.int64]]:
    """The training subset of the sample."""
    pair = next(p for p in find_pairs(str(unpack("mnist"))) if p.subset == "train")
    images, labels = read_pair(pair)
    return images, np.array([int(v) for v in labels], dtype=np.int64)


@cache
def clipart() -> list[Path]:
    """The images of the clip art sample."""
    return sorted(unpack("clipart").rglob("*.png"))


def rendered(image: Image.Image) -> Pixels:
    """An image as the bundle renders it."""
    return render(image, PREPROCESS)[:, :, 0]


def made(fonts: list[str], counts: dict[str, int], first: int) -> tuple[Pixels, NDArray[np.int64]]:
    """`counts` images of each kind, made on all cores."""
    tasks = [(first + i, kind, fonts) for kind, n in counts.items() for i in range(n)]
    with ProcessPoolExecutor(initializer=threadpool_limits, initargs=(1,)) as pool:
        pairs = list(pool.map(one, tasks, chunksize=50))
    return np.stack([p for p, _ in pairs]), np.array([label for _, label in pairs], dtype=np.int64)


def main() -> None:
    """Make images, train, calibrate, write the bundle."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fonts", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    arguments = parser.parse_args()
    fonts = sorted(str(f) for f in arguments.fonts.rglob("*.ttf"))
    counts = {
        "digit": 5000,
        "letter": 2400,
        "scribble": 700,
        "row": 900,
        "clipart": 1500,
        "thing": 2500,
        "blank": 200,
    }
    extra, extra_labels = made(fonts, counts, 0)
    held, held_labels = made(fonts, {k: n // 10 for k, n in counts.items()}, 1_000_000)
    print(f"{len(extra)} images made", flush=True)
    images, labels = digits()
    pixels = np.concatenate([images[:-HELD_OUT], extra])[:, None]
    targets = np.concatenate([labels[:-HELD_OUT], extra_labels])
    recipe = replace(RECIPES[1], epochs=arguments.epochs, ema=0.998)
    network = recipe.network(1, 11)
    torch.manual_seed(0)
    module = build(network).to(memory_format=torch.channels_last)
    batches = Batches(
        pixels, targets, PREPROCESS, size=recipe.batch_size, augment=recipe.augment, seed=0, device="cpu"
    )
    settings = LoopSettings(
        steps=batches.per_epoch * arguments.epochs,
        lr=recipe.lr,
        optimizer=recipe.optimizer,
        weight_decay=recipe.weight_decay,
        ema=recipe.ema,
    )
    began = time.monotonic()
    train_network(TrainTask("mnist", module, batches, torch.nn.functional.cross_entropy), settings)
    print(f"trained in {time.monotonic() - began:.0f} s")

    plain, photos = (logits_of(module, p[:, None], PREPROCESS, "cpu") for p in (images[-HELD_OUT:], held))
    real = held_labels != OUTSIDE
    logits = np.concatenate([plain, photos[real]])
    true_labels = np.concatenate([labels[-HELD_OUT:], held_labels[real]])
    temperature = fit_temperature(logits[:, :-1], true_labels)
    outside = softmax(photos)[:, -1]
    threshold = float(np.quantile(np.concatenate([outside[real], softmax(plain)[:, -1]]), 1 - MISSED))
    figures = {
        "held_out_digits": float((plain[:, :-1].argmax(axis=1) == labels[-HELD_OUT:]).mean()),
        "held_out_photographed": float((photos[real][:, :-1].argmax(axis=1) == held_labels[real]).mean()),
        "digits_called_unknown": float((outside[real] >= threshold).mean()),
        "others_called_unknown": float((outside[~real] >= threshold).mean()),
    }
    print(figures)
    tensors = {k: v.detach().numpy() for k, v in module.state_dict().items()}
    manifest = Manifest(
        task="classify",
        classes=tuple("0123456789"),
        backbone=None,
        backbone_sha256=None,
        weights_sha256=hashlib.sha256(weights_bytes(tensors)).hexdigest(),
        preprocess=PREPROCESS,
        views=("plain",),
        temperature=temperature,
        set_threshold=prediction_sets(softmax(logits[:, :-1], temperature), true_labels, 0.95).threshold,
        coverage=0.95,
        provenance={"foveal": __version__, "data": "mnist", "made_by": "tools/build_mnist_model.py", **figures},
        network=network,
        outside=True,
        unknown_threshold=threshold,
    )
    save_bundle(Bundle(manifest, tensors), TARGET)


if __name__ == "__main__":
    main()
