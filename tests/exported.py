"""A run as `export` sees it: a bundle, `split.csv`, and images of several formats, modes and sizes."""

import numpy as np
import torch
from PIL import Image

from foveal.inference.bundle import make_bundle, save_bundle
from foveal.metrics.calibration import Calibration, PredictionSets
from foveal.models.networks import build
from foveal.models.trained import TrainedModel
from foveal.values import LabelMap, Preprocess

CLASSES = ("ant", "bee", "cat")
SMALL = {"architecture": "small", "channels": 3, "classes": 3, "stages": [[8], [16]]}
LINEAR = {"architecture": "linear", "channels": 3, "size": 32, "pool": 4, "classes": 3}
HEADER = "path,sha256,label,split,group,note\n"


def images_in(folder, count=66):
    """Files of four formats and modes, and of many sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    files = []
    for i in range(count):
        height, width = rng.integers(20, 300, 2).tolist()
        coarse = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        mode, suffix = [("RGB", "jpg"), ("L", "png"), ("RGBA", "webp"), ("P", "gif")][i % 4]
        files.append(folder / f"{i:03d}.{suffix}")
        image.convert(mode).save(files[-1])
    return files


def model_of(network=SMALL, *, classes=CLASSES, gain=30.0, **preprocess):
    """A bundle of an untrained network whose answers differ from image to image."""
    torch.manual_seed(3)
    module = build(network).eval()
    with torch.no_grad():
        for name, value in module.named_parameters():
            if name.endswith("head.weight"):
                value *= gain
    settings = Preprocess(**{"size": 32, "resize": "pad", "interpolation": "bilinear", **preprocess})
    trained = TrainedModel({k: v.numpy() for k, v in module.state_dict().items()}, settings, None, network)
    return bundle_of(trained, classes)


def bundle_of(trained, classes=CLASSES, *, masks=False):
    label_map = LabelMap(tuple(classes), tuple(range(len(classes)))) if masks else None
    return make_bundle(
        trained,
        task="segment" if masks else "classify",
        classes=list(classes),
        label_map=label_map,
        calibration=Calibration({"n": 12}, 1.3, PredictionSets(0.9, 0.2)),
        provenance={"strategy": "by hand", "data": "none"},
    )


def run_in(folder, bundle, files):
    """A run folder with the bundle, in which two thirds of the images were for training."""
    save_bundle(bundle, folder / "model")
    rows = [
        f"{file},{i:064x},{CLASSES[i % 3]},{'val' if i % 3 == 0 else 'train'},g{i},\n"
        for i, file in enumerate(files)
    ]
    (folder / "split.csv").write_text(HEADER + "".join(rows))
    return folder
