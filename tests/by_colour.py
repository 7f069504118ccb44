"""A network of two small layers and a rung that trains it in a second: it learns the pictures of `masked`."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from foveal.fit.learned import Learned
from foveal.fit.mask_evidence import MaskEvidence
from foveal.fit.strategies.base import Candidate
from foveal.metrics.segmentation import VOID, confusion


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


def made(network):
    """In place of `models.networks.build`, for networks of this file."""
    return ByColour(network["classes"])


@dataclass(frozen=True)
class Colours:
    """A rung that takes a second."""

    name: str = "colours"
    surely_better: bool = False

    def refuse(self, work, so_far):
        return None

    def estimate(self, work, so_far):
        return 1.0

    def fit(self, work, so_far):
        torch.manual_seed(work.seed)
        train, val = work.split.on("train"), work.split.on("val")
        pixels, masks = work.pairs(train, work.preprocess)
        classes = len(work.split.classes)
        module = ByColour(classes)
        with torch.no_grad():
            module.blur.weight.zero_()
            module.blur.weight[:, :, 1, 1] = 1
        x, y = _normalised(pixels, work.preprocess), torch.from_numpy(np.asarray(masks)).long()
        optimizer = torch.optim.Adam(module.parameters(), 0.05)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x), y, ignore_index=VOID).backward()
            optimizer.step()
        counts = []
        if val:
            pixels, masks = work.pairs(val, work.preprocess)
            with torch.no_grad():
                answers = module(_normalised(pixels, work.preprocess)).argmax(1).numpy().astype(np.uint8)
            counts = [confusion(a, np.asarray(m), classes) for a, m in zip(answers, masks, strict=True)]
        names = [p.record.sha256 for p in val]
        evidence = MaskEvidence(dict(zip(names, counts, strict=True)), {p.record.sha256: p.group for p in val})
        work.decisions.record("device", {"name": "cpu", "precision": "f32"}, "a test")
        tensors = {k: v.detach().numpy() for k, v in module.state_dict().items()}
        network = {"architecture": "by-colour", "classes": classes}
        return Candidate(
            self.name,
            1.0,
            evidence.miou if val else None,
            None,
            len(val),
            Learned(tensors, work.preprocess, network=network),
            {},
            {side: work.split.on(side) for side in ("train", "val", "test")},
            {},
            evidence if val else None,
        )


def _normalised(pixels, preprocess):
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (preprocess.mean, preprocess.std))
    return (torch.from_numpy(np.asarray(pixels)).float() - mean) / std
