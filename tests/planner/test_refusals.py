"""What cannot be planned is refused by name, with exit code 2: never an internal error, never silence."""

import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from foveal.cli.main import app
from foveal.errors import UsageError
from foveal.planner import plan
from foveal.planner.budget import device_of


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["-".join(["conv8"] * 3000)], "3000 layers"),
        (["x" * 3000], "unknown model"),
        (["conv10k99999999"], "99999999"),
        (["conv10-dense" + "9" * 5000], "99999"),
        (["resnet18", "--batch", "9" * 20], "--batch"),
        (["resnet18", "--batch", "0"], "--batch"),
        (["resnet18", "--batch", str(2**24), "--input", "3x60000x60000"], "bytes"),
        (["resnet18", "--input", "3x99999999x99999999"], "99999999"),
        (["resnet18", "--input", "3x" + "9" * 5000 + "x2"], "--input"),
        (["resnet18", "--classes", "0"], "--classes"),
        (["resnet18", "--threads", "0"], "--threads"),
        (["sys:exit"], "sys:exit"),
        (["resnet18", "--device", "gpu"], "gpu"),
        (["resnet18", "--device", "cuda:some"], "some"),
    ],
)
def test_the_bad_part_is_named(arguments, named):
    with pytest.raises(UsageError) as caught:
        app(["plan", *arguments], standalone_mode=False)
    assert named in caught.value.message and caught.value.hint and caught.value.exit_code == 2
    assert len(caught.value.hint) < 500


@pytest.mark.parametrize("body", ["raise SystemExit", "exit(0)"])
def test_user_code_that_ends_the_program(tmp_path, monkeypatch, body):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    name = f"ending_{len(body)}"
    (tmp_path / f"{name}.py").write_text(f"def network():\n    {body}\n")
    (tmp_path / f"{name}_module.py").write_text(body)
    for model in (f"{name}:network", f"{name}_module:network"):
        with pytest.raises(UsageError, match=name):
            plan(model)


def test_user_code_that_never_returns_is_stopped_by_ctrl_c(tmp_path):
    begun = tmp_path / "begun"
    body = f"import pathlib\ndef network():\n    pathlib.Path({str(begun)!r}).touch()\n    while True:\n        pass\n"
    (tmp_path / "endless.py").write_text(body)
    command = [sys.executable, "-m", "foveal", "plan", "endless:network"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not begun.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out, "Traceback" in said) == (130, "", False)


def test_what_user_code_prints_stays_out_of_the_result(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "talking.py").write_text(
        "from torch import nn\nprint('loading')\n"
        "def network():\n    print('building')\n    return nn.Sequential(nn.Flatten(), nn.Linear(48, 2))\n"
    )
    done = CliRunner().invoke(app, ["plan", "talking:network", "--input", "3x4x4", "--json"])
    assert done.exit_code == 0 and done.stdout.lstrip().startswith("{")
    assert "loading" in done.stderr and "building" in done.stderr


@pytest.mark.parametrize("text", ["cuda", "cuda:0", "cuda:1"])
def test_a_gpu_by_its_number_says_nothing_about_memory(text):
    assert device_of(text) == ("cuda", None)


@pytest.mark.parametrize("dims", [(1, 3, -5, 5), (1, 3, 2**40, 5)])
def test_an_onnx_file_of_impossible_size(tmp_path, dims):
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", kind, dims)],
        [helper.make_tensor_value_info("y", kind, dims)],
    )
    onnx.save(helper.make_model(graph), tmp_path / "odd.onnx")
    with pytest.raises(UsageError):
        plan(str(tmp_path / "odd.onnx"))
