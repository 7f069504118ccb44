"""A replay at any batch is what tracing at that batch gives; counted FLOPs are torch's own."""

import pytest
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from foveal.errors import UsageError
from foveal.planner import passes
from foveal.planner.convolution import Backend
from foveal.planner.replay import Largest, Replay
from foveal.planner.scenario import Scenario
from foveal.planner.steps import loss_of

NETWORKS = (torchvision.models.resnet18, torchvision.models.mobilenet_v3_small)


@pytest.mark.parametrize("build", NETWORKS)
@pytest.mark.parametrize("batch", [5, 17, 64])
def test_every_batch_lies_on_the_line(build, batch):
    scenario, backend = Scenario(input=(3, 64, 64)), Backend(threads=2)
    line = passes.replay_training(build(), scenario, backend).play(batch)
    direct = passes.replay_training(build(), scenario, backend, batches=(batch, batch + 1)).play(batch)
    assert line.peak == direct.peak
    assert line.levels.tolist() == direct.levels.tolist()
    assert line.breakdown == direct.breakdown
    assert line.layer == direct.layer != ""


@pytest.mark.parametrize("build", [*NETWORKS, torchvision.models.vit_b_32])
def test_flops_are_those_of_torchs_counter(build):
    side = 224 if build is torchvision.models.vit_b_32 else 64
    one, _ = passes.record_training(build(), Scenario(input=(3, side, side)))
    counter = FlopCounterMode(display=False)
    with counter:
        loss_of(build()(torch.zeros(2, 3, side, side)), torch.zeros(2, dtype=torch.long)).backward()
    assert one.flops == counter.get_total_flops()


def test_the_largest_batch_fits_and_one_more_does_not():
    replay = passes.replay_training(NETWORKS[0](), Scenario(input=(3, 64, 64)), Backend())
    for budget in (200 * 2**20, 2**30, 3 * 2**30):
        largest = Largest(replay, budget).find()
        assert replay.play(largest).most <= budget < replay.play(largest + 1).most
    assert Largest(replay, 1000).find() == 0


def test_stories_that_differ_make_no_line():
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return self.layer(x).relu() if len(x) % 2 else self.layer(x)

    one, two = passes.record_training(Odd(), Scenario(input=(3, 8, 8)))
    with pytest.raises(UsageError):
        Replay(one, two, Backend())
