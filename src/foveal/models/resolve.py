"""MODEL, as every verb takes it, and in one place what it may be.

The forms are tried in the order of `FORMS`: `model:NAME` (ships in the package), a run folder or bundle, an
`.onnx` file, `timm:NAME`, `torchvision:NAME`, `package.module:function`, a zoo name, a sketch (see `sketch.py`), a
backbone (`lite0`, or of a registered source), a timm name, a torchvision name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from foveal.errors import BundleError, UnknownName, UsageError
from foveal.files import read_json
from foveal.models import sketch
from foveal.models.foreign import (
    call_function,
    find_function,
    timm_network,
    torchvision_network,
    torchvision_side,
)
from foveal.models.other_names import timm_name
from foveal.models.shipped import PREFIX, bundle_folder, shipped_folder
from foveal.models.sources import SOURCES
from foveal.models.sources.packaged import PACKAGED
from foveal.models.sources.timm_cache import TimmCache, bare_name, is_timm_model
from foveal.values import Manifest

if TYPE_CHECKING:
    from torch import nn

Kind = Literal["bundle", "onnx", "function", "zoo", "backbone", "timm", "torchvision", "sketch"]
_TIMM, _TORCHVISION = "timm:", "torchvision:"


@dataclass(frozen=True)
class Resolved:
    """What a MODEL is, before it is built.

    Attributes:
        kind: which form it has.
        name: as it was given.
        build: makes the network with fresh weights, for images `(C, H, W)`.
        define: what `networks.build` takes, except for what the data decide, see `networks.completed`; for a training
            from fresh weights. Raises `UsageError` where that is impossible.
        input: `(C, H, W)` of the images that it takes, where that is known.
        path: of a bundle's folder or an `.onnx` file.
    """

    kind: Kind
    name: str
    build: Callable[[tuple[int, int, int]], nn.Module]
    define: Callable[[], Mapping[str, Any]]
    input: tuple[int, int, int] | None = None
    path: Path | None = None


def resolve(name: str | os.PathLike[str], *, classes: int = 1000) -> Resolved:
    """What a MODEL is. Reads names and small files; builds nothing, downloads nothing.

    Args:
        name: see the top of this file.
        classes: outputs of a network with fresh weights (zoo, timm, torchvision).

    Raises:
        UnknownName: with the nearest known name.
        UsageError: for a sketch with a mistake, marked by a caret, or a function that can't be imported.
        BundleError: for a folder without a model.
    """
    text = os.fspath(name)
    for form in FORMS:
        resolved = form(text, classes)
        if resolved:
            return resolved
    import timm

    known = [*_zoo_names(), *_backbone_names(), *timm.list_models(), *_torchvision_names()]
    return resolve(timm_name("model", text, known), classes=classes)


def _shipped(text: str, _: int) -> Resolved | None:
    return _bundle(text, shipped_folder(text)) if text.startswith(PREFIX) else None


def _folder(text: str, _: int) -> Resolved | None:
    path = Path(text)
    if not os.path.isdir(text):  # unlike `Path.is_dir` of names of any length
        return None
    folder = bundle_folder(path)
    if path.name == text and not (folder / "bundle.json").exists():
        return None  # a folder that happens to have the name of a network
    return _bundle(text, folder)


def _bundle(text: str, folder: Path) -> Resolved:
    try:
        manifest = Manifest.from_dict(read_json(folder / "bundle.json"), str(folder / "bundle.json"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{text}: no model in it ({error})", hint="give the folder that `train` wrote") from None
    preprocess = manifest.preprocess
    shape = (preprocess.channels, *preprocess.box)

    def build(_: tuple[int, int, int]) -> nn.Module:
        from foveal.models.networks import build as network

        if manifest.network is not None:
            return network(manifest.network)
        from foveal.models.backbones import untrained_network

        return untrained_network(str(manifest.backbone), classes=len(manifest.classes) + manifest.outside).train()

    def define() -> Mapping[str, Any]:
        from foveal.models.networks import definition_of

        if manifest.label_map is not None:
            raise UsageError(f"{text} predicts masks, not labels", hint="give a model that predicts labels")
        network = manifest.network or {"backbone": manifest.backbone}
        if "backbone" in network:  # its head, or its fine-tuned form, has no batch normalisation to train with
            return resolve(network["backbone"]).define()
        return definition_of(network)

    return Resolved("bundle", text, build, define, shape, folder)


def _onnx(text: str, _: int) -> Resolved | None:
    if not text.endswith(".onnx"):
        return None
    path = Path(text)
    if not os.path.isfile(text):
        raise UsageError(f"{text}: no such file", hint="give the path of an .onnx file")
    from foveal.models.onnx_graph import OnnxNetwork, read

    graph, shape = read(path)

    def define() -> Mapping[str, Any]:
        raise UsageError(
            f"{text} is a network with its weights, not a definition to train from fresh ones",
            hint="give its name in timm or torchvision, or package.module:function",
        )

    return Resolved("onnx", text, lambda _: OnnxNetwork(graph, path.parent), define, shape, path)


def _function(text: str, _: int) -> Resolved | None:
    function = find_function(text)
    if function is None:
        return None
    return Resolved(
        "function",
        text,
        lambda _: call_function(text, function),
        lambda: {"architecture": "function", "name": text},
    )


def _zoo(text: str, classes: int) -> Resolved | None:
    if text not in _zoo_names():
        return None
    from foveal.models import zoo

    return Resolved(
        "zoo",
        text,
        lambda shape: zoo.create(text, classes=classes, channels=shape[0]),
        lambda: {"architecture": "zoo", "name": text},
        zoo.card(text).input_shape,
    )


def _sketch(text: str, _: int) -> Resolved | None:
    if not sketch.looks_like_sketch(text):
        return None
    sketch.parse(text)
    return Resolved(
        "sketch",
        text,
        lambda shape: sketch.build(text, shape),
        lambda: {"architecture": "sketch", "text": text},
    )


def _backbone(text: str, classes: int) -> Resolved | None:
    """What a source has under a name of its own. A packaged one is a network of timm's."""
    if text in PACKAGED:
        return _timm_network(text, PACKAGED[text].architecture, classes)
    source = next((s for s in SOURCES if not isinstance(s, TimmCache) and s.has(text)), None)
    if source is None:
        return None
    return Resolved(
        "backbone",
        text,
        lambda _: source.architecture(text, classes=classes).train(),
        lambda: {"architecture": "backbone", "name": text},
    )


