"""`foveal serve` under load, and other ways to serve the same weights.

    uv run --group bench python bench/serve.py RUN IMAGES [--seconds 20] [--overload 60] [--repeats 3]

RUN is a frozen classifier, IMAGES a folder of JPEGs. Three parts, each row kept in `bench/results/serve.json`:

- *closed loop*: 16 clients that ask again when they have their answer. Images per second, p50 and p99, in turn for
  foveal, FastAPI with PyTorch (channels_last), FastAPI and LitServe with foveal's engine;
- *the ceiling*: 1 / (core-seconds of decoding / cores + seconds of the engine), measured without any server;
- *open loop* at three times foveal's own rate: only 200 and 503, nothing lost, nothing wrong, memory flat, and how long
  until latency is as before.

Clients and server share the cores of one machine, which costs every server the same.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from common import Results, spread
from foveal.inference.classifier import ClassificationPredictor
from foveal.machine import cores
from http_load import Asked, Load, closed_loop, open_loop

CLIENTS, OVERLOAD = 16, 3.0
PORT = 8901
OTHERS = ("eager", "fastapi", "litserve")
#: Images that are asked for.
IMAGES = 200


def command(name: str, run: str) -> list[str]:
    """What starts a server."""
    if name == "foveal":
        return [sys.executable, "-m", "foveal", "serve", run, "--port", str(PORT), "--quiet"]
    script = "serving_litserve.py" if name == "litserve" else "serving.py"
    return [sys.executable, str(Path(__file__).parent / "peers" / script), name, run, str(PORT)]


@contextmanager
def running(name: str, run: str, image: bytes) -> Iterator[int]:
    """A server that answers; its process."""
    process = subprocess.Popen(command(name, run), stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                answered = httpx.post(f"http://127.0.0.1:{PORT}/v1/predict", files={"file": image}, timeout=10)
                if answered.status_code == 200:
                    break
            except httpx.TransportError:
                pass
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{name} did not start")
            time.sleep(0.2)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def elsewhere(work: Any, *args: Any, **kwargs: Any) -> Load:
    """In a process of its own, which imports nothing else: the client must not share the server's interpreter."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        result: Load = pool.submit(work, *args, **kwargs).result()
        return result


def ceiling(run: str, contents: Sequence[bytes]) -> dict[str, float]:
    """Images per second if nothing but decoding and the engine took time."""
    predictor = ClassificationPredictor.load(run)
    predictor.warm_up()
    began = time.process_time()
    prepared = [predictor.prepare(content, "image") for content in contents]
    decode = (time.process_time() - began) / len(contents)
    batch, names = prepared[:32], ["image"] * 32
    times = []
    for _ in range(8):
        at = time.perf_counter()
        predictor.predict_prepared(names, batch)
        times.append((time.perf_counter() - at) / len(batch))
    engine = statistics.median(times[1:])
    return {
        "decode_core_ms": 1000 * decode,
        "engine_ms": 1000 * engine,
        "per_second": 1 / (decode / cores() + engine),
    }


def cpu_seconds(group: int) -> float:
    """User and system time of the processes of a group so far."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def overload(run: str, asked: Sequence[Asked], rate: float, seconds: float) -> dict[str, Any]:
    """The open loop, and what the server is like before and after it."""
    with running("foveal", run, asked[0].content) as pid:
        elsewhere(closed_loop, PORT, asked, clients=CLIENTS, seconds=5.0)
        before = elsewhere(closed_loop, PORT, asked, clients=1, seconds=3.0, warm_up=0.5)
        normal, memory = statistics.median(before.seconds), [resident(pid)]
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            job = pool.submit(open_loop, PORT, asked, rate=OVERLOAD * rate, seconds=seconds)
            while not job.done():
                time.sleep(1)
                memory.append(resident(pid))
            load = job.result()
        ended = time.monotonic()
        while elsewhere(closed_loop, PORT, asked, clients=1, seconds=0.2, warm_up=0.0).seconds[-1] > 2 * normal:
            if time.monotonic() - ended > 60:
                break
        calm = time.monotonic() - ended
    third = max(1, len(memory) // 3)
    growth = float(np.mean(memory[-third:]) - np.mean(memory[third : 2 * third]))
    summary = load.summary()
    return {
        **summary,
        "sent_per_second": OVERLOAD * rate,
        "seconds": seconds,
        "normal_ms": 1000 * normal,
        "normal_again_s": calm,
        "rss_mb": [round(m / 1e6) for m in (memory[0], max(memory), memory[-1])],
        "rss_growth_in_the_last_third_mb": growth / 1e6,
        "only_200_and_503": set(load.statuses) <= {200, 503},
    }


def main() -> None:
    """Measure and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("images", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--overload", type=float, default=60, help="seconds of the open loop; 0 skips it")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=["foveal", *OTHERS])
    parser.add_argument("--name", default="serve", help="of the file of results")
    given = parser.parse_args()
    paths = sorted(p for p in given.images.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    paths = paths[:: max(1, len(paths) // IMAGES)][:IMAGES]
    contents = [p.read_bytes() for p in paths]
    labels = [p.label for p in ClassificationPredictor.load(given.run).stream(contents)]
    asked = [Asked(content, label) for content, label in zip(contents, labels, strict=True)]
    results = Results(given.name)
    for repeat in range(given.repeats):
        results.add(kind="ceiling", repeat=repeat, **ceiling(given.run, contents))
        for name in given.only:
            with running(name, given.run, contents[0]) as group:
                elsewhere(closed_loop, PORT, asked, clients=CLIENTS, seconds=1.0)
                used = cpu_seconds(group)
                load = elsewhere(closed_loop, PORT, asked, clients=CLIENTS, seconds=given.seconds, warm_up=0.0)
                each = (cpu_seconds(group) - used) / max(1, sum(load.statuses.values()))
            found = {**load.summary(), "cpu_ms_per_image": 1000 * each}
            results.add(kind="closed", server=name, clients=CLIENTS, repeat=repeat, **found)
    rates = {n: [r["per_second"] for r in results.of(kind="closed", server=n)] for n in given.only}
    if given.overload and rates.get("foveal"):
        rate = statistics.fmean(rates["foveal"])
        results.add(kind="open", **overload(given.run, asked, rate, given.overload))
    ours = statistics.fmean(rates["foveal"]) if rates.get("foveal") else float("nan")
    most = statistics.fmean(r["per_second"] for r in results.of(kind="ceiling"))
    results.save(
        summary={
            "images_per_second": {name: spread(values) for name, values in rates.items()},
            "times_as_fast_as": {n: ours / statistics.fmean(v) for n, v in rates.items() if n != "foveal" and v},
            "share_of_the_ceiling": ours / most,
        }
    )


if __name__ == "__main__":
    main()
