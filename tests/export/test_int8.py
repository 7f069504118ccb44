"""8-bit integers: what they cost is measured on held-out images, and bounded."""

import os
import subprocess
import sys

import numpy as np
import pytest

import exported
from foveal.errors import UsageError
from foveal.export.export_run import export_run
from foveal.export.int8 import _loss
from foveal.export.published import open_export, read_record
from foveal.inference.classifier import ClassificationPredictor
from test_offline import BLOCKED

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose labels are the model's own answers: it makes no mistake in fp32."""
    folder = tmp_path_factory.mktemp("int8")
    files = exported.images_in(folder / "images", 60)
    made = exported.run_in(folder / "run", exported.model_of(resize="squash"), files)
    labels = [p.label for p in ClassificationPredictor.load(made, precision="fp32").stream(files)]
    rows = (made / "split.csv").read_text().splitlines()
    cells = [row.split(",") for row in rows[1:]]
    text = [",".join([*c[:2], label, *c[3:]]) for c, label in zip(cells, labels, strict=True)]
    (made / "split.csv").write_text("\n".join([rows[0], *text]) + "\n")
    return made


def test_the_loss_is_measured_and_bounded_without_any_network(run, tmp_path):
    """Neither torch's exporter nor OpenVINO nor NNCF opens a socket, and nothing is written into the home folder."""
    pytest.importorskip("nncf", reason="the extra `int8` is not installed")
    home, out = tmp_path / "home", tmp_path / "int8"
    home.mkdir()
    arguments = ["export", run, "--to", "openvino", "--int8", "--max-drop", "30", "--out", out]
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(home)},
        check=False,
    )
    assert done.returncode == 0 and "NETWORK" not in done.stderr, done.stderr[-3000:]
    assert done.stdout.splitlines() == [str(out)] and list(home.rglob("*")) == []
    record = read_record(out)
    loss, (low, high) = record["int8"], record["int8"]["drop_ci95"]
    assert loss["n"] == 20 and loss["before"] == 1.0 and loss["holds"]
    assert low <= loss["drop_points"] <= high and loss["drop_points"] <= 30
    assert "FakeQuantize" in (out / "model.xml").read_text()
    assert sorted(f.name for f in out.iterdir()) == ["export.json", "model.bin", "model.xml"]
    assert open_export(out)(np.zeros((2, 40, 50, 3), dtype=np.uint8))["probabilities"].shape == (2, 3)
    assert record["agreement"]["n"] == 60


def test_it_is_for_formats_that_have_it(run):
    with pytest.raises(UsageError, match="onnx"):
        export_run(str(run), "onnx", int8=True)
    with pytest.raises(UsageError, match="max_drop"):
        export_run(str(run), "openvino", int8=True, max_drop=-1)


@pytest.mark.parametrize("lost", [0, 1, 5])
def test_the_interval_holds_the_figure_and_is_open_at_no_loss(lost):
    before = [True] * 100
    loss = _loss(before, [i >= lost for i in range(100)], 0.5, seen=False)
    low, high = loss.drop_ci95
    assert low < loss.drop_points < high and loss.drop_points == pytest.approx(lost)
    assert loss.holds == (lost == 0)
