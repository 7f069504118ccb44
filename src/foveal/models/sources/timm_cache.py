"""timm's networks, with the weights that an earlier download left on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveal.errors import WeightsUnavailable
from foveal.files import digest_of
from foveal.values import Backbone, Preprocess

if TYPE_CHECKING:
    import torch

#: The prefix that tells timm's names from others; it may be left out.
PREFIX = "timm/"
#: What is suggested of the cache: networks whose weights are no larger than this, and so many of them. Each has to be
#: imported, converted and measured, which takes some ten seconds.
MOST_BYTES, MOST_NAMES = 150 * 2**20, 2
#: Folders of timm's networks in the cache of the Hugging Face hub, and files of weights in them.
_HUB_PREFIX, _WEIGHTS = "models--timm--", ("model.safetensors", "pytorch_model.bin")


class TimmCache:
    """Networks of timm, by its names, with `timm/` before them or not."""

    def names(self) -> Sequence[str]:
        """See `BackboneSource.names`."""
        import timm

        names: list[str] = timm.list_models()
        return names

    def available(self) -> Sequence[str]:
        """See `BackboneSource.available`: those that downloads through the Hugging Face hub left here.

        The larger file is taken to be the better network; files of more than `MOST_BYTES` are left out.
        """
        sizes = {}
        for folder in _hub_folder().glob(f"{_HUB_PREFIX}*"):
            files = [f for pattern in _WEIGHTS for f in folder.glob(f"snapshots/*/{pattern}")]
            if size := max((f.stat().st_size for f in files if f.exists()), default=0):
                sizes[folder.name.removeprefix(_HUB_PREFIX)] = size
        usable = [name for name, size in sizes.items() if size <= MOST_BYTES]
        return sorted(usable, key=lambda name: sizes[name], reverse=True)[:MOST_NAMES]

    def has(self, name: str) -> bool:
        """See `BackboneSource.has`."""
        return is_timm_model(name)

    def find(self, name: str) -> Backbone:
        """See `BackboneSource.find`."""
        from foveal.models.backbone_stages import measure_segments

        network, config = _pretrained(name)
        return Backbone(
            name,
            int(network.num_features),
            _preprocess_of(config),
            _digest_of_weights(network),
            None,
            None,
            measure_segments(network),
        )

    def architecture(self, name: str, *, classes: int | None = None) -> torch.nn.Module:
        """See `BackboneSource.architecture`."""
        return create(bare_name(name), classes=classes)

    def load(self, backbone: Backbone) -> torch.nn.Module:
        """See `BackboneSource.load`."""
        network: torch.nn.Module = _pretrained(backbone.name)[0]
        return network


def _hub_folder() -> Path:
    """Of the Hugging Face hub's downloads, by the variables of the environment that it obeys."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def bare_name(name: str) -> str:
    """A name as timm has it."""
    return name.removeprefix(PREFIX)


def is_timm_model(name: str) -> bool:
    """Whether timm has a network of this name; the tag of its weights, after a dot, is not looked at."""
    import timm

    known: bool = timm.is_model(bare_name(name).partition(".")[0])
    return known


def create(name: str, *, classes: int | None = None) -> torch.nn.Module:
    """timm's network with fresh weights, in evaluation mode."""
    import timm

    arguments = {} if classes is None else {"num_classes": classes}
    network: torch.nn.Module = timm.create_model(name, pretrained=False, **arguments)
    return network.eval()


def _preprocess_of(config: dict[str, Any]) -> Preprocess:
    """What timm says the weights were trained on; it counts values from 0 to 1."""
    scale = 255.0
    return Preprocess(
        size=int(config["input_size"][-1]),
        crop_share=float(config["crop_pct"]),
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        mean=tuple(scale * v for v in config["mean"]),
        std=tuple(scale * v for v in config["std"]),
    )


def _digest_of_weights(network: torch.nn.Module) -> str:
    values = {k: v for k, v in network.state_dict().items() if v.ndim}
    return digest_of(
        {k: [list(v.shape), float(v.double().sum()), float(v.double().abs().sum())] for k, v in values.items()}
    )


def _pretrained(name: str) -> tuple[Any, dict[str, Any]]:
    """The network with its weights, from this machine's own files, and timm's configuration of its input."""
    import timm

    bare = bare_name(name)
    weights = _cached_weights(bare)
    if weights is None:
        raise WeightsUnavailable(
            f"the pretrained weights of {name} are not on this machine",
            hint="foveal itself never downloads weights. Where there is internet, run once: "
            f"python -c \"import timm; timm.create_model('{bare}', pretrained=True)\"; `lite0` ships with foveal",
        )
    network = timm.create_model(bare, pretrained=True, pretrained_cfg_overlay={"file": str(weights)}).eval()
    return network, timm.data.resolve_data_config({}, model=network)


def _cached_weights(name: str) -> Path | None:
    """Where an earlier download of a timm model's weights lies; asks no network."""
    import torch
    from huggingface_hub import try_to_load_from_cache
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if config is None:
        return None
    if config.hf_hub_id:
        for file in (config.hf_hub_filename, "model.safetensors", "pytorch_model.bin"):
            cached = try_to_load_from_cache(config.hf_hub_id, file) if file else None
            if isinstance(cached, str):
                return Path(cached)
    if config.url:
        downloaded = Path(torch.hub.get_dir()) / "checkpoints" / config.url.rpartition("/")[2]
        return downloaded if downloaded.is_file() else None
    return None
