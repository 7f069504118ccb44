"""A bundle as one module in torch, from 8-bit images of any size to its answers."""

from __future__ import annotations

from torch import nn

from foveal.errors import UsageError
from foveal.export.whole_classifier import WholeClassifier
from foveal.export.whole_multi_label import WholeMultiLabel
from foveal.export.whole_segmenter import WholeSegmenter
from foveal.inference.bundle import Bundle


def whole(bundle: Bundle) -> nn.Module:
    """The module of a bundle, in evaluation mode.

    Raises:
        UsageError: for a task or a preprocessing that can't be exported.
    """
    if bundle.manifest.task == "classify":
        return WholeClassifier(bundle).eval()
    if bundle.manifest.task == "multi-label":
        return WholeMultiLabel(bundle).eval()
    if bundle.manifest.task == "segment":
        return WholeSegmenter(bundle).eval()
    raise UsageError(f"models of the task {bundle.manifest.task!r} can't be exported", hint="predict with foveal")
