"""`foveal plan`: the notebook's network, the contract of the JSON, the verdict, and the remedies."""

import json
import sys
import xml.etree.ElementTree as ElementTree

import pytest
import torch
import torchvision
from typer.testing import CliRunner

import foveal
import profiled
from foveal.cli.main import app
from foveal.errors import UnknownName, UsageError
from foveal.planner.budget import budget_for, bytes_of
from foveal.planner.process import process_bytes
from foveal.planner.scenario import Scenario
from foveal.planner.timeline import svg_timeline, terminal_timeline

NOTEBOOK = "conv100k3s2-conv200k3s2-conv400k3s2"


def asked(*arguments):
    return CliRunner().invoke(app, ["plan", *arguments])


@pytest.fixture(scope="module")
def notebook():
    done = asked(NOTEBOOK, "--input", "3x200x300", "--batch", "50", "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_notebooks_network(notebook):
    assert notebook["parameters"] == 903400 == 2800 + 180200 + 720400
    assert [r["parameters"] for r in notebook["layers"]] == [2800, 180200, 720400]
    assert [r["output_shape"] for r in notebook["layers"]] == [[100, 100, 150], [200, 50, 75], [400, 25, 38]]
    assert [r["receptive_field"] for r in notebook["layers"]] == [3, 7, 15]
    once = notebook["predict"]["breakdown"]
    assert once["parameters"] + once["activations"] == 12_613_600
    assert notebook["predict"]["peak_bytes"] - once["workspace"] == 13_333_600
    assert notebook["input_bytes"] == 36_000_000
    assert notebook["feature_map_bytes"] == 526_000_000


def test_the_notebooks_network_as_the_profiler_sees_it(notebook):
    scenario = Scenario(input=(3, 200, 300), batch=2)
    module = foveal.models.resolve.resolve(NOTEBOOK).build(scenario.input)
    found = foveal.plan(NOTEBOOK, input=scenario.input, batch=2, remedies=False)
    assert found.train.peak_bytes == pytest.approx(profiled.true_peak(module, scenario), rel=0.02)


def test_the_contract(notebook):
    assert notebook["schema"] == 1
    row = {"name", "kind", "output_shape", "parameters", "macs", "activation_bytes", "receptive_field"}
    assert all(row <= set(layer) for layer in notebook["layers"])
    for part in ("predict", "train"):
        assert {"peak_bytes", "upper_bound_bytes", "breakdown"} <= set(notebook[part])
        assert sum(notebook[part]["breakdown"].values()) == notebook[part]["peak_bytes"]
        assert notebook[part]["peak_layer"] in {layer["name"] for layer in notebook["layers"]}
    wanted = {"parameters", "gradients", "optimizer", "activations", "workspace"}
    assert wanted <= set(notebook["train"]["breakdown"])
    assert notebook["process"]["rss_bytes"] > notebook["train"]["peak_bytes"]
    assert {"budget_bytes", "ok", "largest_batch"} <= set(notebook["fits"])
    assert isinstance(notebook["remedies"], list)
    assert isinstance(notebook["cheapest_fit"], list)


@pytest.mark.parametrize("build", [torchvision.models.resnet50, torchvision.models.vit_b_16])
def test_totals_are_torchvisions(build):
    """Parameters and GFLOPS (which are MACs) as torchvision publishes them with its weights."""
    meta = next(iter(torchvision.models.get_model_weights(build.__name__))).meta
    found = foveal.plan(f"torchvision.models:{build.__name__}", batch=2, remedies=False)
    assert found.parameters == meta["num_params"] == sum(r.parameters for r in found.layers)
    assert found.macs / 1e9 == pytest.approx(meta["_ops"], rel=0.005)
    assert found.macs == sum(r.macs for r in found.layers)


def test_it_does_not_fit_and_what_to_do():
    memory = process_bytes(330_000_000, torch.get_num_threads())
    done = asked(
        "torchvision.models:resnet18", "--input", "3x96x96", "--batch", "64", "--memory", str(memory), "--json"
    )
    assert done.exit_code == 1, done.output
    found = json.loads(done.stdout)
    assert not found["fits"]["ok"]
    assert found["fits"]["budget_bytes"] == memory
    assert 0 < found["fits"]["tensor_bytes"] <= 330_000_000  # resident memory may have grown meanwhile
    alone = {r["name"]: r for r in found["remedies"] if " + " not in r["name"]}
    assert len(alone) >= 8
    assert all({"name", "change", "train_peak_bytes", "price"} <= set(r) for r in found["remedies"])
    assert not alone["accumulate"]["same_mathematics"]
    assert "batch normalisation" in alone["accumulate"]["price"]
    assert alone["checkpoint"]["same_mathematics"]
    assert alone["checkpoint"]["train_peak_bytes"] < found["train"]["peak_bytes"]
    (best,) = [r for r in found["remedies"] if r["name"] == " + ".join(found["cheapest_fit"])]
    assert best["upper_bound_bytes"] <= found["fits"]["tensor_bytes"]


def test_savings_of_a_combination_are_traced_and_do_not_add():
    def peak(batch=16, **change):
        module = torchvision.models.resnet18()
        return foveal.plan(module, input=(3, 64, 64), batch=batch, remedies=False, **change).train.peak_bytes

    whole, half, blocks = peak(), peak(8), peak(checkpoint="blocks")
    both = peak(8, checkpoint="blocks")
    assert both < min(half, blocks)
    assert whole - both < (whole - half) + (whole - blocks)


def test_words_for_a_person(tmp_path):
    file = tmp_path / "step.svg"
    done = asked("conv8k3-relu-gap-dense5", "--input", "3x32x32", "--batch", "4", "--svg", str(file))
    assert done.exit_code == 0
    for word in ("parameters", "workspace", "largest batch", "conv8k3", "forward"):
        assert word in done.stdout
    drawn = ElementTree.parse(file).getroot()
    assert drawn.tag.endswith("svg")
    assert "http" not in file.read_text().replace("http://www.w3.org/2000/svg", "")


def test_drawings_show_the_peak():
    found = foveal.plan("conv8k3-relu-gap-dense5", input=(3, 32, 32), batch=4, remedies=False).train
    assert max(level for _, level in found.timeline) == found.peak_bytes
    assert "█" in terminal_timeline(found)
    assert "conv8k3" in svg_timeline(found, "a < b") or "relu" in svg_timeline(found, "a < b")
    assert "a &lt; b" in svg_timeline(found, "a < b")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("resnet5O",), "unknown model"),
        (("conv8", "--input", "3x32"), "--input"),
        (("conv8", "--optimizer", "sdg"), "sgd"),
        (("conv8", "--memory", "lots"), "lots"),
        (("conv8", "--device", "tpu"), "tpu"),
        (("conv8", "--precision", "fp8"), "fp8"),
        (("conv8", "--batch", "0"), "batch"),
        (("torchvision.models:resnet18", "--input", "4x32x32"), "4x32x32"),
    ],
)
def test_wrong_usage(arguments, says):
    done = asked(*arguments)
    assert isinstance(done.exception, UsageError | UnknownName)
    assert says in f"{done.exception} {done.exception.hint}"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def make(:", "SyntaxError"),
        ("nothing_of_that_name", "NameError"),
        ("def make():\n    raise KeyError('weights')", "KeyError"),
        (
            "from torch import nn\nclass N(nn.Module):\n    def forward(self, x):\n"
            "        return x.no_such()\nmake = N",
            "no_such",
        ),
        (
            "from torch import nn\nclass N(nn.Linear):\n    def forward(self, x):\n"
            "        y = super().forward(x.flatten(1))\n        return y + y if len(x) == 3 else y\n"
            "def make():\n    return N(192, 4)",
            "batch size",
        ),
    ],
)
def test_a_network_of_the_users_that_fails_is_bad_input_and_no_fault_of_ours(tmp_path, monkeypatch, code, says):
    (tmp_path / "broken_net.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_net", raising=False)
    done = asked("broken_net:make", "--input", "3x8x8", "--batch", "2", "--no-remedies")
    assert isinstance(done.exception, UsageError), done.exception
    assert says in str(done.exception) and done.exception.hint


