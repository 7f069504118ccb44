"""From a classifier to a map: a digit classifier applied at every position of a scene, without having seen a mask.

    uv run python bench/digit_map.py [--seeds 3]

On `sample:digit-scenes`, the last 80 of the 320 scenes held out. Three ways, of one small network each time:

1. *classifier*: trained on windows of 48 pixels with one label, the digit at their centre or "background"; then
   `foveal.to_fully_convolutional` makes a map of it, one prediction every 4 pixels, upsampled. No mask is ever seen.
2. *masks*: the same converted network, with the classifier's weights, trained further on masks. Its last pooling
   still takes the maximum over each window.
3. *masks-unpooled*: the same weights without that pooling, so that each position is predicted from its own features.

All of them use foveal's training loop. The positions of digits are taken from the scenes' masks once, as what a
person would mark with a click: the centre of each.
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
from foveal.data.sources.digit_scenes import scenes
from foveal.data.sources.samples import unpack
from foveal.data.targets.mask_loss import class_weights, segmentation_loss
from foveal.metrics.segmentation import block_bootstrap, boundary_counts, confusion, mean_boundary_f1, miou
from foveal.models.fcn_conversion.convert import FullyConvolutional
from foveal.models.networks import build
from foveal.models.small import SmallNet
from foveal.training.loop.loop import train_network
from foveal.training.loop.task import LoopSettings, TrainTask

CLASSES, WINDOW, SCENES, TESTED = 11, 48, 320, 80
NETWORK = {
    "architecture": "small", "channels": 3, "classes": CLASSES,
    "stages": [[16, 16], [32, 32], [64, 64]],
}  # fmt: skip
WAYS = ("classifier", "masks", "masks-unpooled")
#: Batch sizes: of windows, and of whole scenes.
WINDOWS, WHOLE = 64, 8
Scenes = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def drawn() -> tuple[Scenes, Scenes]:
    """Images `(N, 3, H, W)` and masks `(N, H, W)`, for training and held out."""
    made = list(scenes(unpack("mnist"), SCENES))
    images = np.stack([np.asarray(p).transpose(2, 0, 1) for _, p, _ in made])
    masks = np.stack([np.asarray(m) for _, _, m in made])
    return (images[:-TESTED], masks[:-TESTED]), (images[-TESTED:], masks[-TESTED:])


def middles(mask: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """Row, column and class of the centre of each digit of a scene."""
    centres = []
    for kind in np.unique(mask[mask > 0]):
        components, _ = ndimage.label(ndimage.binary_dilation(mask == kind, iterations=2))
        for box in ndimage.find_objects(components):
            rows, columns = box
            if min(rows.stop - rows.start, columns.stop - columns.start) >= 5 and rows.stop - rows.start >= 16:
                centres.append(((rows.start + rows.stop) // 2, (columns.start + columns.stop) // 2, int(kind)))
    return centres


def normalised(pixels: NDArray[np.uint8]) -> Tensor:
    """8 bits to about [-1, 1], channels last."""
    return ((torch.from_numpy(pixels).float() - 100) / 64).contiguous(memory_format=torch.channels_last)


def bordered(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images padded by half a window on each side, so that a window can be centred on any pixel."""
    half = WINDOW // 2
    return np.pad(pixels, ((0, 0), (0, 0), (half, half), (half, half)), mode="reflect")


