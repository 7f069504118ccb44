"""MODEL, as every verb takes it, and in one place what it may be.

The forms are tried in the order of `FORMS`: `model:NAME` (ships in the package), a run folder or bundle, an
`.onnx` file, `torchvision:NAME`, `package.module:function`, a zoo name, a sketch (see `sketch.py`), a backbone
(`lite0`, or of a registered source), a timm name, a torchvision name.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from foveal.errors import BundleError, FovealError, UnknownName, UsageError
from foveal.files import read_json
from foveal.models import sketch
from foveal.models.other_names import timm_name
from foveal.models.shipped import PREFIX, bundle_folder, shipped_folder
from foveal.models.sources import SOURCES
from foveal.models.sources.packaged import PACKAGED
from foveal.models.sources.timm_cache import TimmCache, bare_name, is_timm_model
from foveal.values import Manifest

if TYPE_CHECKING:
    from torch import nn

Kind = Literal["bundle", "onnx", "function", "zoo", "backbone", "timm", "torchvision", "sketch"]
_TORCHVISION = "torchvision:"


@dataclass(frozen=True)
class Resolved:
    """What a MODEL is, before it is built.

    Attributes:
        kind: which form it has.
        name: as it was given.
        build: makes the network with fresh weights, for images `(C, H, W)`.
        input: `(C, H, W)` of the images that it takes, where that is known.
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

    return Resolved("bundle", text, build, shape, folder)


def _onnx(text: str, _: int) -> Resolved | None:
    if not text.endswith(".onnx"):
        return None
    path = Path(text)
    if not os.path.isfile(text):
        raise UsageError(f"{text}: no such file", hint="give the path of an .onnx file")
    from foveal.models.onnx_graph import OnnxNetwork, read

    graph, shape = read(path)
    return Resolved("onnx", text, lambda _: OnnxNetwork(graph, path.parent), shape, path)


def _function(text: str, _: int) -> Resolved | None:
    module_name, colon, function_name = text.partition(":")
    if not colon or not all(part.isidentifier() for part in module_name.split(".")):
        return None
    if not function_name.isidentifier():
        raise UsageError(f"{text}: no function is named after the colon", hint="as in torchvision.models:resnet18")
    function = _import_function(text, module_name, function_name)
    return Resolved("function", text, lambda _: _call(text, function))


def _import_function(text: str, module_name: str, function_name: str) -> Callable[..., Any]:
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        with _contained(f"the module {module_name}"):
            module = importlib.import_module(module_name)
    except FovealError:
        raise
    except ImportError as error:
        raise UsageError(
            f"{text}: {error}", hint="is the package installed, or the file in this folder?"
        ) from None
    except Exception as error:
        raise UsageError(f"{text}: {type(error).__name__}: {error}", hint="correct that module first") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UnknownName(f"function of {module_name}", function_name, known)
    return function  # type: ignore[no-any-return]


def _call(text: str, function: Callable[..., Any]) -> nn.Module:
    from torch import nn

    needed = [
        p.name
        for p in _parameters(function)
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    if needed:
        raise UsageError(
            f"{text} needs arguments: {', '.join(needed)}", hint="give a function without required arguments"
        )
    try:
        with _contained(f"the function {text}"):
            module = function()
    except FovealError:
        raise
    except Exception as error:
        raise UsageError(f"{text}: {type(error).__name__}: {error}", hint="correct that function first") from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"{text} returns {type(module).__name__}", hint="it should return a torch.nn.Module")
    return module


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Those of a function; none where Python can't tell, as for some that are written in C."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []


@contextmanager
def _contained(what: str) -> Iterator[None]:
    """The user's code: what it prints goes to stderr, and it does not end the program.

    Raises:
        UsageError: when it tries to; not for a signal, whose handler exits as well.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except SystemExit as request:
        if request.code in (130, 143):
            raise
        raise UsageError(
            f"{what} ends the program", hint="give a function that returns a torch.nn.Module"
        ) from None


def _zoo(text: str, classes: int) -> Resolved | None:
    if text not in _zoo_names():
        return None
    from foveal.models import zoo

    return Resolved(
        "zoo",
        text,
        lambda shape: zoo.create(text, classes=classes, channels=shape[0]),
        zoo.card(text).input_shape,
    )


def _sketch(text: str, _: int) -> Resolved | None:
    if not sketch.looks_like_sketch(text):
        return None
    sketch.parse(text)
    return Resolved("sketch", text, lambda shape: sketch.build(text, shape))


def _backbone(text: str, classes: int) -> Resolved | None:
    """What a source has under a name of its own. A packaged one is a network of timm's."""
    if text in PACKAGED:
        return _timm_network(text, PACKAGED[text].architecture, classes)
    source = next((s for s in SOURCES if not isinstance(s, TimmCache) and s.has(text)), None)
    if source is None:
        return None
    return Resolved("backbone", text, lambda _: source.architecture(text, classes=classes).train())


def _timm(text: str, classes: int) -> Resolved | None:
    return _timm_network(text, bare_name(text), classes) if is_timm_model(text) else None


def _timm_network(text: str, name: str, classes: int) -> Resolved:
    import timm

    config = timm.models.get_pretrained_cfg(name.partition(".")[0])
    published = config.input_size if config is not None else None

    def build(shape: tuple[int, int, int]) -> nn.Module:
        arguments = {"num_classes": classes} | ({"in_chans": shape[0]} if shape[0] != 3 else {})
        network: nn.Module
        try:
            network = timm.create_model(name, **arguments, img_size=shape[1:])
        except TypeError:  # convolutional networks take any size
            network = timm.create_model(name, **arguments)
        return network

    return Resolved("timm", text, build, tuple(published) if published else None)


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
    from torchvision import models

    side = models.get_model_weights(name).DEFAULT.transforms.keywords["crop_size"]

    def build(shape: tuple[int, int, int]) -> nn.Module:
        if shape[0] != 3:
            raise UsageError(f"{text} takes 3 channels, not {shape[0]}", hint=f"--input 3x{side}x{side}")
        with warnings.catch_warnings():  # two of them announce that their initial weights may change
            warnings.simplefilter("ignore", FutureWarning)
            network: nn.Module = models.get_model(name, weights=None, num_classes=classes)
        return network

    return Resolved("torchvision", text, build, (3, side, side))


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
    _torchvision_prefixed,
    _function,
    _zoo,
    _sketch,
    _backbone,
    _timm,
    _torchvision,
)
