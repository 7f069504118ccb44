"""Export and prediction without torch: start of the process, parity, throughput against the ceiling, int8.

    uv run python bench/export.py start RUN…       the whole process of `foveal predict RUN one.jpg`
    uv run python bench/export.py parity RUN…      both formats on up to 400 images of all modes and sizes
    uv run python bench/export.py throughput RUN FOLDER   files to labels, and the ceiling
    uv run python bench/export.py int8 RUN…        accuracy and speed beside bf16 and fp32

RUN are finished runs: a frozen, a tuned, a scratch one and a segmenter, say. Results are added to
`bench/results/export.json`. Run it while nothing else runs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from common import Results, spread, timed
from foveal.data.images.decode import quiet
from foveal.engines.openvino_files import ProgramFile
from foveal.export.export_run import export_run
from foveal.export.images import own_images
from foveal.features.pipeline import batches
from foveal.inference.bundle import load_bundle
from foveal.inference.inputs import decode_input, find_images
from foveal.inference.predictor import load_predictor
from foveal.machine import cores

#: Processes that are timed, after one that fills the caches.
STARTS = 7
#: Images of a timed pass; passes.
IMAGES, PASSES = 2000, 3
FORMATS = ("onnx", "openvino")


def start(results: Results, runs: Sequence[str]) -> None:
    """Seconds of whole processes that predict one image."""
    for run in runs:
        image = own_images(Path(run)).paths[0]
        command = [sys.executable, "-m", "foveal", "predict", run, image]
        if load_bundle(run).manifest.label_map:
            command += ["--out", tempfile.mkdtemp()]
        # As installed: without bytecode, which some environments do not let Python write, all modules are compiled.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        first, _ = timed(command, env=environment)
        seconds = [timed(command, env=environment)[0] for _ in range(STARTS)]
        results.add(what="start", run=run, kind=_kind(run), first_s=first, **spread(seconds))


def parity(results: Results, runs: Sequence[str]) -> None:
    """Answers and probabilities of both formats against the run."""
    for run in runs:
        for name in FORMATS:
            with tempfile.TemporaryDirectory() as folder:
                done = export_run(run, name, out=Path(folder) / name)
            record = {k: done.record[k] for k in ("agreement", "checked_on", "seconds")}
            results.add(what="parity", run=run, kind=_kind(run), format=name, published=done.published, **record)


def throughput(results: Results, runs: Sequence[str]) -> None:
    """Images a second from files to labels; of decoding alone, of the engine alone, and the ceiling of both."""
    run, folder = runs
    files = list(islice(cycle(find_images([folder])), IMAGES))
    predictor: Any = load_predictor(run)
    list(predictor.stream(files[:64]))
    rates = [len(files) / _seconds(lambda: list(predictor.stream(files))) for _ in range(PASSES)]
    nothing = _NoEngine(len(load_bundle(run).manifest.classes))
    decode = len(files) / _seconds(lambda: _drain(batches(enumerate(files), predictor._read, nothing)))
    engine, batch = predictor._ready(), np.concatenate([predictor._read((0, files[0]))] * 32)
    list(engine(batch))
    rounds = 30
    compute = rounds * len(batch) / _seconds(lambda: [engine(batch) for _ in range(rounds)])
    views = len(predictor.bundle.manifest.views)
    ceiling = 1 / (1 / decode + views / compute)
    figures = spread(rates)
    results.add(
        what="throughput", run=run, kind=_kind(run), images=len(files), cores=cores(), decode_per_s=decode,
        engine_per_s=compute / views, ceiling_per_s=ceiling, share=(figures["mean"] or 0) / ceiling, **figures,
    )  # fmt: skip


def int8(results: Results, runs: Sequence[str]) -> None:
    """Speed of the exported OpenVINO file in fp32, bf16 and int8, and what int8 costs."""
    for run in runs:
        images = list(_pixels(own_images(Path(run)).paths[:100], run))
        with tempfile.TemporaryDirectory() as folder:
            plain = export_run(run, "openvino", out=Path(folder) / "fp32")
            small = export_run(run, "openvino", out=Path(folder) / "int8", int8=True)
            for name, done, precision in (
                ("fp32", plain, "fp32"),
                ("bf16", plain, "bf16"),
                ("int8", small, "fp32"),
            ):
                if not done.published:
                    results.add(
                        what="int8", run=run, precision=name, published=False, int8=done.record.get("int8")
                    )
                    continue
                model = ProgramFile(done.folder / "model.xml", precision=precision)
                _drain(model(image) for image in images[:5])
                rates = [_rate(model, images) for _ in range(PASSES)]
                results.add(what="int8", run=run, precision=name, int8=done.record.get("int8"), **spread(rates))


class _NoEngine:
    """Takes no time: what is left is reading and decoding."""

    name, precision, version, batch_size = "none", "fp32", "0", 32

    def __init__(self, classes: int) -> None:
        self._classes = classes

    def submit(self, pixels: Any) -> Any:
        from concurrent.futures import Future

        done: Future[Any] = Future()
        done.set_result(np.zeros((len(pixels), self._classes), dtype=np.float32))
        return done

    def __call__(self, pixels: Any) -> Any:
        return self.submit(pixels).result()

    def release(self) -> None:
        """Nothing."""


def _pixels(paths: Sequence[str], run: str) -> Iterator[Any]:
    background = load_bundle(run).manifest.preprocess.background
    for path in paths:
        with quiet():
            yield np.asarray(decode_input(path, path, background=background))[None]


def _rate(model: ProgramFile, images: Sequence[Any]) -> float:
    """Images a second, one by one."""
    return len(images) / _seconds(lambda: _drain(map(model, images)))


def _drain(items: Any) -> None:
    for _ in items:
        pass


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _kind(run: str) -> str:
    """What the model is: frozen, or the architecture of its network."""
    return str((load_bundle(run).manifest.network or {}).get("architecture", "frozen"))


PARTS: dict[str, Callable[[Results, Sequence[str]], None]] = {
    "start": start,
    "parity": parity,
    "throughput": throughput,
    "int8": int8,
}

if __name__ == "__main__":
    PARTS[sys.argv[1]](Results("export"), sys.argv[2:])
