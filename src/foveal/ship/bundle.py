"""The bundle: a model as two files, JSON and safetensors, that can be copied anywhere."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from foveal.errors import BundleError, UnknownName
from foveal.files import read_json, write_bytes, write_json
from foveal.fit.calibration import softmax
from foveal.fit.head import LinearHead
from foveal.values import Manifest


@dataclass(frozen=True)
class Bundle:
    """A model and all that is needed to use it: its numbers by name, and the manifest that says what they are."""

    manifest: Manifest
    tensors: Mapping[str, NDArray[Any]]

    @property
    def head(self) -> LinearHead:
        """The linear head, of a bundle that has a backbone."""
        return LinearHead(self.tensors["head.weight"], self.tensors["head.bias"])

    def probabilities(self, views: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What an engine computed of each view, to calibrated answers.

        Args:
            views: `(V, N, D)` features of the trunk, or logits of a network.

        Returns:
            Probabilities of the classes `(N, K)`, and of "none of them" `(N,)`: not a number where the model
            can't tell.
        """
        return self.calibrated(
            views.mean(axis=0) if self.manifest.network is not None else self.head.logits(views)
        )

    def calibrated(self, logits: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits `(N, outputs)` to what `probabilities` returns."""
        if not self.manifest.outside:
            return softmax(logits, self.manifest.temperature), np.full(len(logits), np.nan, dtype=np.float32)
        outside = softmax(logits)[:, -1]
        return softmax(logits[:, :-1], self.manifest.temperature), outside


def weights_bytes(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The content of `weights.safetensors`."""
    content: bytes = save({k: np.asarray(v, order="C") for k, v in tensors.items()})
    return content


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write `weights.safetensors` and then `bundle.json`, each whole.

    The manifest holds the weights' hash: new weights beside an old manifest are noticed by any reader.
    """
    write_bytes(folder / "weights.safetensors", weights_bytes(bundle.tensors))
    write_json(folder / "bundle.json", bundle.manifest.to_dict())


def find_model(name: str | Path) -> Path:
    """The folder of `model:NAME`, which ships in the package; any other name is a path.

    Raises:
        UnknownName: with the nearest known name.
    """
    text = os.fspath(name)
    if not text.startswith("model:"):
        return Path(text)
    shelf = Path(str(resources.files("foveal.models"))) / "shipped"
    known = sorted(f.name for f in shelf.iterdir() if (f / "bundle.json").is_file())
    if text.removeprefix("model:") not in known:
        raise UnknownName("model", text.removeprefix("model:"), known)
    return shelf / text.removeprefix("model:")


def load_bundle(name: str | Path) -> Bundle:
    """Read a bundle from a run folder, from the bundle's own folder, or `model:NAME`.

    Raises:
        BundleError: when a file is missing, damaged, or of another foveal.
    """
    path = find_model(name)
    folder = path / "model" if (path / "model").is_dir() else path
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
            f"{folder / 'weights.safetensors'}: {error}", hint="it is no model of foveal's, or damaged"
        ) from None
    if outputs != len(manifest.classes):
        raise BundleError(f"{folder}: {outputs} outputs for {len(manifest.classes)} classes")
    return bundle
