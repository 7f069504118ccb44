"""Runs at the edge of what a trainer is given: nothing to test on, a backbone of no known family."""

from dataclasses import replace

import pytest

from digits import write_idx
from foveal.config import TrainConfig
from foveal.features import Extractor
from foveal.flow import train
from foveal.models.backbones import find_backbone
from foveal.training.recipes.finetune import CACHED, FULL
from foveal.training.strategies.image_size import trainer_for
from foveal.training.trainers.finetune import CachedTrunkTrainer, FullTrainer
from runs import context_of


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    return str(write_idx(tmp_path_factory.mktemp("bars"), train=240, test=0, side=28))


def test_from_scratch_without_a_test_subset(bars, tmp_path):
    config = TrainConfig(from_scratch="lenet5", test=False, time="12s")
    path, summary = train(bars, config, out=str(tmp_path / "run"))
    assert summary["test"]["n"] == 0 and summary["test"]["accuracy"] is None
    assert summary["split"]["test"] == 0 and (path / "model" / "bundle.json").exists()


def context_with(backbone):
    extractor = Extractor(backbone, backbone.preprocess, engine=None)
    return context_of(extractor=extractor, config=TrainConfig(augment="none"))


def test_a_backbone_without_known_stages_is_fine_tuned_whole():
    lite0 = find_backbone("lite0")
    assert isinstance(trainer_for(CACHED, context_with(lite0), 128), CachedTrunkTrainer)
    assert isinstance(trainer_for(FULL, context_with(lite0), 128), FullTrainer)
    unknown = replace(lite0, segments=())
    trainer = trainer_for(CACHED, context_with(unknown), 128)
    assert isinstance(trainer, FullTrainer) and trainer.cut == 0
