"""Data augmentation as values: what may change in an image, and how much. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Augment:
    """How much an image may change at random; 0 is not at all.

    Attributes:
        translate: pixels, each way.
        rotate: degrees, each way.
        scale: share, each way.
        shear: share, each way.
        elastic: pixels of a smooth random displacement (standard deviation; Simard et al. 2003).
        elastic_grid: points per side at which that displacement is drawn.
        hflip: whether half of the images are mirrored.
        brightness_contrast: share by which both change, each way.
        channel_gain: share by which each channel changes.
    """

    translate: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    elastic_grid: int = 5
    hflip: bool = False
    brightness_contrast: float = 0.0
    channel_gain: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return asdict(self)

    def at_size(self, size: int) -> Augment:
        """Lengths that are shares of the image's side, in pixels."""
        return replace(self, translate=self.translate * size, elastic=self.elastic * size)

    @property
    def warps(self) -> bool:
        """Whether pixels have to be interpolated."""
        return any((self.rotate, self.scale, self.shear, self.elastic))


#: What `--augment` names, with lengths as shares of the side; each is mirrored as well where that keeps the target.
STRENGTHS = {
    "none": Augment(),
    "light": Augment(translate=0.08, rotate=12, scale=0.15, shear=0.05, brightness_contrast=0.2, channel_gain=0.1),
    "strong": Augment(
        translate=0.12,
        rotate=20,
        scale=0.3,
        shear=0.1,
        elastic=0.01,
        brightness_contrast=0.4,
        channel_gain=0.2,
    ),
}


def augment_for(name: str, recipe: Augment, size: int) -> Augment:
    """What `--augment NAME` means for images of this side, in pixels: `auto` is the recipe's own."""
    return recipe if name == "auto" else STRENGTHS[name].at_size(size)
