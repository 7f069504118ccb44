"""A candidate becomes a bundle: calibrated on the validation side, with its provenance."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from foveal import __version__
from foveal.fit import Candidate, Work
from foveal.fit.calibration import fit_temperature, set_threshold, softmax
from foveal.ship.bundle import Bundle, weights_bytes
from foveal.values import Manifest


def make_bundle(candidate: Candidate, work: Work, *, task: str, origin: dict[str, Any]) -> Bundle:
    """The bundle of a candidate.

    Args:
        candidate: with its logits on the validation side.
        work: what it was fitted on.
        task: name.
        origin: what else its provenance should say.
    """
    val = candidate.seen["val"]
    labels = work.labels(val)
    temperature = fit_temperature(candidate.logits["val"], labels)
    probabilities = softmax(candidate.logits["val"], temperature)
    right = int((probabilities.argmax(axis=1) == labels).sum()) if val else 0
    learned = candidate.learned
    manifest = Manifest(
        task=task,
        classes=work.split.classes,
        backbone=learned.backbone.name if learned.backbone else None,
        backbone_sha256=learned.backbone.weights_sha256 if learned.backbone else None,
        weights_sha256=hashlib.sha256(weights_bytes(learned.tensors)).hexdigest(),
        preprocess=learned.preprocess,
        views=learned.views,
        network=learned.network,
        temperature=temperature,
        set_threshold=set_threshold(probabilities, labels),
        provenance={
            "foveal": __version__,
            "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "strategy": candidate.strategy,
            "trained_on": len(candidate.seen["train"]),
            "validation": {"n": len(val), "accuracy": right / len(val) if val else None},
            **origin,
        },
    )
    return Bundle(manifest, learned.tensors)
