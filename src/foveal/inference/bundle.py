"""The bundle: a model as two files, JSON and safetensors, that can be copied anywhere."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from foveal.data.targets.registry import find_target
from foveal.errors import BundleError
from foveal.files import read_json, write_bytes, write_json
from foveal.metrics.calibration import Calibration
from foveal.models.backbones import find_backbone
from foveal.models.linear_head import LinearHead
from foveal.models.shipped import bundle_folder, model_path
from foveal.models.trained import TrainedModel
from foveal.values import Backbone, LabelMap, Manifest
from foveal.version import __version__


@dataclass(frozen=True)
class Bundle:
    """A model and all that is needed to use it: its tensors by name, and the manifest that describes them."""

    manifest: Manifest
    tensors: Mapping[str, NDArray[Any]]

    @property
    def head(self) -> LinearHead:
        """The linear head, of a bundle that has a backbone."""
        return LinearHead(self.tensors["head.weight"], self.tensors["head.bias"])

    def probabilities(self, views: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What an engine computed of each view, as calibrated probabilities.

        Args:
            views: `(V, N, D)` features of the backbone, or logits of a network.

        Returns:
            Probabilities of the classes `(N, K)`, and of "none of them" `(N,)`: not a number where the model
            has no such output.
        """
        return self.calibrated(
            views.mean(axis=0) if self.manifest.network is not None else self.head.logits(views)
        )

    def calibrated(self, logits: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits `(N, outputs)` to what `probabilities` returns."""
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
) -> Bundle:
    """The bundle of a trained model.

    Args:
        trained: its weights, its input, and its backbone or network.
        task: its name, as in `tasks.TASKS`.
        classes: K names, in the order of its outputs.
        label_map: of the masks that it was trained on, if any.
        calibration: what the validation subset says about it.
        provenance: where it comes from; the version of foveal, the time and the validation figures are added.
    """
    manifest = Manifest(
        task=task,
        classes=tuple(classes),
        backbone=trained.backbone.name if trained.backbone else None,
        backbone_sha256=trained.backbone.weights_sha256 if trained.backbone else None,
        weights_sha256=hashlib.sha256(weights_bytes(trained.tensors)).hexdigest(),
        preprocess=trained.preprocess,
        views=trained.views,
        network=trained.network,
        temperature=calibration.temperature,
        set_threshold=calibration.set_threshold,
        label_map=label_map,
        provenance={
            "foveal": __version__,
            "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **provenance,
            "validation": calibration.validation,
        },
    )
    return Bundle(manifest, trained.tensors)


def backbone_of(bundle: Bundle) -> Backbone:
    """The backbone below a bundle's head, with the weights that the head was trained on.

    Raises:
        BundleError: when other weights are installed.
    """
    manifest = bundle.manifest
    backbone = find_backbone(manifest.backbone or "")
    if backbone.weights_sha256 != manifest.backbone_sha256:
        raise BundleError(
            f"this bundle was trained on other weights of {manifest.backbone}",
            hint="install the version of foveal that trained it, or train again",
        )
    return backbone


def weights_bytes(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The content of `weights.safetensors`."""
    content: bytes = save({k: np.asarray(v, order="C") for k, v in tensors.items()})
    return content


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write `weights.safetensors` and then `bundle.json`, each whole.

    The manifest holds the weights' hash, so `load_bundle` refuses new weights next to an old manifest.
    """
    write_bytes(folder / "weights.safetensors", weights_bytes(bundle.tensors))
    write_json(folder / "bundle.json", bundle.manifest.to_dict())


def load_bundle(name: str | Path) -> Bundle:
    """Read a bundle from a run folder, from the bundle's own folder, or `model:NAME`.

    Raises:
        BundleError: when a file is missing, damaged, or written by an incompatible version of foveal.
    """
    path = model_path(name)
    folder = bundle_folder(path)
    try:
        manifest = Manifest.from_dict(read_json(folder / "bundle.json"))
        content = (folder / "weights.safetensors").read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path}: no model in it ({error.strerror}: {error.filename})",
            hint="give the folder that `foveal train` wrote",
        ) from None
    except (ValueError, TypeError) as error:
        raise BundleError(f"{folder / 'bundle.json'}: {error}", hint="the file is damaged") from None
    if hashlib.sha256(content).hexdigest() != manifest.weights_sha256:
        raise BundleError(
            f"{folder / 'weights.safetensors'}: the content does not match its hash in bundle.json",
            hint="the copy is incomplete or damaged: copy the run folder again",
        )
    try:
        tensors = load(content)
        bundle = Bundle(manifest, tensors)
        outputs = len(manifest.classes) if manifest.network is not None else len(bundle.head.weight)
    except (SafetensorError, KeyError) as error:
        raise BundleError(
            f"{folder / 'weights.safetensors'}: {error}", hint="it is not a model of foveal, or it is damaged"
        ) from None
    if outputs != len(manifest.classes):
        raise BundleError(f"{folder}: {outputs} outputs for {len(manifest.classes)} classes")
    return bundle
