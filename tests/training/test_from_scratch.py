"""Any architecture of the zoo is trained through `foveal train --from-scratch NAME`."""

import numpy as np
import pytest
from PIL import Image

from foveal.config import TrainConfig
from foveal.errors import UnknownName, UsageError
from foveal.flow import train
from foveal.inference.classifier import ClassificationPredictor

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    """Grey images of 32 × 32 pixels with a bright bar, horizontal or vertical."""
    folder, generator = tmp_path_factory.mktemp("bars"), np.random.default_rng(0)
    for label in ("horizontal", "vertical"):
        (folder / label).mkdir()
        for i in range(40):
            grey = generator.integers(0, 60, (32, 32), dtype=np.uint8)
            at = int(generator.integers(6, 24))
            grey[
                (slice(at, at + 3), slice(4, 28)) if label == "horizontal" else (slice(4, 28), slice(at, at + 3))
            ] = 230
            Image.fromarray(grey).save(folder / label / f"{i}.png")
    return folder


def test_lenet5_is_trained_and_loaded_from_its_bundle(bars, tmp_path):
    path, summary = train(bars, TrainConfig(from_scratch="lenet5", time="5m"), out=str(tmp_path / "run"))
    assert summary["model"]["name"] == "lenet5" and summary["model"]["input"] == [1, 32, 32]
    assert summary["strategy"]["name"] == "from-scratch-lenet5"
    assert summary["test"]["accuracy"] > 0.8
    files = sorted(str(f) for f in bars.rglob("*.png"))
    labels = [p.label for p in ClassificationPredictor.load(path).stream(files)]
    assert np.mean([label in file for label, file in zip(labels, files, strict=True)]) > 0.8


def test_an_unknown_architecture_suggests_the_nearest_and_leaves_nothing(bars, tmp_path):
    with pytest.raises(UnknownName, match="lennet5") as refused:
        train(bars, TrainConfig(from_scratch="lennet5"), out=str(tmp_path / "run"))
    assert "lenet5" in str(refused.value.hint)
    assert not (tmp_path / "run").exists()


def test_an_architecture_and_a_strategy_exclude_each_other():
    with pytest.raises(UsageError) as refused:
        TrainConfig(from_scratch="lenet5", strategy="frozen")
    assert "--from-scratch" in str(refused.value) and "--strategy" in str(refused.value) and refused.value.hint
