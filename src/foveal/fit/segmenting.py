"""A network learns what each pixel shows: pieces of pictures, a loss that rare classes count in, the one loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from foveal.clock import Clock
from foveal.fit.batches import statistics_of
from foveal.fit.crops import Crops, Cut, Stack
from foveal.fit.job import Job, Settings
from foveal.fit.loop import train_network
from foveal.fit.segmentings import Segmenting
from foveal.metrics.segmentation import VOID, Counts, boundary_counts, confusion, mean_boundary_f1, miou
from foveal.models.segmentation.network import AtItsScale, Segmenter, segmenter
from foveal.values import Backbone, Preprocess

Pixels = NDArray[np.uint8]
#: Rare classes are not weighed over this many times the mean.
_HEAVIEST = 10.0
_OPTIMIZER = "adamw"
#: Steps between looks at the loss.
_LOOK = 25


def class_weights(masks: Stack, classes: int, balance: float) -> Tensor:
    """What a pixel of each class counts in cross-entropy, `(K,)`; the mean over all known pixels is 1.

    A class that never occurs counts as the rarest one.
    """
    counts = np.zeros(256, dtype=np.int64)
    for mask in masks:
        counts += np.bincount(np.asarray(mask).ravel(), minlength=256)
    known = counts[:classes].astype(float)
    occurs = known > 0
    if not occurs.any():
        return torch.ones(classes)
    share = known / known.sum()
    weights = (share[occurs].mean() / np.where(occurs, share, share[occurs].min())) ** balance
    weights = np.minimum(weights, _HEAVIEST)
    return torch.tensor(weights / float((weights * share).sum()), dtype=torch.float32)


def segmentation_loss(weights: Tensor, dice: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Logits `(N, K, H, W)` and classes `(N, H, W)`, `VOID` where nobody knows → weighed cross-entropy, and `dice`
    times the soft Dice loss over the classes that occur in the batch (Milletari et al. 2016)."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if not bool((targets != VOID).any()):
            return outputs.sum() * 0.0
        logs = functional.log_softmax(outputs, dim=1)
        found = functional.nll_loss(logs, targets, weights.to(logs.device), ignore_index=VOID)
        if not dice:
            return found
        known = (targets != VOID).unsqueeze(1)
        true = (
            torch.zeros_like(logs).scatter_(1, torch.where(targets == VOID, 0, targets).unsqueeze(1), 1.0) * known
        )
        answered = logs.exp() * known
        both, each = (answered * true).sum((0, 2, 3)), answered.sum((0, 2, 3)) + true.sum((0, 2, 3))
        occurs = true.sum((0, 2, 3)) > 0
        overlap = (2 * both + 1) / (each + 1)
        return found + dice * (1 - overlap)[occurs].mean()

    return loss


def piece_sides(how: Segmenting, height: int, width: int, scale: float) -> tuple[int, int]:
    """Sides of a piece, multiples of 32: of the pictures' shape, and no larger than they are at this scale."""
    share = min(1.0, (how.area / (height * width * scale**2)) ** 0.5)

    def whole(side: int) -> int:
        return max(32, 32 * round(float(side * scale * share / 32)))

    return whole(height), whole(width)


def crops_for(
    how: Segmenting,
    pixels: Stack,
    masks: Stack,
    preprocess: Preprocess,
    *,
    classes: int,
    scale: float,
    mirror: bool,
    seed: int,
    device: str = "cpu",
) -> Crops:
    """The recipe's batches out of these pictures, whose first tells the shape of all pieces."""
    height, width = piece_sides(how, *np.shape(masks[0]), scale)  # type: ignore[call-arg]
    cut = Cut(
        height, width, smallest=scale * how.smallest, largest=scale * how.largest, around=how.around,
        mirror=mirror, light=how.light, tint=how.tint,
    )  # fmt: skip
    return Crops(pixels, masks, preprocess, size=how.batch, cut=cut, classes=classes, seed=seed, device=device)


def settings_for(how: Segmenting, steps: int, precision: str = "f32", most: int = 0) -> Settings:
    """The recipe as the loop takes it."""
    return Settings(
        steps,
        how.rate,
        most,
        relative=True,
        cosine=True,
        trunk="encoder.",
        trunk_share=how.trunk_share,
        optimizer=_OPTIMIZER,
        weight_decay=how.weight_decay,
        warmup=how.warmup,
        ema=how.ema,
        precision=precision,
        check_every=_LOOK,
    )


