"""What a step of learning to segment needs, planned against the profiler's truth."""

import pytest
import torch

import profiled
from foveal.fit.mixed import mix
from foveal.models.segmentation.network import AtItsScale, segmenter
from foveal.planner.backends import backend_for
from foveal.planner.passes import replay_training
from foveal.planner.scenario import Scenario


@pytest.mark.parametrize(
    ("decoder", "mixed"), [("fcn8s", False), ("unet", False), ("unet", True), ("deeplabv3plus", False)]
)
def test_the_peak_of_a_segmenters_step_is_planned_within_three_percent(decoder, mixed):
    torch.manual_seed(0)
    module = AtItsScale(segmenter(decoder, 5)).train()
    if mixed:
        mix(module)
    scenario = Scenario((3, 96, 128), 4, optimizer="adamw-foreach", channels_last=True)
    played = replay_training(module, scenario, backend_for("cpu", torch.get_num_threads())).play(scenario.batch)
    assert played.peak == pytest.approx(profiled.true_peak(module, scenario), rel=0.03)
