"""What a step of learning to segment needs, planned against the profiler's truth."""

import pytest
import torch

import profiled
from foveal.models.segmentation.network import CropSegmenter, segmenter
from foveal.planner.backends import backend_for
from foveal.planner.passes import replay_training
from foveal.planner.scenario import Scenario


@pytest.mark.parametrize(
    ("decoder", "sides", "batch"), [("fcn8s", (224, 288), 8), ("unet", (224, 288), 8), ("unet", (96, 128), 4)]
)
def test_the_peak_of_a_segmenters_step_is_planned_within_three_percent(decoder, sides, batch):
    """As it learns: 8 pieces of the recipe's size; and on pictures with last maps smaller than their kernels."""
    module = CropSegmenter(segmenter(decoder, 11)).train()
    scenario = Scenario((3, *sides), batch, optimizer="adamw-foreach", channels_last=True)
    played = replay_training(module, scenario, backend_for("cpu", torch.get_num_threads())).play(scenario.batch)
    assert played.peak == pytest.approx(profiled.true_peak(module, scenario), rel=0.03)