def windows(training: Scenes, seed: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Step → windows and the class at their centre; half of them digits, half background at some distance."""
    images, places = bordered(training[0]), [middles(m) for m in training[1]]
    height, width = training[1].shape[1:]

    def batch(step: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([seed, step])
        cut: list[NDArray[np.uint8]] = []
        labels: list[int] = []
        while len(cut) < WINDOWS:
            scene = int(rng.integers(len(images)))
            if not places[scene]:
                continue
            if len(cut) % 2:
                y, x, label = places[scene][int(rng.integers(len(places[scene])))]
                y, x = y + int(rng.integers(-4, 5)), x + int(rng.integers(-4, 5))
            else:
                y, x, label = int(rng.integers(height)), int(rng.integers(width)), 0
                if min(max(abs(y - a), abs(x - b)) for a, b, _ in places[scene]) < 14:
                    continue
            y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
            cut.append(images[scene, :, y : y + WINDOW, x : x + WINDOW])
            labels.append(label)
        return normalised(np.stack(cut)), torch.tensor(labels)

    return batch


class Map(nn.Module):
    """A fully convolutional classifier as a segmenter: its logits, interpolated to full resolution."""

    def __init__(self, network: FullyConvolutional) -> None:
        super().__init__()
        self.network, self.stride = network, network.stride

    def forward(self, x: Tensor) -> Tensor:
        """Padded images `(N, C, H + window, W + window)` to logits `(N, K, H, W)`."""
        logits = self.network(x)
        height, width, stride = x.shape[2] - WINDOW, x.shape[3] - WINDOW, self.stride
        # The logits at (i, j) are about the pixel (stride i, stride j) of the image without its padding.
        rows, columns = (torch.arange(n, dtype=torch.float32) / stride for n in (height, width))
        y, x_ = (2 * at / (n - 1) - 1 for at, n in zip((rows, columns), logits.shape[2:], strict=True))
        grid = torch.stack(torch.meshgrid(y, x_, indexing="ij")[::-1], dim=-1)
        return functional.grid_sample(
            logits.float(), grid.expand(len(x), -1, -1, -1), align_corners=True, padding_mode="border"
        )


def mapped(classifier: SmallNet) -> Map:
    """The classifier applied at every position."""
    return Map(foveal.to_fully_convolutional(classifier, size=WINDOW))


class Unpooled(nn.Module):
    """The classifier's feature maps, and its last layer at each of their positions, upsampled."""

    def __init__(self, classifier: SmallNet) -> None:
        super().__init__()
        self.classifier = classifier
        self.weight, self.bias = classifier.head.weight, classifier.head.bias

    def forward(self, x: Tensor) -> Tensor:
        """Padded images `(N, C, H + window, W + window)` to logits `(N, K, H, W)`."""
        features = self.classifier.forward_features(x)
        border = features.shape[2] * (WINDOW // 2) // x.shape[2]
        logits = functional.conv2d(features, self.weight[:, :, None, None], self.bias)
        inner = logits[:, :, border:-border, border:-border].float()
        return functional.interpolate(inner, (x.shape[2] - WINDOW, x.shape[3] - WINDOW), mode="bilinear")


def wholes(training: Scenes, seed: int) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Step → whole scenes and their masks."""
    images, masks = bordered(training[0]), torch.from_numpy(training[1]).long()

    def batch(step: int) -> tuple[Tensor, Tensor]:
        chosen = np.random.default_rng([seed, step]).integers(0, len(images), WHOLE)
        return normalised(images[chosen]), masks[chosen]

    return batch


def learn(
    name: str, module: nn.Module, batch: Callable[[int], tuple[Tensor, Tensor]], steps: int, seed: int, loss: Any
) -> float:
    """Train with foveal's loop; returns its seconds."""
    settings = LoopSettings(steps=steps, lr=3e-3, optimizer="adamw", weight_decay=0.02, ema=0.99)
    return train_network(TrainTask(name, module, batch, loss, seed=seed), settings).seconds


def judged(way: str, network: nn.Module, held_out: Scenes) -> dict[str, Any]:
    """The figures of one way on the held-out scenes."""
    images, masks = bordered(held_out[0]), held_out[1]
    with torch.inference_mode():
        predictions = np.concatenate([
            network(normalised(images[i : i + WHOLE])).argmax(dim=1).byte().numpy()
            for i in range(0, len(images), WHOLE)
        ])  # fmt: skip
    pairs = list(zip(predictions, masks, strict=True))
    counts = np.stack([confusion(a, m, CLASSES) for a, m in pairs])
    outlines = np.stack([boundary_counts(a, m, CLASSES) for a, m in pairs])
    inside = masks > 0
    return {
        "way": way,
        "miou": miou(counts.sum(axis=0)),
        "miou_ci95": block_bootstrap(counts, np.arange(len(counts)), miou),
        "boundary_f1": mean_boundary_f1(outlines.sum(axis=0)),
        "right_on_ink": float((predictions[inside] == masks[inside]).mean()),
        "called_digit": float((predictions > 0).mean()),
        "ink": float(inside.mean()),
    }


def one(seed: int, steps: int, results: Results) -> None:
    """All three ways with one seed."""
    training, held_out = drawn()
    torch.manual_seed(seed)
    classifier = build(NETWORK)
    assert isinstance(classifier, SmallNet)
    seconds = learn("windows", classifier, windows(training, seed), steps, seed, functional.cross_entropy)
    network = mapped(classifier)
    results.add(seed=seed, steps=steps, seconds=seconds, **judged("classifier", network, held_out))
    loss = segmentation_loss(class_weights(list(training[1]), CLASSES, 0.5), 0.5)
    unpooled = Unpooled(copy.deepcopy(classifier))
    for way, module in (("masks", network), ("masks-unpooled", unpooled)):
        seconds = learn(way, module, wholes(training, seed), steps, seed, loss)
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
