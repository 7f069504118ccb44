"""A linear model on pixels: a usable model of many small images within seconds, without torch.

    foveal train DATA --strategy linear-pixels

It is the floor: nothing that predicts held-out images clearly worse replaces it, such as a network that had time for a
few steps only.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from foveal.data.images.pixels import Pixels
from foveal.decisions import FIT_IMAGES
from foveal.errors import DataError
from foveal.models.linear_head import LinearHead
from foveal.models.normalisation import normalised
from foveal.models.trained import TrainedModel
from foveal.training.candidate import Candidate
from foveal.training.context import Array, RunContext
from foveal.training.linear_head import fit_head
from foveal.training.strategy import LadderState
from foveal.training.time_budget import FLOOR_SHARE, LINEAR_PIXELS_SECONDS
from foveal.values import SUBSETS, Preprocess, Subset

#: Pixels are averaged over squares until a side has no more than this many.
_SIDE = 16
#: C × n of the logistic regression. Of 16, 256 and 4,096, on images held out of MNIST's training files, 256 was best
#: for 5,000 images and 4,096 for 20,000. It was tried on no other data.
_STRENGTH = 1024.0
#: Of L-BFGS: this model has to exist within seconds.
_ITERATIONS = 100
#: The fewest images that it is fitted on, where there are so many.
_FEWEST = 5000


@dataclass(frozen=True)
class LinearPixels:
    """Logistic regression on averaged pixels."""

    name: str = "linear-pixels"
    keep_unless_worse: bool = False
    continues: str | None = None

    def refuse(self, context: RunContext, state: LadderState) -> str | None:
        """It costs next to nothing."""
        return None

    def estimate(self, context: RunContext, state: LadderState) -> float:
        """Seconds to fit it."""
        return LINEAR_PIXELS_SECONDS * len(context.split.subset("train"))

    def fit(self, context: RunContext, state: LadderState) -> Candidate:
        """Fit it on as many training images as there is time for, and predict the held-out subsets.

        Raises:
            DataError: when the training subset lacks a class.
        """
        began, preprocess, classes = context.clock.spent(), context.preprocess, context.split.classes
        pool = -(-preprocess.size // _SIDE)
        records = context.split.subset("train")
        labels = context.targets(records)
        if len(np.unique(labels)) < len(classes):
            raise DataError("the training subset lacks a class", hint="add images, or leave the class out")
        some = context.target.fair_order(records)[: context.decisions.settle(FIT_IMAGES, lambda: _count(context))]
        place = {p.record.sha256: i for i, p in enumerate(records)}
        rows = np.array(sorted({place[p.record.sha256] for p in some}))
        features = averaged(context.pixels("train"), preprocess, pool)
        with context.clock.lap("fit"), context.progress.stage("fit", 1, unit="") as bar:
            head = fit_head(features[None, rows], labels[rows], _STRENGTH, floor=1.0, iterations=_ITERATIONS)
            bar(1)
        logits: dict[Subset, Array] = {
            subset: head.logits(averaged(context.pixels(subset), preprocess, pool)) for subset in ("val", "test")
        }
        val = context.targets(context.split.subset("val"))
        tallies = context.target.tally(context.target.predict(logits["val"]), val, classes)
        return Candidate(
            strategy=self.name,
            seconds=context.clock.spent() - began,
            score=context.target.score(tallies) if len(val) else None,
            score_ci95=context.target.interval(tallies),
            score_n=len(val),
            trained=_trained(head, context, pool),
            logits=logits,
            seen={subset: context.split.subset(subset) for subset in SUBSETS},
            settings={"strength": _STRENGTH, "images": len(rows), "pool": pool},
        )


def averaged(pixels: Pixels, preprocess: Preprocess, pool: int) -> NDArray[np.float32]:
    """Images `(N, C, H, W)` normalised and averaged over squares, `(N, features)`, as `small.LinearNet` does it."""
    count, channels, height, width = pixels.shape
    h, w = height // pool, width // pool
    result = np.empty((count, channels * h * w), dtype=np.float32)
    for start in range(0, count, 4096):  # in parts: as floats they take four times the memory
        part = np.asarray(pixels[start : start + 4096, :, : h * pool, : w * pool])
        squares = np.zeros((len(part), channels, h, w), dtype=np.float32)
        for y, x in product(range(pool), repeat=2):  # numpy's own mean over two axes takes several times as long
            squares += part[:, :, y::pool, x::pool]
        squares /= pool**2
        result[start : start + 4096] = normalised(squares, preprocess).reshape(len(part), -1)
    return result


def _count(context: RunContext) -> tuple[int, str]:
    """How many images fit the time."""
    every = len(context.split.subset("train"))
    fits = FLOOR_SHARE * context.deadline.left() / LINEAR_PIXELS_SECONDS
    count = min(every, max(_FEWEST, int(min(fits, every))))
    return count, f"{count} of {every} training images: a share of the time left"


def _trained(head: LinearHead, context: RunContext, pool: int) -> TrainedModel:
    preprocess = context.preprocess
    network = {
        "architecture": "linear",
        "channels": preprocess.channels,
        "size": preprocess.size,
        "pool": pool,
        "classes": len(context.split.classes),
    }
    tensors = {"head.weight": np.ascontiguousarray(head.weight), "head.bias": np.ascontiguousarray(head.bias)}
    return TrainedModel(tensors, preprocess, network=network)


STRATEGY = LinearPixels()
