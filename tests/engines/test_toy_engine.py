"""An engine from outside the package trains, predicts and evaluates."""

from concurrent.futures import Future

import numpy as np
import torch

from foveal import ImageClassifier, load
from foveal.engines import EngineSpec, register_engine
from foveal.engines.registry import ENGINES
from foveal.models.backbones import load_feature_network
from toy_backbone import NAME, toy_backbone


class ToyEngine:
    """torch in the caller's thread, one image at a time."""

    name, precision, version, batch_size = "toy", "fp32", "1", 32
    images = 0

    def __init__(self, backbone, preprocess, stages):
        self.network = load_feature_network(backbone, pooled=stages)
        self.mean, self.std = (np.array(v, dtype=np.float32) for v in (preprocess.mean, preprocess.std))

    def submit(self, pixels):
        ToyEngine.images += len(pixels)
        images = torch.from_numpy(((pixels - self.mean) / self.std).transpose(0, 3, 1, 2).astype(np.float32))
        future = Future()
        with torch.inference_mode():
            future.set_result(np.concatenate([self.network(image[None]).numpy() for image in images]))
        return future

    def __call__(self, pixels):
        return self.submit(pixels).result()

    def release(self):
        pass


def test_an_engine_from_outside_trains_predicts_and_evaluates(registered, make_folder, tmp_path):
    folder = make_folder(tmp_path / "images", {"ant": 12, "bee": 12})
    registered()
    register_engine(EngineSpec("toy-fp32", "fp32", lambda: True, ToyEngine))
    assert [engine.name for engine in ENGINES] == ["toy-fp32"]
    with toy_backbone():
        run = str(tmp_path / "run")
        model = ImageClassifier(time="30s", backbone=NAME, strategy="frozen", test="subset", out=run).fit(folder)
        computed = ToyEngine.images
        assert computed >= 24 and model.summary_["engine"].startswith("toy-")
        assert (load(run).predict(folder) == model.predict(folder)).all()
        assert load(run).evaluate()["test"]["n"] == model.summary_["test"]["n"]
        assert ToyEngine.images > computed
