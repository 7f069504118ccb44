"""Cards: what each architecture is, where it was published, what it brought. Data, read without torch.

The texts are in `cards/NAME.toml`; the figures in `figures.json`, which `tools/zoo_pages.py` computes.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

from foveal.values import Preprocess


@dataclass(frozen=True)
class Step:
    """A step of an architecture: its name, its kind (a key of `diagram.COLOURS`), the shape it puts out."""

    name: str
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Card:
    """One architecture.

    Attributes:
        name: as in `zoo.create`.
        title: as the field calls it.
        year: of the first publication.
        paper: authors and title.
        url: where the paper can be read.
        problem: what stood in the way before.
        brought: what it brought over its predecessor, in one sentence.
        story: how, and what became of it.
        notes: where this one differs from the paper, or the paper from itself.
        input_size: side of the square it was written for, pixels.
        channels, classes: as published.
        preprocess: how an image becomes its input.
        parameters: that training changes, as published.
        macs: multiply-accumulates for one image of `input_size`; FLOPs are twice as many.
        activation_bytes: all that its layers put out for one image, in fp32.
        receptive_field: side of the square of the input that a position of the last map depends on, pixels.
        steps: from the input to the classes.
    """

    name: str
    title: str
    year: int
    paper: str
    url: str
    problem: str
    brought: str
    story: str
    notes: tuple[str, ...]
    input_size: int
    channels: int
    classes: int
    preprocess: Preprocess
    parameters: int
    macs: int
    activation_bytes: int
    receptive_field: int
    steps: tuple[Step, ...]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """`(C, H, W)` of the published input."""
        return self.channels, self.input_size, self.input_size

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {**asdict(self), "preprocess": self.preprocess.to_dict()}


#: Preprocessing that several share, pixels 0-255.
_PIXELS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    # ImageNet's mean and deviation as torchvision writes them: (0.485, 0.456, 0.406), (0.229, 0.224, 0.225).
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "mean": ((123.0, 117.0, 104.0), (1.0, 1.0, 1.0)),
    "unit": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    # Black -0.1 and full strokes 1.175, as LeCun et al. (1998) set them: about mean 0 and variance 1 on MNIST.
    "lenet": ((20.0, 20.0, 20.0), (200.0, 200.0, 200.0)),
}


@cache
def read_card(name: str) -> Card:
    """The card of a network that is in the zoo."""
    here = resources.files("foveal.models.zoo")
    words: dict[str, Any] = tomllib.loads(here.joinpath("cards", f"{name}.toml").read_text(encoding="utf-8"))
    figures = json.loads(here.joinpath("figures.json").read_text(encoding="utf-8")).get(name, {})
    mean, std = _PIXELS[words.pop("pixels")]
    grey = words["channels"] == 1
    preprocess = Preprocess(
        size=words["input_size"],
        resize="squash" if grey else "crop",
        interpolation="bilinear",
        mean=mean,
        std=std,
        channels=1 if grey else 3,
    )
    words["notes"] = tuple(words.get("notes", ()))
    counted = ("parameters", "macs", "activation_bytes", "receptive_field")
    words |= {key: int(figures.get(key, 0)) for key in counted}
    words["steps"] = tuple(Step(n, kind, tuple(shape)) for n, kind, shape in figures.get("steps", ()))
    return Card(name=name, preprocess=preprocess, **words)
