"""The examples of docs/export.md, as they are printed there, give the run's answers."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import exported
from foveal import load
from foveal.export.export_run import export_run
from foveal.inference.classifier import ClassificationPredictor

pytestmark = pytest.mark.slow
pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
DOCS = Path(__file__).parents[2] / "docs"
CHROMIUM = "/usr/bin/chromium"
#: The version of the npm package that the page is tested with.
ORT_WEB = "onnxruntime-web@1.30.0"
ORT_FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    return exported.run_in(
        folder / "run", exported.model_of(resize="squash"), exported.images_in(folder / "images")
    )


@pytest.fixture(scope="module")
def folders(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return {name: export_run(str(run), name, out=out / name).folder for name in ("onnx", "openvino")}


@pytest.mark.parametrize(
    ("heading", "name", "file", "forbidden"),
    [
        ("With ONNX Runtime", "onnx", "model.onnx", {"torch", "foveal", "onnx", "openvino"}),
        ("With OpenVINO", "openvino", "model.xml", {"torch", "foveal", "onnxruntime"}),
    ],
)
def test_the_printed_example(heading, name, file, forbidden, folders, run, tmp_path):
    code = re.search(rf"## {heading}\n\n```python\n(.*?)```", (DOCS / "export.md").read_text(), re.DOTALL)[1]
    assert len(code.splitlines()) <= 20
    before = "import sys; sys.modules['openvino_telemetry'] = None\n"
    after = "\nprint(*{m.partition('.')[0] for m in sys.modules}, file=sys.stderr)\n"
    images = sorted((run.parent / "images").glob("*.jpg"))[:6]
    (tmp_path / "example.py").write_text(before + code + after)
    command = [sys.executable, tmp_path / "example.py", folders[name] / file, *images]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    for row, expected in zip(rows, ClassificationPredictor.load(run).stream(images), strict=True):
        assert row[:2] == [expected.path, expected.label] or row[:2] == [str(expected.path), expected.label]
        assert float(row[2]) == pytest.approx(expected.probability, abs=0.02)
    assert not set(done.stderr.split()) & forbidden


def test_the_module_in_torch(run):
    module = load(run).torch_module()
    file = sorted((run.parent / "images").glob("*.jpg"))[0]
    image = np.asarray(Image.open(file))
    with torch.inference_mode():
        answers = dict(zip(module.outputs, module(torch.from_numpy(image.copy())[None]), strict=True))
    expected = load(run).predict_proba(file)
    assert np.abs(answers["probabilities"].numpy() - expected).max() < 0.02
    config = module.pretrained_cfg
    assert config["input_size"] == (3, 32, 32) and config["label_names"] == list(exported.CLASSES)
    assert config["mean"] == pytest.approx((127 / 255,) * 3) and config["num_classes"] == 3
    (module.network(torch.zeros(2, 3, 32, 32)).sum()).backward()
    assert any(p.grad is not None for p in module.network.parameters())


@pytest.fixture(scope="module")
def site(folders, tmp_path_factory):
    """The page with its files, served on this machine."""
    site = tmp_path_factory.mktemp("site")
    for name in ("model.onnx", "export.json"):
        shutil.copy(folders["onnx"] / name, site)
    shutil.copy(DOCS / "export-browser.html", site)
    for name in ORT_FILES:
        shutil.copy(runtime_for_browsers() / name, site)
    handler = functools.partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def runtime_for_browsers():
    """The files of `ORT_WEB`, from npm, once for this machine."""
    folder = Path(tempfile.gettempdir()) / f"foveal-tests-{ORT_WEB}"
    if not all((folder / name).is_file() for name in ORT_FILES):
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed")
        with tempfile.TemporaryDirectory() as scratch:
            packed = subprocess.run(["npm", "pack", ORT_WEB], cwd=scratch, capture_output=True, check=False)
            if packed.returncode != 0:
                pytest.skip("npm can't reach its registry")
            folder.mkdir(exist_ok=True)
            with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
                for name in ORT_FILES:
                    (folder / name).write_bytes(archive.extractfile(f"package/dist/{name}").read())
    return folder


def test_the_page_in_a_browser(site, run):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no {CHROMIUM}")
    images = sorted((run.parent / "images").glob("*.png"))[:3]
    expected = list(ClassificationPredictor.load(run, precision="fp32").stream(images))
    outside = []
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("request", lambda request: outside.append(request.url) if site not in request.url else None)
        page.goto(f"{site}/export-browser.html")
        page.wait_for_function("document.getElementById('status').textContent === 'Ready'")
        for image, answer in zip(images, expected, strict=True):
            dropped = page.evaluate_handle(
                """([name, bytes]) => {
                    const data = new DataTransfer();
                    data.items.add(new File([new Uint8Array(bytes)], name));
                    return data;
                }""",
                [image.name, list(image.read_bytes())],
            )
            page.dispatch_event("#target", "drop", {"dataTransfer": dropped})
            page.wait_for_function(f"document.getElementById('status').textContent === {json.dumps(image.name)}")
            label, share = page.locator("#answers li").first.inner_text().split(": ")
            assert label == answer.label
            assert float(share.removesuffix(" %")) / 100 == pytest.approx(answer.probability, abs=0.02)
        browser.close()
    assert [url for url in outside if not url.startswith(("blob:", "data:"))] == []