def _timm_prefixed(text: str, classes: int) -> Resolved | None:
    if not text.startswith(_TIMM):
        return None
    name = text.removeprefix(_TIMM)
    if not is_timm_model(name):
        import timm

        raise UnknownName("timm model", name, timm.list_models())
    return _timm_network(text, name, classes)


def _timm(text: str, classes: int) -> Resolved | None:
    return _timm_network(text, bare_name(text), classes) if is_timm_model(text) else None


def _timm_network(text: str, name: str, classes: int) -> Resolved:
    import timm

    config = timm.models.get_pretrained_cfg(name.partition(".")[0])
    published = config.input_size if config is not None else None
    return Resolved(
        "timm",
        text,
        lambda shape: timm_network(name, classes, shape),
        lambda: {"architecture": "timm", "name": name},
        tuple(published) if published else None,
    )


def _torchvision_prefixed(text: str, classes: int) -> Resolved | None:
    if not text.startswith(_TORCHVISION):
        return None
    name = text.removeprefix(_TORCHVISION)
    if name not in _torchvision_names():
        raise UnknownName("torchvision model", name, _torchvision_names())
    return _torchvision_network(text, name, classes)


def _torchvision(text: str, classes: int) -> Resolved | None:
    return _torchvision_network(text, text, classes) if text in _torchvision_names() else None


def _torchvision_network(text: str, name: str, classes: int) -> Resolved:
    side = torchvision_side(name)
    return Resolved(
        "torchvision",
        text,
        lambda shape: torchvision_network(name, classes, shape),
        lambda: {"architecture": "torchvision", "name": name},
        (3, side, side),
    )


def _zoo_names() -> tuple[str, ...]:
    from foveal.models import zoo

    return zoo.names()


def _backbone_names() -> list[str]:
    return [name for source in SOURCES if not isinstance(source, TimmCache) for name in source.names()]


def _torchvision_names() -> list[str]:
    """Of torchvision's classifiers."""
    from torchvision import models

    names: list[str] = models.list_models(module=models)
    return names


#: One function a form, in order: each gives None for what does not have its form.
FORMS: tuple[Callable[[str, int], Resolved | None], ...] = (
    _shipped,
    _folder,
    _onnx,
    _timm_prefixed,
    _torchvision_prefixed,
    _function,
    _zoo,
    _sketch,
    _backbone,
    _timm,
    _torchvision,
)
