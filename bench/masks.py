"""Predicted masks per second: foveal's predictor compared with the same network in eager torch, fp32.

    uv run python bench/masks.py [--runs 5]
    uv run python bench/masks.py --model RUN --images FOLDER    a trained segmenter, on its kind of images

Images of 360 × 480 in 11 classes. All start with decoded pixels and end with a mask: eager torch normalizes, runs the
network and takes the most likely class, once in torch's default memory format and once in channels_last. Without RUN
the decoder's weights are random and its predictions close to chance: bf16 is not used if it changes more than 1 % of
them. All take turns in one process. Rows are kept in `bench/results/masks.json`.
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
from foveal.inference.bundle import Bundle, load_bundle
from foveal.inference.segmenter import SegmentationPredictor
from foveal.models.backbones import find_backbone
from foveal.models.networks import build, with_weights
from foveal.values import LabelMap, Manifest, Preprocess

HEIGHT, WIDTH, CLASSES, IMAGES = 360, 480, 11, 12
DECODERS = ("fcn8s", "unet")
#: Seconds to wait until the network is compiled.
PATIENCE = 60.0
#: Eager torch, and the memory format of its network and images.
FORMS = {"eager": torch.contiguous_format, "eager in channels_last": torch.channels_last}


def bundle_of(decoder: str) -> Bundle:
    """An untrained segmenter."""
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
    label_map = LabelMap(names, tuple(range(CLASSES)), (), (255,))
    manifest = Manifest(
        "segment", names, None, None, decoder, preprocess, ("plain",), 1.0, 0.1, {}, network, label_map=label_map
    )
    return Bundle(manifest, tensors)


def eager(
    module: nn.Module, preprocess: Preprocess, form: torch.memory_format
) -> Callable[[Image.Image], NDArray[np.uint8]]:
    """The usual code for inference."""
    module = copy.deepcopy(module).eval().to(memory_format=form)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (preprocess.mean, preprocess.std))

    def predict(image: Image.Image) -> NDArray[np.uint8]:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            logits = module(((pixels - mean) / std).contiguous(memory_format=form))
            mask: NDArray[np.uint8] = logits[0].argmax(0).to(torch.uint8).numpy()
            return mask

    return predict


def noise() -> list[Image.Image]:
    """Blurred noise."""
    drawn = np.random.default_rng(0).integers(0, 256, (IMAGES, HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    return [Image.fromarray(d).resize((WIDTH, HEIGHT)) for d in drawn]


def images_of(folder: Path) -> list[Image.Image]:
    """Evenly spaced files of a folder, decoded."""
    files = sorted(f for f in folder.iterdir() if f.is_file())
    some = [files[i * len(files) // IMAGES] for i in range(IMAGES)]
    return [Image.open(f).convert("RGB").resize((WIDTH, HEIGHT)) for f in some]


def rate(predict: Callable[[Image.Image], object], images: list[Image.Image]) -> float:
    """Images per second."""
    began = time.perf_counter()
    for image in images:
        predict(image)
    return len(images) / (time.perf_counter() - began)


def main() -> None:
    """Measure what is missing, keep raw rows, summarize."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--model", type=Path, metavar="RUN", help="a trained segmenter")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="images to predict")
    options = parser.parse_args()
    if (options.model is None) != (options.images is None):
        parser.error("--model and --images belong together")
    results = Results("masks")
    images = images_of(options.images) if options.images else noise()
    bundles = {d: bundle_of(d) for d in DECODERS}
    if options.model:
        trained = load_bundle(str(options.model))
        bundles = {f"trained {(trained.manifest.network or {})['decoder']}": trained}
    for decoder, bundle in bundles.items():
        predictor = SegmentationPredictor(bundle)
        network = with_weights(bundle.manifest.network or {}, bundle.tensors)
        peers = {name: eager(network, bundle.manifest.preprocess, form) for name, form in FORMS.items()}
        began = time.perf_counter()
        while predictor.engine_name.startswith("torch") and time.perf_counter() - began < PATIENCE:
            predictor.predict_mask(images[0])
        predictor.predict_mask(images[1])
        for peer in peers.values():  # warm
            peer(images[1])
        for run in range(len(results.of(decoder=decoder)), options.runs):
            rates = {"foveal": rate(predictor.predict_mask, images)}
            rates |= {name: rate(peer, images) for name, peer in peers.items()}
            ahead = {f"times {name}": rates["foveal"] / rates[name] for name in peers}
            results.add(decoder=decoder, run=run, engine=predictor.engine_name, per_second=rates, **ahead)
    lines = {}
    for decoder in dict.fromkeys(r["decoder"] for r in results.rows):
        rows = results.of(decoder=decoder)
        own = spread(r["per_second"]["foveal"] for r in rows)["mean"]
        compared = []
        for name in FORMS:
            times, rate_of = spread(r[f"times {name}"] for r in rows), spread(r["per_second"][name] for r in rows)
            sd = f"{times['sd']:.1f}" if times["sd"] is not None else "–"
            compared.append(f"{times['mean']:.1f} times {name}, {rate_of['mean']:.1f}/s (sd {sd})")
        lines[f"masks of {HEIGHT} × {WIDTH}, {decoder}"] = f"{own:.1f}/s: {'; '.join(compared)}; n {len(rows)}"
    results.save(lines=lines)


if __name__ == "__main__":
    main()
