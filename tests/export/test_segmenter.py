"""An exported segmenter's masks are the run's, pixel for pixel."""

import numpy as np
import pytest
import torch
from torch import nn

import exported
from foveal.errors import DataError
from foveal.export.export_run import export_run
from foveal.models.networks import register_architecture
from foveal.models.trained import TrainedModel
from foveal.values import Preprocess
from registered import restored_registries

pytestmark = pytest.mark.slow


class Scores(nn.Module):
    """A segmenter of two layers."""

    stride = 1

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 3, 1))

    def forward(self, x):
        return self.layers(x)


@pytest.fixture(autouse=True)
def scores():
    with restored_registries():
        register_architecture("scores", Scores)
        yield


def run_of(folder, files, views=("plain",), **preprocess):
    torch.manual_seed(1)
    tensors = {name: value.numpy() for name, value in Scores().state_dict().items()}
    settings = Preprocess(resize="fit", interpolation="bilinear", size=64, height=48, **preprocess)
    trained = TrainedModel(tensors, settings, None, {"architecture": "scores"}, views)
    return exported.run_in(folder, exported.bundle_of(trained, masks=True), files)


@pytest.mark.parametrize("views", [("plain",), ("plain", "mirror")])
def test_masks_of_images_of_any_size(views, tmp_path):
    files = exported.images_in(tmp_path / "images", 66)
    run = run_of(tmp_path / "run", files, views)
    done = export_run(str(run), "openvino", out=tmp_path / "out")
    assert done.published and done.agreement.n == 66 and done.agreement.largest_difference is None
    assert done.agreement.equal > 0.999
    assert done.record["outputs"] == ["masks"]


def test_masks_of_images_of_one_size(tmp_path):
    files = exported.images_in(tmp_path / "images", 66)
    rng = np.random.default_rng(0)
    for file in files[:40]:  # the usual size: 96 × 128
        file.unlink()
        exported.Image.fromarray(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)).save(file.with_suffix(".png"))
    every = sorted((tmp_path / "images").iterdir())
    done = export_run(str(run_of(tmp_path / "run", every, scale=0.5)), "openvino", out=tmp_path / "out")
    assert done.published and done.agreement.n == 40 and done.agreement.equal > 0.999
    others = run_of(tmp_path / "others", [f for f in files[40:] if f.exists()] * 3, scale=0.5)
    with pytest.raises(DataError, match="128 × 96"):
        export_run(str(others), "openvino", out=tmp_path / "none")
    assert not (tmp_path / "none").exists()
