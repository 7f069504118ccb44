"""Recipes for learning to segment: which decoder, on pieces of which size, for how long, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Segmenting:
    """One recipe. `bench/camvid.py` measures what it is worth.

    Attributes:
        name: as in `--strategy NAME`.
        decoder: one of `models.segmentation.network.DECODERS`.
        options: further arguments of `models.segmentation.network.segmenter`.
        scales: shares of the pictures' size that it may learn at, from the largest.
        looks: passes over all pixels of all pictures, at its scale, that a scale should leave time for.
        epochs: pieces of each picture when there is time for all.
        least_steps: under which it is not worth beginning.
        most_share: of the time left that it may take.
        area: of a piece, pixels; its shape is that of the pictures.
        batch: pieces in a step.
        rate: of the decoder.
        trunk_share: times the rate, and each tensor's own size, for the encoder, see `job.Settings`.
        balance: power of a class's rarity that its pixels are weighed by: 0 is not at all, 1 makes classes alike.
        dice: weight of the soft Dice loss (Milletari et al. 2016) beside cross-entropy.
        around: share of the pieces cut around something drawn evenly from the classes in a picture.
        smallest, largest: how far pictures are resized before they are cut.
        light, tint: shares by which brightness and colours change, see `Augment`.
        weight_decay, warmup, ema: see `job.Settings`.
    """

    name: str
    decoder: str
    options: Mapping[str, object] = field(default_factory=dict)
    scales: tuple[float, ...] = (1.0, 0.75, 0.5)
    looks: float = 10
    epochs: float = 300
    least_steps: int = 150
    most_share: float = 1.0
    area: int = 224 * 288
    batch: int = 8
    rate: float = 0.002
    trunk_share: float = 2.0
    balance: float = 0.5
    dice: float = 0.5
    around: float = 0.5
    smallest: float = 0.6
    largest: float = 1.4
    light: float = 0.2
    tint: float = 0.1
    weight_decay: float = 0.02
    warmup: float = 0.05
    ema: float = 0.99


QUICK = Segmenting("fcn8s", "fcn8s", scales=(1.0, 0.5), epochs=5, least_steps=60, most_share=0.15)
#: A slower encoder keeps more of what it knows of all streets. A trial on CamVid at half of its size, 0006R0 held
#: out, 500 steps, one seed: mIoU at shares of 2, 1, 1/2 and 1/4 of the rate 40.2, 41.2, 41.7 and 42.8 %.
FULL = Segmenting("unet", "unet", trunk_share=0.25)
