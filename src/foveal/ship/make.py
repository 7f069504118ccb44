"""A candidate becomes a bundle: calibrated on the validation side, with its provenance."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from foveal import __version__
from foveal.fit import Candidate, Work
from foveal.fit.calibration import fit_temperature, set_threshold, softmax
from foveal.ship.bundle import Bundle, weights_bytes
from foveal.values import Manifest


@dataclass(frozen=True)
class Calibration:
    """What the validation side says about a model.

    Attributes:
        validation: its figures, with `n`.
        temperature, set_threshold: see `Manifest`.
    """

    validation: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    set_threshold: float = 0.0


def calibrate_labels(candidate: Candidate, work: Work) -> Calibration:
    """The temperature and the threshold of the answers' sets, on the candidate's logits."""
    val = candidate.seen["val"]
    labels = work.labels(val)
    temperature = fit_temperature(candidate.logits["val"], labels)
    probabilities = softmax(candidate.logits["val"], temperature)
    right = int((probabilities.argmax(axis=1) == labels).sum()) if val else 0
    found = {"n": len(val), "accuracy": right / len(val) if val else None}
    return Calibration(found, temperature, set_threshold(probabilities, labels))


def calibrate_masks(candidate: Candidate, work: Work) -> Calibration:
    """Masks are the likeliest classes: there is nothing to calibrate, and the score is what is known."""
    return Calibration({"n": candidate.score_n, "miou": candidate.score})


def make_bundle(
    candidate: Candidate,
    work: Work,
    calibrate: Callable[[Candidate, Work], Calibration],
    *,
    task: str,
    origin: dict[str, Any],
) -> Bundle:
    """The bundle of a candidate.

    Args:
        candidate: the model.
        work: what it was fitted on.
        calibrate: of its task.
        task: name.
        origin: what else its provenance should say.
    """
    found, learned = calibrate(candidate, work), candidate.learned
    manifest = Manifest(
        task=task,
        classes=work.split.classes,
        backbone=learned.backbone.name if learned.backbone else None,
        backbone_sha256=learned.backbone.weights_sha256 if learned.backbone else None,
        weights_sha256=hashlib.sha256(weights_bytes(learned.tensors)).hexdigest(),
        preprocess=learned.preprocess,
        views=learned.views,
        network=learned.network,
        temperature=found.temperature,
        set_threshold=found.set_threshold,
        legend=work.split.legend,
        provenance={
            "foveal": __version__,
            "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "strategy": candidate.strategy,
            "trained_on": len(candidate.seen["train"]),
            "validation": found.validation,
            **origin,
        },
    )
    return Bundle(manifest, learned.tensors)
