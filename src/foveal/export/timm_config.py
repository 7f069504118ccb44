"""What a network wants of its input, by the names that timm uses."""

from __future__ import annotations

from typing import Any

from foveal.values import Manifest


def timm_config(manifest: Manifest) -> dict[str, Any]:
    """How the network wants its input, as timm writes it; foveal's own settings are those of `foveal`."""
    preprocess = manifest.preprocess
    mean, std = preprocess.statistics
    return {
        "architecture": manifest.backbone or (manifest.network or {}).get("architecture"),
        "num_classes": len(manifest.classes),
        "label_names": list(manifest.classes),
        "input_size": (preprocess.channels, *preprocess.box),
        "crop_pct": preprocess.crop_share if preprocess.resize == "crop" else 1.0,
        "crop_mode": {"crop": "center", "pad": "border"}.get(preprocess.resize, preprocess.resize),
        "interpolation": preprocess.interpolation,
        "mean": tuple(value / 255 for value in mean),
        "std": tuple(value / 255 for value in std),
        "foveal": manifest.to_dict(),
    }