def answers_of(
    module: nn.Module,
    pixels: Stack,
    preprocess: Preprocess,
    device: str = "cpu",
    *,
    mirrored: bool = False,
) -> list[Pixels]:
    """Masks `(H, W)` of pictures `(3, H, W)` of 8 bits, one at a time; `mirrored`: of their mirror images, turned
    back."""
    mean, std = statistics_of(preprocess, device)
    found = []
    with torch.inference_mode():
        for picture in pixels:
            x = (torch.from_numpy(np.array(picture))[None].to(device).float() - mean) / std
            x = (x.flip(3) if mirrored else x).contiguous(memory_format=torch.channels_last)
            best = module(x)[0].argmax(0)
            found.append((best.flip(1) if mirrored else best).to(torch.uint8).cpu().numpy())
    return found


@dataclass(frozen=True)
class Row:
    """One network, trained from one seed, on the pictures held out.

    Attributes:
        decoder, seed: which.
        miou, boundary_f1: shares.
        counts: confusion of each picture, `(N, K, K)`.
        boundaries: see `metrics.segmentation.boundary_counts`, of each picture, `(N, K, 4)`.
        loss, seconds, steps: of the training.
    """

    decoder: str
    seed: int
    miou: float
    boundary_f1: float
    counts: Counts
    boundaries: Counts
    loss: float
    seconds: float
    steps: int


def compare_decoders(
    learning: tuple[Stack, Stack],
    held_out: tuple[Stack, Stack],
    *,
    classes: int,
    backbone: Backbone,
    decoders: Sequence[str] = ("fcn32s", "fcn16s", "fcn8s", "unet"),
    seeds: Sequence[int] = (0,),
    steps: int = 200,
    how: Segmenting | None = None,
    mirror: bool = False,
    on_row: Callable[[Row], None] = lambda _: None,
) -> list[Row]:
    """What the finest stride of a decoder is worth: all learn from the same pieces, for as many steps.

    Args:
        learning, held_out: pictures `(3, H, W)` and masks `(H, W)`, 8 bits; all of a size.
        classes: K.
        backbone: whose weights the encoders begin with.
        decoders: what to compare.
        seeds: of order, pieces and decoders' beginnings.
        steps: of each training.
        how: the recipe, but for the decoder.
        mirror: whether mirrored pieces keep their classes.
        on_row: told of each row as it is there.
    """
    rows = []
    for seed in seeds:
        for decoder in decoders:
            recipe = how or Segmenting(decoder, decoder)
            torch.manual_seed(seed)
            options: dict[str, Any] = dict(recipe.options) if decoder == recipe.decoder else {}
            module = segmenter(decoder, classes, backbone, **options)
            outcome = _learn(module, recipe, learning, backbone.preprocess, classes, steps, seed, mirror)
            answers = answers_of(module.eval(), held_out[0], backbone.preprocess)
            pairs = list(zip(answers, map(np.asarray, held_out[1]), strict=True))
            counts = np.stack([confusion(a, t, classes) for a, t in pairs])
            edges = np.stack([boundary_counts(a, t, classes) for a, t in pairs])
            rows.append(
                Row(
                    decoder, seed, miou(counts.sum(0)), mean_boundary_f1(edges.sum(0)), counts, edges,
                    outcome["loss"], outcome["seconds"], outcome["steps"],
                )
            )  # fmt: skip
            on_row(rows[-1])
    return rows


def _learn(
    module: Segmenter,
    how: Segmenting,
    learning: tuple[Stack, Stack],
    preprocess: Preprocess,
    classes: int,
    steps: int,
    seed: int,
    mirror: bool,
) -> Mapping[str, Any]:
    pixels, masks = learning
    batches = crops_for(
        how, pixels, masks, preprocess, classes=classes, scale=module.scale, mirror=mirror, seed=seed
    )
    learner = AtItsScale(module).to(memory_format=torch.channels_last)
    loss = segmentation_loss(class_weights(masks, classes, how.balance), how.dice)
    job = Job(how.name, learner, batches, loss, seed=seed, pictures=batches.size)
    return vars(train_network(job, settings_for(how, steps), clock=Clock()))
