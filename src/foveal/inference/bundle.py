"""The bundle: a model as two files, JSON and safetensors, that can be copied anywhere."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from foveal.data.targets.registry import find_target
from foveal.errors import BundleError, UnknownName
from foveal.files import read_json, write_bytes, write_json
from foveal.metrics.calibration import Calibration
from foveal.metrics.unknown import UnknownDetector
from foveal.models.backbones import find_backbone
from foveal.models.linear_head import LinearHead
from foveal.models.shipped import bundle_folder, model_path
from foveal.models.trained import TrainedModel
from foveal.schema import CHANGED
from foveal.values import Backbone, LabelMap, Manifest, UnknownRule
from foveal.version import __version__

if TYPE_CHECKING:
    import torch

#: Before the names of a detector's tensors.
_UNKNOWN = "unknown."


@dataclass(frozen=True)
class Bundle:
    """A model and all that is needed to use it: its tensors by name, and the manifest that describes them.

    `unknown` tells images that are unlike all that the model was trained on, where `manifest.unknown` is given.
    """

    manifest: Manifest
    tensors: Mapping[str, NDArray[Any]]
    unknown: UnknownDetector | None = None

    @property
    def head(self) -> LinearHead:
        """The linear head, of a bundle that has a backbone."""
        return LinearHead(self.tensors["head.weight"], self.tensors["head.bias"])

    @property
    def bytes(self) -> int:
        """Of its tensors."""
        return sum(tensor.nbytes for tensor in all_tensors(self.tensors, self.unknown).values())

    def probabilities(self, views: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What an engine computed of each view, as calibrated probabilities.

        Args:
            views: `(V, N, D)` features of the backbone, or logits of a network.

        Returns:
            Probabilities of the classes `(N, K)`, and of "none of them" `(N,)`: not a number where the model
            has no such output.

        Raises:
            BundleError: see `calibrated`.
        """
        return self.calibrated(self._logits(views))

    def p_values(self, views: NDArray[np.float32]) -> NDArray[np.float64]:
        """How usual images are among those that the model was trained on, `(N,)`; see `metrics/unknown.py`.

        Args:
            views: as `probabilities` takes them.

        Returns:
            Not a number where the bundle can't tell.
        """
        if self.unknown is None:
            return np.full(views.shape[1], np.nan)
        return self.unknown.p_values(views.mean(axis=0), self._logits(views))

    def _logits(self, views: NDArray[np.float32]) -> NDArray[np.float32]:
        with np.errstate(over="ignore", invalid="ignore"):  # `calibrated` refuses what is not finite
            return views.mean(axis=0) if self.manifest.network is not None else self.head.logits(views)

    def calibrated(self, logits: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits `(N, outputs)` to what `probabilities` returns.

        Raises:
            BundleError: when they are not finite, or not as many as the classes: the model is damaged.
        """
        self.manifest.check_outputs(logits.shape[1])
        if not np.isfinite(logits).all():
            raise BundleError("the model's outputs are not finite", hint="it is damaged: train again")
        link, temperature = find_target(self.manifest.task).probabilities, self.manifest.temperature
        if not self.manifest.outside:
            return link(logits, temperature), np.full(len(logits), np.nan, dtype=np.float32)
        return link(logits[:, :-1], temperature), link(logits)[:, -1]


def make_bundle(
    trained: TrainedModel,
    *,
    task: str,
    classes: Sequence[str],
    label_map: LabelMap | None,
    calibration: Calibration,
    provenance: Mapping[str, Any],
    measured_before_refit: bool = False,
    unknown: tuple[UnknownRule, UnknownDetector] | None = None,
) -> Bundle:
    """The bundle of a trained model.

    Args:
        trained: its weights, its input, and its backbone or network.
        task: its name, as in `tasks.TASKS`.
        classes: K names, in the order of its outputs.
        label_map: of the masks that it was trained on, if any.
        calibration: what images that it was not fitted on say about it.
        provenance: where it comes from; the version of foveal, the time and the figures of the calibration are added.
        measured_before_refit: see `Manifest`.
        unknown: what tells images that are unlike its own, if anything does.
    """
    sets, (rule, detector) = calibration.sets, unknown or (None, None)
    manifest = Manifest(
        task=task,
        classes=tuple(classes),
        backbone=trained.backbone.name if trained.backbone else None,
        backbone_sha256=trained.backbone.weights_sha256 if trained.backbone else None,
        weights_sha256=hashlib.sha256(weights_bytes(all_tensors(trained.tensors, detector))).hexdigest(),
        preprocess=trained.preprocess,
        views=trained.views,
        network=trained.network,
        temperature=calibration.temperature,
        set_threshold=sets.threshold if sets else 0.0,
        coverage=sets.coverage if sets else None,
        thresholds=calibration.thresholds,
        label_map=label_map,
        measured_before_refit=measured_before_refit,
        unknown=rule,
        provenance={
            "foveal": __version__,
            "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **provenance,
            "validation": calibration.validation,
            **({"sets": sets.to_dict()} if sets else {}),
        },
    )
    return Bundle(manifest, trained.tensors, detector)


def backbone_of(bundle: Bundle) -> Backbone:
    """The backbone below a bundle's head, with the weights that the head was trained on.

    Raises:
        BundleError: when other weights are installed, or the head takes another number of features.
    """
    manifest = bundle.manifest
    backbone = find_backbone(manifest.backbone or "")
    if backbone.weights_sha256 != manifest.backbone_sha256:
        raise BundleError(
            f"this bundle was trained on other weights of {manifest.backbone}",
            hint="install the version of foveal that trained it, or train again",
        )
    width = bundle.head.weight.shape[1]
    if width not in (backbone.dimension, backbone.dimension + backbone.stage_dimension):
        raise BundleError(
            f"head.weight: it takes {width} features, and {manifest.backbone} gives {backbone.dimension}",
            hint="was the file changed by hand? train again",
        )
    return backbone


def network_of(bundle: Bundle) -> torch.nn.Module:
    """The network of a bundle without a backbone, with its weights, in evaluation mode.

    Raises:
        BundleError: when it can't be built, has other weights, or does not take the bundle's images and give one
            output for each of its classes.
    """
    import torch

    from foveal.models.networks import with_weights

    manifest = bundle.manifest
    assert manifest.network is not None
    module = with_weights(manifest.network, bundle.tensors)
    preprocess = manifest.preprocess
    # Any size will do for a network that is given images of any size, so a small one is tried.
    sides = [min(side, 64) for side in preprocess.box] if preprocess.resize == "fit" else preprocess.box
    try:
        with torch.inference_mode():
            outputs = module(torch.zeros(1, preprocess.channels, *sides))
    except (RuntimeError, ValueError, IndexError) as error:
        raise BundleError(
            f"bundle.json: the network can't take images of {preprocess.channels} × {sides[0]} × {sides[1]}: "
            f"{str(error)[:200]}",
            hint=CHANGED,
        ) from None
    manifest.check_outputs(outputs.shape[1])
    return module


def all_tensors(tensors: Mapping[str, NDArray[Any]], unknown: UnknownDetector | None) -> dict[str, NDArray[Any]]:
    """Of `weights.safetensors`: those of the model, and those of its detector under a prefix."""
    more = {} if unknown is None else unknown.tensors()
    return {**tensors, **{_UNKNOWN + name: tensor for name, tensor in more.items()}}


def weights_bytes(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The content of `weights.safetensors`."""
    content: bytes = save({k: np.asarray(v, order="C") for k, v in tensors.items()})
    return content


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write `weights.safetensors` and then `bundle.json`, each whole.

    The manifest holds the weights' hash, so `load_bundle` refuses new weights next to an old manifest.
    """
    write_bytes(folder / "weights.safetensors", weights_bytes(all_tensors(bundle.tensors, bundle.unknown)))
    write_json(folder / "bundle.json", bundle.manifest.to_dict())


def load_bundle(name: str | Path) -> Bundle:
    """Read a bundle from a run folder, from the bundle's own folder, or `model:NAME`.

    Raises:
        BundleError: when a file is missing, damaged, or written by an incompatible version of foveal.
    """
    path = model_path(name)
    folder = bundle_folder(path)
    file = folder / "bundle.json"
    try:
        manifest = Manifest.from_dict(read_json(file), str(file))
        content = (folder / "weights.safetensors").read_bytes()
    except OSError as error:
        raise _no_model(path, error) from None
    except ValueError as error:
        raise BundleError(f"{file}: {error}", hint="the file is damaged") from None
    if hashlib.sha256(content).hexdigest() != manifest.weights_sha256:
        raise BundleError(
            f"{folder / 'weights.safetensors'}: the content does not match its hash in bundle.json",
            hint="the copy is incomplete or damaged: copy the run folder again",
        )
    _check_task(manifest, file)
    try:
        tensors: dict[str, NDArray[Any]] = load(content)
        check_tensors(tensors)
        if manifest.backbone is not None:
            _check_head(tensors, len(manifest.classes))
        unknown = _unknown(manifest, tensors)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{folder / 'weights.safetensors'}: {error}", hint="it is not a model of foveal, or it is damaged"
        ) from None
    return Bundle(manifest, tensors, unknown)


def _unknown(manifest: Manifest, tensors: dict[str, NDArray[Any]]) -> UnknownDetector | None:
    """What tells unknown images; its tensors are taken out of those of the model.

    Raises:
        KeyError, ValueError: when they are not those of a detector for this model.
    """
    if manifest.unknown is None:
        return None
    own = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_UNKNOWN)}
    detector = UnknownDetector.of_tensors(
        manifest.unknown.score, {k.removeprefix(_UNKNOWN): v for k, v in own.items()}
    )
    for subspace in detector.subspaces:
        if manifest.backbone is None or subspace.centre.shape != tensors["head.weight"].shape[1:]:
            raise ValueError(f"{_UNKNOWN}centre: not for the features of this model")
    return detector


def _no_model(path: Path, error: OSError) -> BundleError:
    """Why there is no model where one was named."""
    if not os.path.lexists(path):
        return BundleError(
            f"{path}: no such file or folder", hint="give a run folder that `foveal train` wrote, or latest"
        )
    if (path / "log.jsonl").is_file() and not isinstance(error, PermissionError):
        has_begun = (path / "config.json").is_file()
        hint = f"continue it: foveal train --resume {path}" if has_begun else "start again: foveal train DATA"
        return BundleError(f"{path}: nothing was trained in this run", hint=hint)
    return BundleError(
        f"{path}: no model in it ({error.strerror}: {error.filename})",
        hint="give the folder that `foveal train` wrote",
    )


def _check_task(manifest: Manifest, file: Path) -> None:
    """Raises `BundleError` for a task that is not known, or one whose model would need a label map, or none."""
    try:
        wants_map = find_target(manifest.task).annotation == "mask"
    except UnknownName as unknown:
        raise BundleError(f"{file}: task: {unknown}", hint="was this bundle made by a newer foveal?") from None
    if wants_map != (manifest.label_map is not None):
        missing = "needs a label_map" if wants_map else "has no use for a label_map"
        raise BundleError(f"{file}: task: a model that predicts {manifest.task!r} {missing}", hint=CHANGED)


def check_tensors(tensors: Mapping[str, NDArray[Any]]) -> None:
    """Raises `ValueError`, naming the tensor, where a value is not finite or no network could have the type.

    Batch normalisation counts its batches and keeps variances; some networks keep positions and masks.
    """
    for name, tensor in tensors.items():
        if not np.issubdtype(tensor.dtype, np.floating):
            if tensor.dtype != np.bool_ and not np.issubdtype(tensor.dtype, np.integer):
                raise ValueError(f"{name}: {tensor.dtype} instead of floating point")
        elif not np.isfinite(tensor).all():
            raise ValueError(f"{name}: not all values are finite")
        elif name.endswith("running_var") and (tensor < 0).any():
            raise ValueError(f"{name}: a variance below zero")


def _check_head(tensors: Mapping[str, NDArray[Any]], classes: int) -> None:
    """Raises `KeyError` or `ValueError` unless these are a linear head for so many classes."""
    weight, bias = tensors["head.weight"], tensors["head.bias"]
    for name, tensor, shape in (("head.weight", weight, (classes, None)), ("head.bias", bias, (classes,))):
        if tensor.dtype != np.float32:
            raise ValueError(f"{name}: {tensor.dtype} instead of float32")
        if tensor.ndim != len(shape) or tensor.shape[0] != classes:
            raise ValueError(f"{name}: shape {tensor.shape} for {classes} classes")
