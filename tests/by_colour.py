"""A network of two small layers, and a strategy that trains it in a second on the images of `masked`."""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from foveal.decisions import DEVICE
from foveal.metrics.segmentation import VOID, confusion
from foveal.models.networks import register_architecture
from foveal.models.trained import TrainedModel
from foveal.training.candidate import Candidate
from foveal.training.compare import MaskEvidence
from foveal.training.strategies.registry import STRATEGIES, register_strategy
from registered import restored_registries


class ByColour(nn.Module):
    """Each pixel by its colour, after a look at its neighbours; sides are padded to multiples of `stride`."""

    def __init__(self, classes, stride=8):
        super().__init__()
        self.stride = stride
        self.blur = nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False)
        self.down, self.up = nn.AvgPool2d(stride), nn.Upsample(scale_factor=stride)
        self.score = nn.Conv2d(6, classes, 1)

    def forward(self, x):
        height, width = x.shape[2:]
        x = nn.functional.pad(x, (0, -width % self.stride, 0, -height % self.stride))
        x = self.blur(x)
        return self.score(torch.cat([x, self.up(self.down(x))], dim=1))[:, :, :height, :width]


@dataclass(frozen=True)
class Colours:
    """A strategy that takes a second."""

    name: str = "colours"
    keep_unless_worse: bool = False
    continues: str | None = None

    def refuse(self, context, state):
        return None

    def estimate(self, context, state):
        return 1.0

    def fit(self, context, state):
        torch.manual_seed(context.config.seed)
        train, val = context.split.subset("train"), context.split.subset("val")
        pixels, masks = context.pairs(train)
        classes = len(context.split.classes)
        module = ByColour(classes)
        with torch.no_grad():
            module.blur.weight.zero_()
            module.blur.weight[:, :, 1, 1] = 1
        x, y = _normalized(pixels, context.preprocess), torch.from_numpy(np.asarray(masks)).long()
        optimizer = torch.optim.Adam(module.parameters(), 0.05)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x), y, ignore_index=VOID).backward()
            optimizer.step()
        counts = []
        if val:
            pixels, masks = context.pairs(val)
            with torch.no_grad():
                predicted = module(_normalized(pixels, context.preprocess)).argmax(1).numpy().astype(np.uint8)
            counts = [confusion(p, np.asarray(m), classes) for p, m in zip(predicted, masks, strict=True)]
        names = [p.record.sha256 for p in val]
        evidence = MaskEvidence(dict(zip(names, counts, strict=True)), {p.record.sha256: p.group for p in val})
        context.decisions.record(DEVICE, {"name": "cpu", "precision": "fp32", "threads": 1}, "a test")
        tensors = {k: v.detach().numpy() for k, v in module.state_dict().items()}
        return Candidate(
            strategy=self.name,
            seconds=1.0,
            score=evidence.miou if val else None,
            score_ci95=None,
            score_n=len(val),
            trained=TrainedModel(
                tensors, context.preprocess, network={"architecture": "by-colour", "classes": classes}
            ),
            logits={},
            seen={subset: context.split.subset(subset) for subset in ("train", "val", "test")},
            settings={},
            evidence=evidence if val else None,
        )


@contextmanager
def by_colour():
    """The network is known, and its strategy is the only one for masks, for the length of a `with`."""
    with restored_registries():
        register_architecture("by-colour", ByColour)
        STRATEGIES["segmentation"].clear()
        register_strategy(Colours(), "segmentation")
        yield


def _normalized(pixels, preprocess):
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (preprocess.mean, preprocess.std))
    return (torch.from_numpy(np.asarray(pixels)).float() - mean) / std
