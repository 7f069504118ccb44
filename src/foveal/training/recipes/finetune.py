"""Recipes for fine-tuning a pretrained network: how much of it is trained, for how long, and how."""

from __future__ import annotations

from dataclasses import dataclass

from foveal.training.recipes.augmentation import STRENGTHS, Augment

#: From this side on, pixels, images are large.
LARGE = 200
#: Up to this side, pixels, images are small.
SMALL = 64


@dataclass(frozen=True)
class FineTuneRecipe:
    """One recipe. Learning rate and epochs were chosen by trials on letters, digits and arrows made for it, the rest
    follows common practice; none of it was chosen by a benchmark that is kept (`docs/ladder.md`).

    Attributes:
        name: as in `--strategy NAME`.
        sizes: image sizes to choose among, from the cheapest. With a frozen share the first is for small images, the
            last for large ones; without one, short trials choose.
        small_sizes: the same for images of at most `SMALL` pixels.
        frozen_share: the leading segments that make up about this share of the backbone's cost are frozen, and their
            feature maps cached, see `Backbone.cut_at`; 0: nothing is frozen.
        frozen_share_large: the same for images of `LARGE` pixels and more, where a stage costs three times as much.
        views: augmented views of each image that are cached.
        augment: random changes, with lengths as shares of the side.
        epochs: passes through the images when there is time for all.
        min_epoch_share: share of the epochs under which it is not worth starting.
        least_steps: however few images there are.
        lr: as a share of each tensor's root mean square, see `LoopSettings.scale_lr_by_rms`.
        head_lr_mult: times the learning rate for the head, which is fitted before the rest is trained.
        near_lr_mult: times the learning rate where images are like those of the pretraining.
        batch_size, weight_decay, warmup, label_smoothing, ema: see `LoopSettings`.
    """

    name: str
    sizes: tuple[int, ...] = (96, 128, 160, 224)
    small_sizes: tuple[int, ...] = (64, 96, 128)
    frozen_share: float = 0.0
    frozen_share_large: float = 0.0
    views: int = 0
    augment: Augment = STRENGTHS["light"]
    epochs: float = 20
    min_epoch_share: float = 0.2
    least_steps: int = 150
    lr: float = 0.006
    head_lr_mult: float = 0.25
    near_lr_mult: float = 1 / 3
    batch_size: int = 32
    weight_decay: float = 0.02
    warmup: float = 0.3
    label_smoothing: float = 0.1
    ema: float = 0.99

    def frozen_share_at(self, size: int) -> float:
        """The share that is frozen for images of this side."""
        return self.frozen_share_large if size >= LARGE else self.frozen_share


FULL = FineTuneRecipe("fine-tune")
CACHED = FineTuneRecipe("cached-trunk", sizes=(128, 224), frozen_share=0.4, frozen_share_large=0.6, views=8)
