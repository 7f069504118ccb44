"""Predicted masks a second: foveal's predictor against the same network in eager torch, fp32.

    uv run python bench/masks.py [--runs 5]

Pictures of 360 × 480 in 11 classes. Both begin with decoded pixels and end with a mask: the peer normalises, runs
the network in channels_last and takes the likeliest class. Weights are as they come, and change no time. Both
take turns in one process. Rows are kept in `bench/results/masks.json`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from common import Results, spread
from foveal.models.backbones import find_backbone
from foveal.models.networks import build
from foveal.ship.bundle import Bundle
from foveal.ship.masks import MaskPredictor
from foveal.values import Legend, Manifest, Preprocess

HEIGHT, WIDTH, CLASSES, PICTURES = 360, 480, 11, 12
DECODERS = ("fcn8s", "unet")


def bundle_of(decoder: str) -> Bundle:
    """A segmenter that learned nothing."""
    torch.manual_seed(0)
    names = tuple(map(str, range(CLASSES)))
    network = {
        "architecture": "segmenter",
        "decoder": decoder,
        "backbone": "lite0",
        "classes": CLASSES,
        "scale": 1.0,
    }
    preprocess = replace(
        find_backbone().preprocess, resize="fit", interpolation="bilinear", size=WIDTH, height=HEIGHT, scale=1.0
    )
    tensors = {k: v.contiguous().numpy() for k, v in build(network).eval().state_dict().items()}
    legend = Legend(names, tuple(range(CLASSES)), (), (255,))
    manifest = Manifest(
        "segment", names, None, None, decoder, preprocess, ("plain",), 1.0, 0.1, {}, network, legend=legend
    )
    return Bundle(manifest, tensors)


def eager(module: nn.Module, preprocess: Preprocess) -> Callable[[Image.Image], NDArray[np.uint8]]:
    """As a person would write it."""
    module = module.eval().to(memory_format=torch.channels_last)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (preprocess.mean, preprocess.std))

    def answer(picture: Image.Image) -> NDArray[np.uint8]:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            logits = module(((pixels - mean) / std).contiguous(memory_format=torch.channels_last))
            mask: NDArray[np.uint8] = logits[0].argmax(0).to(torch.uint8).numpy()
            return mask

    return answer


def rate(answer: Callable[[Image.Image], object], pictures: list[Image.Image]) -> float:
    """Pictures a second."""
    began = time.perf_counter()
    for picture in pictures:
        answer(picture)
    return len(pictures) / (time.perf_counter() - began)


def main() -> None:
    """Measure what is missing, keep raw rows, sum up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    results, chance = Results("masks"), np.random.default_rng(0)
    noise = chance.integers(0, 256, (PICTURES, HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    pictures = [Image.fromarray(n).resize((WIDTH, HEIGHT)) for n in noise]
    for decoder in DECODERS:
        predictor = MaskPredictor(bundle_of(decoder))
        peer = eager(predictor.module(), predictor.preprocess)
        for one in pictures[:2]:  # warm, and compiled
            predictor.answer(one)
            peer(one)
        for run in range(len(results.of(decoder=decoder)), options.runs):
            found = {"foveal_per_s": rate(predictor.answer, pictures), "eager_per_s": rate(peer, pictures)}
            times = found["foveal_per_s"] / found["eager_per_s"]
            engine = predictor.engine_name
            results.add(
                decoder=decoder, run=run, engine=engine, threads=torch.get_num_threads(), times=times, **found
            )
    summary = {
        d: {k: spread(r[k] for r in results.of(decoder=d)) for k in ("foveal_per_s", "eager_per_s", "times")}
        for d in DECODERS
    }
    lines = {}
    for decoder, row in summary.items():
        sd = f"{row['times']['sd']:.1f}" if row["times"]["sd"] is not None else "–"
        lines[f"masks of {HEIGHT} × {WIDTH}, {decoder}, against eager fp32"] = (
            f"{row['foveal_per_s']['mean']:.1f}/s against {row['eager_per_s']['mean']:.1f}/s: "
            f"{row['times']['mean']:.1f} times (n {row['times']['n']}, sd {sd})"
        )
    results.save(summary=summary, lines=lines)


if __name__ == "__main__":
    main()
