"""Predicting loads what it needs: nothing of training, and no torch for a head on the backbone that ships."""

import subprocess
import sys

import pytest

import pictures

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


@pytest.mark.parametrize("code", [BY_COMMAND, BY_LOAD], ids=["command", "load"])
def test_a_network_of_its_own_needs_torch_but_no_training(code, tmp_path):
    image = tmp_path / "image.png"
    image.write_bytes(pictures.encoded(pictures.draw(1)))
    modules, out = modules_after(code, "model:mnist", image)
    assert out and "torch" in modules and not of_training(modules)


def test_evaluating_loads_no_training(trained, fresh_state):
    modules, out = modules_after(BY_EVALUATE, trained[0])
    assert out and "foveal.evaluation.evaluate_classifier" in modules and not of_training(modules)


def test_the_table_of_tasks_loads_no_training():
    modules, _ = modules_after(TASKS)
    assert not of_training(modules) and "torch" not in modules
