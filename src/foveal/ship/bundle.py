"""The bundle: a model as two files, JSON and safetensors, that can be copied anywhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from foveal.errors import BundleError
from foveal.files import read_json, write_bytes, write_json
from foveal.fit.calibration import softmax
from foveal.fit.head import LinearHead
from foveal.values import Manifest


@dataclass(frozen=True)
class Bundle:
    """A model and all that is needed to use it: the head's numbers, and the manifest that names the rest."""

    manifest: Manifest
    head: LinearHead

    def probabilities(self, views: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(V, N, D)` features to calibrated probabilities `(N, K)`."""
        return softmax(self.head.logits(views), self.manifest.temperature)


def head_bytes(head: LinearHead) -> bytes:
    """The head as the content of `weights.safetensors`."""
    tensors = {"head.weight": np.ascontiguousarray(head.weight), "head.bias": np.ascontiguousarray(head.bias)}
    content: bytes = save(tensors)
    return content


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write `weights.safetensors` and then `bundle.json`, each whole.

    The manifest holds the weights' hash: new weights beside an old manifest are noticed by any reader.
    """
    write_bytes(folder / "weights.safetensors", head_bytes(bundle.head))
    write_json(folder / "bundle.json", bundle.manifest.to_dict())


def load_bundle(path: Path) -> Bundle:
    """Read a bundle from a run folder or from the bundle's own folder.

    Raises:
        BundleError: when a file is missing, damaged, or of another foveal.
    """
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
    if hashlib.sha256(content).hexdigest() != manifest.head_sha256:
        raise BundleError(
            f"{folder / 'weights.safetensors'}: the content does not match its hash in bundle.json",
            hint="the copy is incomplete or damaged: copy the run folder again",
        )
    try:
        tensors = load(content)
        head = LinearHead(tensors["head.weight"], tensors["head.bias"])
    except (SafetensorError, KeyError) as error:
        raise BundleError(
            f"{folder / 'weights.safetensors'}: {error}", hint="it is no model of foveal's, or damaged"
        ) from None
    if head.weight.shape[0] != len(manifest.classes) or head.bias.shape[0] != len(manifest.classes):
        raise BundleError(f"{folder}: {head.weight.shape[0]} outputs for {len(manifest.classes)} classes")
    return Bundle(manifest, head)
