"""Recipes for segmentation: which decoder, on crops of which size, for how long, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SegmentationRecipe:
    """One recipe. `bench/camvid.py` measures what it is worth.

    Attributes:
        name: as in `--strategy NAME`.
        decoder: one of `models.segmentation.network.DECODERS`.
        options: further arguments of `models.segmentation.network.segmenter`.
        scales: shares of the images' size that it may be trained at, from the largest.
        min_passes: passes over all pixels of all images, at its scale, that a scale should leave time for.
        epochs: crops of each image when there is time for all.
        least_steps: under which it is not worth starting.
        time_share: of the time left that it may take.
        crop_area: pixels of a crop; its shape is that of the images.
        batch_size: crops in a step.
        lr: of the decoder.
        backbone_lr_mult: times the learning rate, and each tensor's own size, for the encoder, see `LoopSettings`.
        class_weight_power: power of a class's rarity that its pixels are weighted by: 0 is not at all, 1 makes
            classes equal.
        dice_weight: of the soft Dice loss (Milletari et al. 2016), added to cross-entropy.
        class_crop_prob, min_zoom, max_zoom, brightness_contrast, channel_gain: see `CropOptions`.
        weight_decay, warmup, ema: see `LoopSettings`.
    """

    name: str
    decoder: str
    options: Mapping[str, object] = field(default_factory=dict)
    scales: tuple[float, ...] = (1.0, 0.75, 0.5)
    min_passes: float = 10
    epochs: float = 300
    least_steps: int = 150
    time_share: float = 1.0
    crop_area: int = 224 * 288
    batch_size: int = 8
    lr: float = 0.002
    backbone_lr_mult: float = 2.0
    class_weight_power: float = 0.5
    dice_weight: float = 0.5
    class_crop_prob: float = 0.5
    min_zoom: float = 0.6
    max_zoom: float = 1.4
    rotate: float = 5.0
    stretch: float = 0.1
    brightness_contrast: float = 0.2
    channel_gain: float = 0.1
    weight_decay: float = 0.02
    warmup: float = 0.05
    ema: float = 0.99


QUICK = SegmentationRecipe("fcn8s", "fcn8s", scales=(1.0, 0.5), epochs=5, least_steps=60, time_share=0.15)
#: A slower encoder keeps more of what it learned from ImageNet. A trial on CamVid at half of its size, 0006R0 held
#: out, 500 steps, one seed: mIoU at 2, 1, 1/2 and 1/4 times the learning rate 40.2, 41.2, 41.7 and 42.8 %.
FULL = SegmentationRecipe("unet", "unet", backbone_lr_mult=0.25)
