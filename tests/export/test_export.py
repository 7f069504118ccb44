"""`foveal export`: a file that answers as the run does, or nothing."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import exported
from foveal.cli.main import app
from foveal.engines.openvino_files import ProgramFile
from foveal.errors import BundleError, DataError, UnknownName, UsageError
from foveal.export.export_run import export_run
from foveal.export.format import ExportFormat
from foveal.export.formats import FORMATS, register_format
from foveal.export.published import open_export, read_record
from foveal.files import write_json
from foveal.inference.classifier import ClassificationPredictor
from foveal.schema import signed
from registered import restored_registries

pytestmark = pytest.mark.slow
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")


def foveal(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    files = exported.images_in(folder / "images")
    return exported.run_in(folder / "run", exported.model_of(), files)


@pytest.fixture(scope="module")
def simple_run(run, tmp_path_factory):
    """A run whose model is converted in no time."""
    files = sorted((run.parent / "images").iterdir())
    model = exported.model_of(exported.LINEAR, resize="squash")
    return exported.run_in(tmp_path_factory.mktemp("simple") / "run", model, files)


@pytest.fixture(scope="module")
def onnx_folder(run, tmp_path_factory):
    return export_run(str(run), "onnx", out=tmp_path_factory.mktemp("out") / "onnx", licence="CC0-1.0")


@pytest.fixture(scope="module")
def openvino_folder(run, tmp_path_factory):
    return export_run(str(run), "openvino", out=tmp_path_factory.mktemp("out") / "openvino")


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_it_answers_as_the_run_on_images_of_all_modes_and_sizes(name, request):
    done = request.getfixturevalue(f"{name}_folder")
    record = read_record(done.folder)
    assert done.published and record["format"] == name
    found = record["agreement"]
    assert found["n"] == 66 and found["holds"] and found["equal"] >= 0.995 and found["largest_difference"] <= 0.02
    low, high = found["equal_ci95"]
    assert low < found["equal"] <= high
    assert record["checked_on"]["kinds"] >= 8


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_batch_of_any_number_and_size(name, request, run):
    model = open_export(request.getfixturevalue(f"{name}_folder").folder)
    images = np.random.default_rng(1).integers(0, 256, (3, 41, 67, 3), dtype=np.uint8)
    answers = model(images)
    assert answers["probabilities"].shape == (3, 3) and answers["prediction_set"].dtype == bool
    assert answers["prediction_set"][np.arange(3), answers["probabilities"].argmax(axis=1)].all()
    expected = ClassificationPredictor.load(run, precision="fp32").probabilities(
        [Image.fromarray(image) for image in images]
    )
    assert np.abs(answers["probabilities"] - expected).max() < 0.02
    assert model(images[:1])["probabilities"].shape == (1, 3)


def test_the_file_says_what_it_is(onnx_folder, openvino_folder, run):
    session = onnxruntime.InferenceSession(onnx_folder.folder / "model.onnx")
    says = session.get_modelmeta().custom_metadata_map
    assert json.loads(says["classes"]) == list(exported.CLASSES) and says["license"] == "CC0-1.0"
    assert json.loads(says["calibration"])["temperature"] == 1.3
    assert json.loads(says["provenance"])["strategy"] == "by hand"
    only = session.get_inputs()[0]
    assert (only.name, only.type, only.shape) == ("images", "tensor(uint8)", ["count", "height", "width", 3])
    assert "<classes" in (openvino_folder.folder / "model.xml").read_text()


def test_a_model_that_answers_otherwise_is_not_published(simple_run, tmp_path):
    """A format that loses the sign of every answer."""

    class Upside:
        def __init__(self, inner):
            self._inner = inner

        def __call__(self, images):
            return {name: 1 - value for name, value in self._inner(images).items() if name == "probabilities"}

    openvino = FORMATS["openvino"]
    with restored_registries():
        register_format(
            ExportFormat("upside", openvino.files, openvino.write, lambda folder: Upside(openvino.open(folder)))
        )
        out = tmp_path / "out"
        done = foveal("export", simple_run, "--to", "upside", "--out", out, "--json")
        assert done.exit_code == 1 and json.loads(done.stdout)["published"] is False
        assert not out.exists() and list(tmp_path.iterdir()) == []


def test_a_format_from_outside(simple_run, tmp_path):
    """It writes the model's own metadata, and answers with the first format's file."""
    openvino = FORMATS["openvino"]

    def write(traced, folder):
        openvino.write(traced, folder)
        write_json(folder / "about.json", dict(traced.metadata))

    with restored_registries():
        register_format(ExportFormat("toy", (*openvino.files, "about.json"), write, openvino.open))
        done = foveal("export", simple_run, "--to", "toy", "--out", tmp_path / "toy")
        assert done.exit_code == 0 and str(tmp_path / "toy") in done.stdout
        assert json.loads((tmp_path / "toy" / "about.json").read_text())["task"] == "classify"
        assert open_export(tmp_path / "toy")(np.zeros((1, 9, 9, 3), dtype=np.uint8))


@pytest.fixture
def copy(openvino_folder, tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in openvino_folder.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def damage(file):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def swap(file):
    file.write_bytes(file.with_name("model.xml").read_bytes())


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("change", [damage, swap, flip, lambda file: file.unlink()])
def test_a_file_that_is_not_the_one_that_was_checked_is_refused(copy, change):
    assert open_export(copy)
    change(copy / "model.bin")
    with pytest.raises(BundleError, match=r"model\.bin"):
        open_export(copy)


@pytest.mark.parametrize(
    "change", [lambda r: r.update(schema=99), lambda r: r.pop("files"), lambda r: r["files"].update({"a": "b"})]
)
@pytest.mark.parametrize("is_signed", [False, True])
def test_a_record_of_something_else_is_refused(copy, change, is_signed):
    record = json.loads((copy / "export.json").read_text())
    change(record)
    write_json(copy / "export.json", signed(record) if is_signed else record)
    with pytest.raises(BundleError, match=r"export\.json"):
        open_export(copy)


def test_images_that_are_gone_are_an_error_with_a_way_out(run, tmp_path):
    files = exported.images_in(tmp_path / "images", 64)
    other = exported.run_in(
        tmp_path / "run", exported.model_of(exported.LINEAR), [f.with_suffix(".gone") for f in files]
    )
    with pytest.raises(DataError) as refused:
        export_run(str(other), "openvino")
    assert "--images" in refused.value.hint
    done = export_run(str(other), "openvino", images=str(tmp_path / "images"))
    assert done.published and done.folder == other / "exports" / "openvino"


def test_what_can_not_be_exported_is_refused_in_words(run, tmp_path):
    with pytest.raises(UnknownName, match="onxx"):
        export_run(str(run), "onxx")
    with pytest.raises(UsageError, match="written character"):
        export_run("model:mnist", "openvino", out=tmp_path / "a", images=str(run.parent / "images"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("mine")
    with pytest.raises(UsageError, match="mine"):
        export_run(str(run), "openvino", out=tmp_path / "mine")
    assert (tmp_path / "mine" / "note.txt").read_text() == "mine"


def test_a_full_disk_publishes_nothing(simple_run, tiny_disk):
    if tiny_disk is None:
        pytest.skip("mounting is not allowed")
    state = os.statvfs(tiny_disk)
    (tiny_disk / "filler").write_bytes(bytes(state.f_bavail * state.f_frsize - 8192))
    with pytest.raises(UsageError, match="can't be written"):
        export_run(str(simple_run), "openvino", out=tiny_disk / "out")
    assert [file.name for file in tiny_disk.iterdir()] == ["filler"]


def test_bf16_is_the_users_choice(openvino_folder):
    """The file is compared in fp32, and may be run in another precision."""
    images = np.random.default_rng(1).integers(0, 256, (2, 41, 67, 3), dtype=np.uint8)
    answers = ProgramFile(openvino_folder.folder / "model.xml")(images)
    assert answers["probabilities"].dtype == np.float32
