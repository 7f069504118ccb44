"""Predicted masks a second: foveal's predictor against the same network in eager torch, fp32.

    uv run python bench/masks.py [--runs 5]
    uv run python bench/masks.py --model RUN --pictures FOLDER    a trained segmenter, on pictures that it is for

Pictures of 360 × 480 in 11 classes. All begin with decoded pixels and end with a mask: a peer normalises, runs the
network and takes the likeliest class; one in torch's own memory format, one in channels_last, as somebody who
knows would. Without RUN weights are as they come, and answers close to chance: bf16 is refused where it changes
over 1 % of them. They take turns in one process. Rows are kept in `bench/results/masks.json`.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from common import Results, spread
from foveal.models.backbones import find_backbone
from foveal.models.networks import build
from foveal.ship.bundle import Bundle, load_bundle
from foveal.ship.masks import MaskPredictor
from foveal.values import Legend, Manifest, Preprocess

HEIGHT, WIDTH, CLASSES, PICTURES = 360, 480, 11, 12
DECODERS = ("fcn8s", "unet")
#: Seconds to wait until the network is compiled.
PATIENCE = 60.0
#: Eager torch, and the memory format that its network and pictures are in.
FORMS = {"eager": torch.contiguous_format, "eager in channels_last": torch.channels_last}


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


def eager(
    module: nn.Module, preprocess: Preprocess, form: torch.memory_format
) -> Callable[[Image.Image], NDArray[np.uint8]]:
    """As a person would write it."""
    module = copy.deepcopy(module).eval().to(memory_format=form)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (preprocess.mean, preprocess.std))

    def answer(picture: Image.Image) -> NDArray[np.uint8]:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            logits = module(((pixels - mean) / std).contiguous(memory_format=form))
            mask: NDArray[np.uint8] = logits[0].argmax(0).to(torch.uint8).numpy()
            return mask

    return answer


def noise() -> list[Image.Image]:
    """Blurred."""
    drawn = np.random.default_rng(0).integers(0, 256, (PICTURES, HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    return [Image.fromarray(d).resize((WIDTH, HEIGHT)) for d in drawn]


def pictures_of(folder: Path) -> list[Image.Image]:
    """Evenly from a folder, decoded."""
    files = sorted(f for f in folder.iterdir() if f.is_file())
    some = [files[i * len(files) // PICTURES] for i in range(PICTURES)]
    return [Image.open(f).convert("RGB").resize((WIDTH, HEIGHT)) for f in some]


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
    parser.add_argument("--model", type=Path, metavar="RUN", help="a trained segmenter")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="what it is asked about")
    options = parser.parse_args()
    if (options.model is None) != (options.pictures is None):
        parser.error("--model and --pictures belong together")
    results = Results("masks")
    pictures = pictures_of(options.pictures) if options.pictures else noise()
    bundles = {d: bundle_of(d) for d in DECODERS}
    if options.model:
        trained = load_bundle(str(options.model))
        bundles = {f"trained {(trained.manifest.network or {})['decoder']}": trained}
    for decoder, bundle in bundles.items():
        predictor = MaskPredictor(bundle)
        peers = {name: eager(predictor.module(), predictor.preprocess, form) for name, form in FORMS.items()}
        began = time.perf_counter()
        while predictor.engine_name.startswith("torch") and time.perf_counter() - began < PATIENCE:
            predictor.answer(pictures[0])
        predictor.answer(pictures[1])
        for peer in peers.values():  # warm
            peer(pictures[1])
        for run in range(len(results.of(decoder=decoder)), options.runs):
            found = {"foveal": rate(predictor.answer, pictures)}
            found |= {name: rate(peer, pictures) for name, peer in peers.items()}
            ahead = {f"times {name}": found["foveal"] / found[name] for name in peers}
            results.add(decoder=decoder, run=run, engine=predictor.engine_name, per_second=found, **ahead)
    lines = {}
    for decoder in dict.fromkeys(r["decoder"] for r in results.rows):
        rows = results.of(decoder=decoder)
        own = spread(r["per_second"]["foveal"] for r in rows)["mean"]
        beside = []
        for name in FORMS:
            times, rate_of = spread(r[f"times {name}"] for r in rows), spread(r["per_second"][name] for r in rows)
            sd = f"{times['sd']:.1f}" if times["sd"] is not None else "–"
            beside.append(f"{times['mean']:.1f} times {name}, {rate_of['mean']:.1f}/s (sd {sd})")
        lines[f"masks of {HEIGHT} × {WIDTH}, {decoder}"] = f"{own:.1f}/s: {'; '.join(beside)}; n {len(rows)}"
    results.save(lines=lines)


if __name__ == "__main__":
    main()
