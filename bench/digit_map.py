"""From a classifier to a map: a digit classifier answers at every place of a scene, without having seen a mask.

    uv run python bench/digit_map.py [--seeds 3]

On `sample:digit-scenes`, the last 80 of the 320 scenes held out. Three ways, of one small network each time:

1. *classifier*: learns from windows of 48 pixels with one label, the digit in their middle or "ground"; then
   `foveal.to_fully_convolutional` makes a map of it, one answer each 4 pixels, enlarged. No mask is ever seen.
2. *masks*: the same converted network, with the classifier's weights, goes on learning from masks. Its last
   pooling still takes the maximum over each window.
3. *masks-unpooled*: the same weights without that pooling, so that each place answers by its own features.

All by the one training loop. Where digits are is taken from the scenes' masks once, as what a person would mark
by a click: the middle of each.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

import foveal
from common import Results, spread
from foveal.clock import Clock
from foveal.data.digit_scenes import scenes
from foveal.data.samples import unpack
from foveal.fit.job import Job, Settings
from foveal.fit.loop import train_network
from foveal.fit.segmenting import class_weights, segmentation_loss
from foveal.metrics.segmentation import block_bootstrap, boundary_counts, confusion, mean_boundary_f1, miou
from foveal.models.fully_convolutional import FullyConvolutional
from foveal.models.networks import build
from foveal.models.small import SmallNet

CLASSES, WINDOW, SCENES, TESTED = 11, 48, 320, 80
NETWORK = {
    "architecture": "small", "channels": 3, "classes": CLASSES,
    "stages": [[16, 16], [32, 32], [64, 64]],
}  # fmt: skip
WAYS = ("classifier", "masks", "masks-unpooled")
#: Windows, or scenes, in a step.
WINDOWS, WHOLE = 64, 8
Scenes = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def drawn() -> tuple[Scenes, Scenes]:
    """Pictures `(N, 3, H, W)` and masks `(N, H, W)` to learn from, and held out."""
    made = list(scenes(unpack("mnist"), SCENES))
    pictures = np.stack([np.asarray(p).transpose(2, 0, 1) for _, p, _ in made])
    masks = np.stack([np.asarray(m) for _, _, m in made])
    return (pictures[:-TESTED], masks[:-TESTED]), (pictures[-TESTED:], masks[-TESTED:])


def middles(mask: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """Row, column and class of the middle of each digit of a scene."""
    found = []
    for kind in np.unique(mask[mask > 0]):
        things, _ = ndimage.label(ndimage.binary_dilation(mask == kind, iterations=2))
        for box in ndimage.find_objects(things):
            rows, columns = box
            if min(rows.stop - rows.start, columns.stop - columns.start) >= 5 and rows.stop - rows.start >= 16:
                found.append(((rows.start + rows.stop) // 2, (columns.start + columns.stop) // 2, int(kind)))
    return found


def normalised(pixels: NDArray[np.uint8]) -> Tensor:
    """8 bits to about -1 … 1, channels last."""
    return ((torch.from_numpy(pixels).float() - 100) / 64).contiguous(memory_format=torch.channels_last)


def bordered(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures with half a window more on each side, so that a window's middle can be anywhere."""
    half = WINDOW // 2
    return np.pad(pixels, ((0, 0), (0, 0), (half, half), (half, half)), mode="reflect")


