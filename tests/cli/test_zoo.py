"""`foveal zoo`."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from foveal.cli.main import app
from foveal.errors import UnknownName, UsageError
from foveal.models import zoo


def ask(*arguments):
    return CliRunner().invoke(app, ["zoo", *arguments])


def test_the_table_names_all():
    done = ask()
    lines = done.stdout.splitlines()
    assert done.exit_code == 0 and [line.split()[0] for line in lines[1:] if line[0] != " "] == list(zoo.names())
    assert next(line for line in lines if line.startswith("alexnet ")).split()[1:3] == ["2012", "60,965,224"]


def test_json():
    found = json.loads(ask("--json").stdout)
    assert found["schema"] == 1 and len(found["architectures"]) == len(zoo.names())
    assert set(found["architectures"][0]) == {"name", "year", "parameters", "macs", "paper", "brought"}


def test_one_with_its_layers_and_drawing(tmp_path):
    drawing = tmp_path / "lenet5.svg"
    done = ask("lenet5", "--svg", str(drawing))
    assert done.exit_code == 0 and "60,000 parameters" in done.stdout and "trunk.c3" in done.stdout
    assert drawing.read_text().startswith("<svg")
    found = json.loads(ask("lenet5", "--json").stdout)
    assert found["schema"] == 1 and found["parameters"] == 60_000
    assert sum(layer["parameters"] for layer in found["layers"]) == 60_000


def test_bad_input():
    with pytest.raises(UnknownName) as caught:
        CliRunner().invoke(app, ["zoo", "alexnett"], catch_exceptions=False)
    assert caught.value.near == "alexnet"
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(app, ["zoo", "--svg", "x.svg"], catch_exceptions=False)
    assert "--svg" in caught.value.hint
    command = [sys.executable, "-m", "foveal", "zoo", "resnet5O"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "resnet50" in done.stderr and done.stdout == ""


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mobilenet_v3_small", "mobilenet_v3_small"),
        ("efficientnet_b0", "efficientnet_b0"),
        ("vit_b_16", "vit_b_16"),
        ("torchvision:resnet18", "torchvision:resnet18"),
        ("convnext_tinny", "convnext_tiny"),
    ],
)
def test_a_network_outside_the_zoo_is_shown_by_plan(name, meant):
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(app, ["zoo", name], catch_exceptions=False)
    assert caught.value.hint.endswith(f"foveal plan {meant}")
