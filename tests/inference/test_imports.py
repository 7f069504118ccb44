"""Predicting loads what it needs: nothing of training, and no torch but to convert a network the first time."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import pictures
from foveal.data.images.render import render
from foveal.engines.torch_engine import TorchEngine
from foveal.inference.bundle import make_bundle, save_bundle
from foveal.inference.classifier import ClassificationPredictor
from foveal.metrics.calibration import Calibration, PredictionSets
from foveal.models.networks import build
from foveal.models.trained import TrainedModel
from foveal.values import Preprocess

BY_COMMAND = (
    "import sys; sys.argv = ['foveal', 'predict', *sys.argv[1:]]; from foveal.cli.main import main; main()"
)
BY_LOAD = "import foveal; print(foveal.load(sys.argv[1]).predict(sys.argv[2])[0])"
BY_EVALUATE = "sys.argv.insert(1, 'evaluate'); from foveal.cli.main import main; main()"
TASKS = "import foveal.tasks, foveal.inference.predictor, foveal.inference.dense_map"


def modules_after(code, *arguments):
    """The modules that are loaded when a Python process ends, and what it printed."""
    register = "import atexit, sys; atexit.register(lambda: print('MODULES', *sys.modules, file=sys.stderr)); "
    done = subprocess.run(
        [sys.executable, "-c", register + code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return set(done.stderr.rpartition("MODULES ")[2].split()), done.stdout


def of_training(modules):
    return {m for m in modules if m == "foveal.training" or m.startswith("foveal.training.")}


@pytest.mark.parametrize("code", [BY_COMMAND, BY_LOAD], ids=["command", "load"])
def test_predicting_loads_neither_training_nor_torch(code, trained, photos):
    modules, out = modules_after(code, trained[0], photos / "ant" / "000.jpg")
    assert "ant" in out and "foveal.inference.classifier" in modules
    assert not of_training(modules)
    assert not modules & {"torch", "timm", "torchvision"}


NETWORKS = {
    "scratch": {"architecture": "small", "channels": 3, "classes": 3, "stages": [[8], [16]]},
    "linear": {"architecture": "linear", "channels": 3, "size": 32, "pool": 4, "classes": 3},
    "tuned": {"architecture": "tuned", "backbone": "lite0", "dimension": 1280, "classes": 3},
}
NETWORKS["ensemble"] = {"architecture": "ensemble", "member": NETWORKS["scratch"], "count": 2}
NETWORKS["shifted"] = {"architecture": "shifted", "inner": NETWORKS["scratch"], "pixels": 1, "mirror": True}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_converted_network_answers_as_torch(name):
    predictor, expected = untrained_predictor(NETWORKS[name])
    images = [pictures.draw(i, (32, 32)) for i in range(12)]
    assert np.abs(predictor.probabilities(images) - expected(images)).max() < 0.01
    assert predictor._ready().name == "openvino"


@pytest.mark.parametrize("name", ["scratch", "tuned"])
def test_a_network_of_its_own_needs_torch_only_the_first_time(name, tmp_path):
    predictor, _ = untrained_predictor(NETWORKS[name])
    images = [pictures.draw(i, (32, 32)) for i in range(12)]
    predictor.make_graphs(images)
    save_bundle(predictor.bundle, tmp_path / "bundle")
    image = tmp_path / "image.png"
    image.write_bytes(pictures.encoded(images[0]))
    modules, out = modules_after(BY_COMMAND, tmp_path / "bundle", image)
    assert out.splitlines()[1] and "openvino" in modules
    assert not of_training(modules) and not modules & {"torch", "timm", "torchvision"}


def untrained_predictor(network):
    """The predictor of a model with fresh weights, and what gives its probabilities in torch."""
    trained, expected = untrained_model(network)
    bundle = make_bundle(
        trained, task="classify", classes=["a", "b", "c"], label_map=None,
        calibration=Calibration({}, 1.0, PredictionSets(0.9, 0.1)), provenance={},
    )  # fmt: skip
    return ClassificationPredictor(bundle), expected


def untrained_model(network):
    """A model with fresh weights, and its probabilities in torch."""
    torch.manual_seed(0)
    module, preprocess = build(network).eval(), Preprocess(size=32, resize="squash")

    def expected(images):
        pixels = np.stack([render(image, preprocess) for image in images])
        return torch.softmax(torch.from_numpy(TorchEngine(module, preprocess, device="cpu")(pixels)), 1).numpy()

    tensors = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    return TrainedModel(tensors, preprocess, None, network), expected


def test_the_first_prediction_of_a_network_loads_no_training(fresh_cache, tmp_path):
    image = tmp_path / "image.png"
    image.write_bytes(pictures.encoded(pictures.draw(1)))
    modules, out = modules_after(BY_COMMAND, "model:mnist", image)
    assert out and "torch" in modules and not of_training(modules)
    modules, again = modules_after(BY_LOAD, "model:mnist", image)
    assert again and not modules & {"torch", "timm", "torchvision"}


def test_evaluating_loads_no_training(trained, fresh_state):
    modules, out = modules_after(BY_EVALUATE, trained[0])
    assert out and "foveal.evaluation.evaluate_classifier" in modules and not of_training(modules)


def test_the_table_of_tasks_loads_no_training():
    modules, _ = modules_after(TASKS)
    assert not of_training(modules) and "torch" not in modules
