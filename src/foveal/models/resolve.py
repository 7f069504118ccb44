"""MODEL, as every verb takes it: the one place that knows what a model's name may be.

In this order: `model:NAME` (ships in the package), a run folder or bundle, an `.onnx` file,
`package.module:function`, a zoo name, a timm name, a sketch (see `sketch.py`).
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from foveal.errors import BundleError, UnknownName, UsageError
from foveal.files import read_json
from foveal.models import sketch
from foveal.values import Manifest

if TYPE_CHECKING:
    from torch import nn

Kind = Literal["bundle", "onnx", "function", "zoo", "timm", "sketch"]


@dataclass(frozen=True)
class Resolved:
    """What a MODEL is, before it is built.

    Attributes:
        kind: which of the forms it has.
        name: as it was given.
        build: makes the network with fresh weights, for pictures `(C, H, W)`.
        input: what it expects of a picture, where it says so.
        path: of a bundle's folder or an `.onnx` file.
    """

    kind: Kind
    name: str
    build: Callable[[tuple[int, int, int]], nn.Module]
    input: tuple[int, int, int] | None = None
    path: Path | None = None


def resolve(name: str | os.PathLike[str], *, classes: int = 1000) -> Resolved:
    """What a MODEL is. Reads names and small files; builds nothing, downloads nothing.

    Args:
        name: see the top of this file.
        classes: outputs of a network that is made anew (zoo, timm).

    Raises:
        UnknownName: with the nearest known name.
        UsageError: for a sketch with a mistake, shown by a caret, or a function that can't be imported.
        BundleError: for a folder without a model.
    """
    text = os.fspath(name)
    for form in (_shipped, _folder, _onnx, _function):
        found = form(text)
        if found:
            return found
    return _named(text, classes)


def _shipped(text: str) -> Resolved | None:
    if not text.startswith("model:"):
        return None
    shelf = Path(str(resources.files("foveal.models"))) / "shipped"
    known = sorted(f.name for f in shelf.iterdir() if (f / "bundle.json").is_file())
    if text.removeprefix("model:") not in known:
        raise UnknownName("model", text.removeprefix("model:"), known)
    return _bundle(text, shelf / text.removeprefix("model:"))


def _folder(text: str) -> Resolved | None:
    path = Path(text)
    if not text or not path.is_dir():
        return None
    folder = path / "model" if (path / "model").is_dir() else path
    if path.name == text and not (folder / "bundle.json").exists():
        return None  # a folder that happens to be called as a network is
    return _bundle(text, folder)


def _bundle(text: str, folder: Path) -> Resolved:
    try:
        manifest = Manifest.from_dict(read_json(folder / "bundle.json"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{text}: no model in it ({error})", hint="give the folder that `train` wrote") from None
    preprocess = manifest.preprocess
    shape = (preprocess.channels, *preprocess.box)

    def build(_: tuple[int, int, int]) -> nn.Module:
        from foveal.models.networks import build as network

        if manifest.network is not None:
            return network(manifest.network)
        return _headed(str(manifest.backbone), len(manifest.classes) + manifest.outside)

    return Resolved("bundle", text, build, shape, folder)


def _headed(backbone: str, classes: int) -> nn.Module:
    """A backbone with a linear head: as a frozen run's bundle answers."""
    import timm

    return _timm_module(timm.create_model(_TIMM_NAMES.get(backbone, backbone), num_classes=classes))


def _onnx(text: str) -> Resolved | None:
    if not text.endswith(".onnx"):
        return None
    path = Path(text)
    if not path.is_file():
        raise UsageError(f"{text}: there is no such file", hint="give the path of an .onnx file")
    from foveal.models.onnx_graph import OnnxNetwork, read

    graph, shape = read(path)
    return Resolved("onnx", text, lambda _: OnnxNetwork(graph, path.parent), shape, path)


def _function(text: str) -> Resolved | None:
    module_name, colon, function_name = text.partition(":")
    if not colon or not all(part.isidentifier() for part in module_name.split(".")):
        return None
    if not function_name.isidentifier():
        raise UsageError(f"{text}: no function is named after the colon", hint="as in torchvision.models:resnet18")
    found = _imported(text, module_name, function_name)
    return Resolved("function", text, lambda shape: _called(text, found, shape))


def _imported(text: str, module_name: str, function_name: str) -> Callable[..., Any]:
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UsageError(
            f"{text}: {error}", hint="is the package installed, or the file in this folder?"
        ) from None
    except Exception as error:
        raise UsageError(f"{text}: {type(error).__name__}: {error}", hint="mend that module first") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UnknownName(f"function of {module_name}", function_name, known)
    return function  # type: ignore[no-any-return]


def _called(text: str, function: Callable[..., Any], shape: tuple[int, int, int]) -> nn.Module:
    from torch import nn

    needed = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    if needed:
        raise UsageError(
            f"{text} wants arguments: {', '.join(needed)}", hint="give a function that can do without"
        )
    try:
        module = function()
    except Exception as error:
        raise UsageError(f"{text}: {type(error).__name__}: {error}", hint="mend that function first") from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"{text} gives {type(module).__name__}", hint="it should return a torch.nn.Module")
    return module


#: Names of foveal's own for networks of timm's.
_TIMM_NAMES = {"lite0": "tf_efficientnet_lite0"}


def _named(text: str, classes: int) -> Resolved:
    zoo = _zoo_names()
    if text in zoo:
        published = importlib.import_module("foveal.models.zoo").card(text).input_shape
        return Resolved("zoo", text, lambda shape: _from_zoo(text, classes, shape[0]), published)
    if sketch.looks_like_sketch(text):
        sketch.parse(text)
        return Resolved("sketch", text, lambda shape: sketch.build(text, shape))
    import timm

    bare = _TIMM_NAMES.get(text, text.removeprefix("timm/"))
    if not timm.is_model(bare.partition(".")[0]):
        raise UnknownName("model", text, [*zoo, *_TIMM_NAMES, *timm.list_models()])
    config = timm.models.get_pretrained_cfg(bare.partition(".")[0])
    given = config.input_size if config is not None else None

    def build(shape: tuple[int, int, int]) -> nn.Module:
        arguments = {"num_classes": classes} | ({"in_chans": shape[0]} if shape[0] != 3 else {})
        try:
            return _timm_module(timm.create_model(bare, **arguments, img_size=shape[1:]))
        except TypeError:  # convolutional networks take any size
            return _timm_module(timm.create_model(bare, **arguments))

    return Resolved("timm", text, build, tuple(given) if given else None)


def _timm_module(module: Any) -> nn.Module:  # noqa: ANN401
    network: nn.Module = module
    return network


def _zoo_names() -> tuple[str, ...]:
    try:
        zoo = importlib.import_module("foveal.models.zoo")
        names: tuple[str, ...] = zoo.names()
    except (ImportError, AttributeError):
        return ()
    return names


def _from_zoo(name: str, classes: int, channels: int) -> nn.Module:
    module: nn.Module = importlib.import_module("foveal.models.zoo").create(
        name, classes=classes, channels=channels
    )
    return module