def test_a_drawing_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    done = asked("conv8", "--input", "3x8x8", "--batch", "2", "--svg", str(tmp_path / "file" / "step.svg"))
    assert isinstance(done.exception, UsageError) and "step.svg" in str(done.exception)


def test_no_parameter_steps_before_the_last_micro_batch():
    """Both remedies together would update the weights with a part of the batch."""
    blocks = [torch.nn.Sequential(torch.nn.Linear(400, 400), torch.nn.ReLU()) for _ in range(4)]
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 400), *blocks)
    memory = process_bytes(5_000_000, torch.get_num_threads())
    found = foveal.plan(network, input=(3, 8, 8), batch=512, optimizer="adamw", memory=memory, remedies=True)
    assert found.remedies and not found.fits.ok
    for remedy in found.remedies:
        early = str(remedy.change.get("optimizer", "")).endswith("-in-backward")
        assert not (early and "accumulate" in remedy.change), remedy.name


def test_where_the_memory_is_the_machines_the_whole_process_has_to_fit():
    """Its libraries and malloc, too; of a GPU's memory tensors have all."""
    network = {"model": "conv8-relu-gap-dense2", "input": (3, 16, 16), "batch": 2, "remedies": False}
    found = foveal.plan(**network, memory="100MiB")
    assert found.rss_bytes > 100 * 2**20 == found.fits.budget_bytes
    assert not found.fits.ok and found.fits.tensor_bytes == found.fits.largest_batch == 0
    enough = foveal.plan(**network, memory=found.rss_bytes + 200 * 2**20)
    assert enough.fits.ok and 0 < enough.fits.tensor_bytes < enough.fits.budget_bytes
    on_gpu = foveal.plan(**network, device="cuda:100MiB")
    assert on_gpu.fits.ok and on_gpu.fits.tensor_bytes == on_gpu.fits.budget_bytes == 100 * 2**20


@pytest.mark.parametrize("batch", [7, 100_000])
def test_the_largest_batch_is_no_smaller_than_one_that_fits(batch):
    found = foveal.plan("conv2k3s2-relu-gap-dense2", input=(1, 8, 8), batch=batch, memory="8GiB", remedies=False)
    assert found.fits.ok and found.fits.largest_batch >= batch


@pytest.mark.parametrize(
    ("text", "size"), [("8GiB", 2**33), ("500MB", 500_000_000), ("2G", 2**31), ("1024", 1024)]
)
def test_sizes(text, size):
    assert bytes_of(text) == size


def test_the_least_budget_counts():
    assert budget_for("cpu", "1MiB").whole == 2**20
    assert budget_for("cpu", 1 << 60).size < budget_for("cpu", 1 << 60).whole < 1 << 60
    assert budget_for("cuda", None).size is None
    assert budget_for("cuda:2GiB", "3GiB").size == 2**31


def test_a_module_of_ones_own_is_left_alone():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.LazyLinear(3)).train()
    found = foveal.plan(module, input=(3, 8, 8), batch=2, remedies=False)
    assert found.parameters == 3 * 4 * 9 + 4 + 4 * 36 * 3 + 3
    assert module.training
