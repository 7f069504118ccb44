"""How close does feature extraction come to the limit that decoding and the engine set together?

    uv run python bench/features.py --data ../shared/data/scenes8 [--repeats 5]

Decoder and engine share the cores, so that the most images per second are
1 / (decode core-seconds / cores + engine seconds). Both are measured alone, then the whole pipeline.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from common import Results, spread
from foveal.clock import Clock, Deadline
from foveal.data.audit import audit
from foveal.data.images.pixels import read_views
from foveal.decisions import Decisions
from foveal.engines import choose_engine
from foveal.features import Extractor
from foveal.machine import cores
from foveal.models.backbones import find_backbone

PROBED, IMAGES = 32, 480


def main() -> None:
    """Measure engine, decoder and pipeline in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    records = audit(arguments.data).records[::2][:IMAGES]
    backbone = find_backbone()
    ready = [read_views(r, backbone.preprocess, ("plain",))[0] for r in records[:PROBED]]
    pixels = np.stack(ready)
    engine = choose_engine(backbone, backbone.preprocess, lambda: pixels, Decisions())
    at_once = engine.batch_size
    batch = pixels[:at_once]
    extractor = Extractor(backbone, backbone.preprocess, engine, cache=False)
    results = Results("features")
    for repeat in range(arguments.repeats):
        began = time.perf_counter()
        waiting = [engine.submit(batch) for _ in range(len(records) // at_once)]
        for future in waiting:
            future.result()
        engine_s = (time.perf_counter() - began) / (at_once * len(waiting))
        began = time.process_time()
        for r in records[:96]:
            read_views(r, backbone.preprocess, ("plain",))
        decode_s = (time.process_time() - began) / 96
        began = time.perf_counter()
        extractor.run(records, deadline=Deadline(Clock()))
        real = len(records) / (time.perf_counter() - began)
        ceiling = 1 / (decode_s / cores() + engine_s)
        results.add(
            repeat=repeat,
            engine_s=engine_s,
            decode_s=decode_s,
            per_second=real,
            ceiling=ceiling,
            share=real / ceiling,
        )
    share, rate = spread(r["share"] for r in results.rows), spread(r["per_second"] for r in results.rows)
    results.save(
        lines={
            "features from JPEG files, share of the ceiling": f"{100 * (share['mean'] or 0):.0f} % "
            f"(n {share['n']}, sd {100 * (share['sd'] or 0):.1f})",
            "features from JPEG files": f"{rate['mean']:.0f} images/s (n {rate['n']}, sd {rate['sd'] or 0:.1f})",
        }
    )


if __name__ == "__main__":
    main()