def windows(learning: Scenes, seed: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Step → windows and what is in their middle; half of them digits, half ground at some distance."""
    pictures, places = bordered(learning[0]), [middles(m) for m in learning[1]]
    height, width = learning[1].shape[1:]

    def batch(step: int) -> tuple[Tensor, Tensor]:
        chance = np.random.default_rng([seed, step])
        cut: list[NDArray[np.uint8]] = []
        labels: list[int] = []
        while len(cut) < WINDOWS:
            scene = int(chance.integers(len(pictures)))
            if not places[scene]:
                continue
            if len(cut) % 2:
                y, x, label = places[scene][int(chance.integers(len(places[scene])))]
                y, x = y + int(chance.integers(-4, 5)), x + int(chance.integers(-4, 5))
            else:
                y, x, label = int(chance.integers(height)), int(chance.integers(width)), 0
                if min(max(abs(y - a), abs(x - b)) for a, b, _ in places[scene]) < 14:
                    continue
            y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
            cut.append(pictures[scene, :, y : y + WINDOW, x : x + WINDOW])
            labels.append(label)
        return normalised(np.stack(cut)), torch.tensor(labels)

    return batch


class Map(nn.Module):
    """A fully convolutional classifier as a segmenter: its answers, enlarged to the pixels between them."""

    def __init__(self, network: FullyConvolutional) -> None:
        super().__init__()
        self.network, self.stride = network, network.stride

    def forward(self, x: Tensor) -> Tensor:
        """Pictures with a border `(N, C, H + window, W + window)` to logits `(N, K, H, W)`."""
        answers = self.network(x)
        height, width, stride = x.shape[2] - WINDOW, x.shape[3] - WINDOW, self.stride
        # The answer at (i, j) is about the pixel (stride i, stride j) of the picture without its border.
        rows, columns = (torch.arange(n, dtype=torch.float32) / stride for n in (height, width))
        y, x_ = (2 * at / (n - 1) - 1 for at, n in zip((rows, columns), answers.shape[2:], strict=True))
        grid = torch.stack(torch.meshgrid(y, x_, indexing="ij")[::-1], dim=-1)
        return functional.grid_sample(
            answers.float(), grid.expand(len(x), -1, -1, -1), align_corners=True, padding_mode="border"
        )


def mapped(classifier: SmallNet) -> Map:
    """The classifier at every place."""
    return Map(foveal.to_fully_convolutional(classifier, size=WINDOW))


class Unpooled(nn.Module):
    """The classifier's features, and its last layer at each place of them, enlarged."""

    def __init__(self, classifier: SmallNet) -> None:
        super().__init__()
        self.classifier = classifier
        self.weight, self.bias = classifier.head.weight, classifier.head.bias

    def forward(self, x: Tensor) -> Tensor:
        """Pictures with a border `(N, C, H + window, W + window)` to logits `(N, K, H, W)`."""
        features = self.classifier.forward_features(x)
        border = features.shape[2] * (WINDOW // 2) // x.shape[2]
        answers = functional.conv2d(features, self.weight[:, :, None, None], self.bias)
        inner = answers[:, :, border:-border, border:-border].float()
        return functional.interpolate(inner, (x.shape[2] - WINDOW, x.shape[3] - WINDOW), mode="bilinear")


def wholes(learning: Scenes, seed: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Step → whole scenes and their masks."""
    pictures, masks = bordered(learning[0]), torch.from_numpy(learning[1]).long()

    def batch(step: int) -> tuple[Tensor, Tensor]:
        chosen = np.random.default_rng([seed, step]).integers(0, len(pictures), WHOLE)
        return normalised(pictures[chosen]), masks[chosen]

    return batch


def learn(
    name: str, module: nn.Module, batch: Callable[[int], tuple[Tensor, Tensor]], steps: int, seed: int, loss: Any
) -> float:
    """By the one loop; returns its seconds."""
    settings = Settings(steps=steps, rate=3e-3, optimizer="adamw", weight_decay=0.02, ema=0.99)
    return train_network(Job(name, module, batch, loss, seed=seed), settings, clock=Clock()).seconds


def judged(way: str, network: nn.Module, held_out: Scenes) -> dict[str, Any]:
    """Counts of each scene held out, and the figures of all."""
    pictures, masks = bordered(held_out[0]), held_out[1]
    with torch.inference_mode():
        answers = np.concatenate([
            network(normalised(pictures[i : i + WHOLE])).argmax(dim=1).byte().numpy()
            for i in range(0, len(pictures), WHOLE)
        ])  # fmt: skip
    pairs = list(zip(answers, masks, strict=True))
    counts = np.stack([confusion(a, m, CLASSES) for a, m in pairs])
    outlines = np.stack([boundary_counts(a, m, CLASSES) for a, m in pairs])
    inside = masks > 0
    return {
        "way": way,
        "miou": miou(counts.sum(axis=0)),
        "miou_ci95": block_bootstrap(counts, np.arange(len(counts)), miou),
        "boundary_f1": mean_boundary_f1(outlines.sum(axis=0)),
        "right_on_ink": float((answers[inside] == masks[inside]).mean()),
        "called_digit": float((answers > 0).mean()),
        "ink": float(inside.mean()),
    }


def one(seed: int, steps: int, results: Results) -> None:
    """All three ways with one seed."""
    learning, held_out = drawn()
    torch.manual_seed(seed)
    classifier = build(NETWORK)
    assert isinstance(classifier, SmallNet)
    seconds = learn("windows", classifier, windows(learning, seed), steps, seed, functional.cross_entropy)
    network = mapped(classifier)
    results.add(seed=seed, steps=steps, seconds=seconds, **judged("classifier", network, held_out))
    loss = segmentation_loss(class_weights(list(learning[1]), CLASSES, 0.5), 0.5)
    unpooled = Unpooled(copy.deepcopy(classifier))
    for way, module in (("masks", network), ("masks-unpooled", unpooled)):
        seconds = learn(way, module, wholes(learning, seed), steps, seed, loss)
        results.add(seed=seed, steps=steps, seconds=seconds, **judged(way, module.eval(), held_out))


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each way over its seeds."""
    keys = ("miou", "boundary_f1", "right_on_ink", "called_digit", "seconds")
    return {way: {k: spread(r[k] for r in rows if r["way"] == way) for k in keys} for way in WAYS}


def main() -> None:
    """Seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=600)
    given = parser.parse_args()
    results, began = Results("digit-map"), time.monotonic()
    for seed in range(given.seeds):
        if not results.of(seed=seed, steps=given.steps, way=WAYS[-1]):
            one(seed, given.steps, results)
    results.save(summary=summary(results.of(steps=given.steps)))
    print(json.dumps(summary(results.of(steps=given.steps)), indent=1), f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
