"""What an exported file says about itself, as text by name: enough to use it, and to know where it comes from."""

from __future__ import annotations

from collections.abc import Sequence

from foveal.files import dumps
from foveal.inference.bundle import Bundle
from foveal.values import SCHEMA
from foveal.version import __version__

#: The weights that come with foveal and may be part of an exported file, and what they may be used for.
_BACKBONES = {"lite0": "EfficientNet-Lite0, pretrained on ImageNet: Apache-2.0"}


def metadata_of(bundle: Bundle, outputs: Sequence[str], licence: str | None) -> dict[str, str]:
    """Texts by name; values that are not text are JSON.

    Args:
        bundle: the model.
        outputs: names of what the exported model gives.
        licence: of the user's model, in the user's words.
    """
    manifest = bundle.manifest
    backbone = manifest.backbone or (manifest.network or {}).get("backbone")
    calibration = {
        "temperature": manifest.temperature,
        "set_threshold": manifest.set_threshold,
        "thresholds": manifest.thresholds or None,
        "unknown_threshold": manifest.unknown_threshold if manifest.outside else None,
        "validation": manifest.provenance.get("validation"),
    }
    return {
        "foveal": __version__,
        "schema": str(SCHEMA),
        "task": manifest.task,
        "classes": dumps(manifest.classes),
        "input": "images: uint8 (count, height, width, 3), RGB from 0 to 255, upright, of any size",
        "outputs": dumps({name: _OUTPUTS[name] for name in outputs}),
        "preprocess": dumps({**manifest.preprocess.to_dict(), "views": manifest.views}),
        "calibration": dumps(calibration),
        "label_map": dumps(manifest.label_map.__dict__ if manifest.label_map else None),
        "provenance": dumps(manifest.provenance),
        "weights_sha256": manifest.weights_sha256,
        "license": licence or "not stated",
        "license_of_pretrained_weights": _BACKBONES.get(str(backbone), str(backbone)) if backbone else "none",
    }


_OUTPUTS = {
    "probabilities": "float32 (count, classes): calibrated, in the order of classes",
    "prediction_set": "bool (count, classes): the classes that hold the true one in nine cases of ten",
    "labels": "bool (count, classes): the classes that reach their thresholds; maybe none, maybe several",
    "unknown": "bool (count): whether the image is none of the classes",
    "masks": "uint8 (count, height, width): the position in classes of each pixel",
}
