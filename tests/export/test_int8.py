"""8-bit integers: what they cost is measured on held-out images, and bounded."""

import json

import numpy as np
import pytest

import exported
from foveal.errors import UsageError
from foveal.export.export_run import export_run
from foveal.export.int8 import _loss
from foveal.export.published import open_export, read_record
from foveal.inference.classifier import ClassificationPredictor

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose labels are the model's own answers: it makes no mistake in fp32."""
    folder = tmp_path_factory.mktemp("int8")
    files = exported.images_in(folder / "images", 72)
    made = exported.run_in(folder / "run", exported.model_of(resize="squash"), files)
    labels = [p.label for p in ClassificationPredictor.load(made, precision="fp32").stream(files)]
    rows = (made / "split.csv").read_text().splitlines()
    cells = [row.split(",") for row in rows[1:]]
    text = [",".join([*c[:2], label, *c[3:]]) for c, label in zip(cells, labels, strict=True)]
    (made / "split.csv").write_text("\n".join([rows[0], *text]) + "\n")
    return made


def test_the_loss_is_measured_and_bounded(run, tmp_path):
    pytest.importorskip("nncf", reason="the extra `int8` is not installed")
    done = export_run(str(run), "openvino", out=tmp_path / "int8", int8=True, max_drop=30.0)
    assert done.published and done.loss.holds and done.loss.n == 24 and done.loss.before == 1.0
    record = read_record(done.folder)
    low, high = record["int8"]["drop_ci95"]
    assert low <= record["int8"]["drop_points"] <= high and record["int8"]["drop_points"] <= 30
    text = (done.folder / "model.xml").read_text()
    assert 'element_type="i8"' in text or 'element_type="u8"' in text or "FakeQuantize" in text
    assert sorted(f.name for f in done.folder.iterdir()) == ["export.json", "model.bin", "model.xml"]
    answers = open_export(done.folder)(np.zeros((2, 40, 50, 3), dtype=np.uint8))
    assert answers["probabilities"].shape == (2, 3)
    assert json.loads((done.folder / "export.json").read_text())["agreement"]["n"] == 72


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
