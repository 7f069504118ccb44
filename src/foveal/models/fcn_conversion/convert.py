"""A classifier becomes fully convolutional: the same weights, with an output at every position of a larger image.

Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation" (2014), section 3.1; LeCun et
al. (1998) did it for whole words. What was made for images of one size takes a window of that size:

* a linear layer after flattening becomes a convolution whose kernel is *the whole feature map*, `(K, C, h, w)`;
  only the linear layers after it become 1 × 1;
* an average (or maximum) over all positions becomes a sliding one, over as many as there were in training;
* an adaptive pooling to k × k does nothing where the map is k × k; elsewhere the kernel after it includes it;
* what pads, and what lets every position depend on all others (squeeze-and-excitation, say), stays as it is, and
  is named: there an output is no longer quite what the network would give for that window alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from foveal.errors import UsageError
from foveal.models.fcn_conversion.geometry import Geometry, geometry_of
from foveal.models.fcn_conversion.heads import FeaturesThenHead, Untranslatable, translate
from foveal.models.fcn_conversion.stage_maps import translate_stages
from foveal.models.linear_probe import LinearProbe
from foveal.models.small import Ensemble, Shifted

#: On an image of the training size the converted network must give what the classifier gives, to this share of the
#: largest logit.
_EXACT = 1e-4


class FullyConvolutional(nn.Module):
    """A map of logits: the output at `(i, j)` is for the window whose corner is `(i, j)` times `stride`.

    Attributes:
        window: side of the square that each output is for, pixels: the size of the training images.
        stride: pixels between two neighbouring outputs.
        channels: of the input.
        padded: layers that pad, by module path; empty: every output is exactly the classifier's for that window.
        mixing: layers in which every position depends on the whole image; empty: an output depends on what is
            near.
        halo: pixels around a window that its output depends on because of padding.
        remarks: what else is not as it was, in words.
    """

    def __init__(
        self, body: nn.Module, geometry: Geometry, *, channels: int, window: int, remarks: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.body = body
        self.channels, self.window = channels, window
        self.stride, self.halo = geometry.stride[0], geometry.halo
        self.padded, self.mixing, self.remarks = geometry.padded, geometry.mixing, tuple(remarks)

    def outputs(self, pixels: int) -> int:
        """How many outputs there are along a side of this many pixels."""
        return max(0, (pixels - self.window) // self.stride + 1)

    def covering(self, pixels: int) -> int:
        """The shortest side that is not below `pixels` and of which every pixel is in some window."""
        return self.window + self.stride * -(-max(0, pixels - self.window) // self.stride)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images `(N, C, H, W)` to logits `(N, K, outputs(H), outputs(W))`.

        What lies right of and below the last whole window is ignored.

        Raises:
            UsageError: when the image is smaller than the window.
        """
        height, width = int(x.shape[2]), int(x.shape[3])
        if min(height, width) < self.window:
            raise UsageError(
                f"an image of {height} × {width} pixels is smaller than the window of {self.window}",
                hint=f"the smallest that works is {self.window} × {self.window}",
            )
        fitting = [self.window + self.stride * (self.outputs(side) - 1) for side in (height, width)]
        logits: Tensor = self.body(x[:, :, : fitting[0], : fitting[1]])
        return logits


def convert(classifier: nn.Module, *, size: int, channels: int = 3) -> FullyConvolutional:
    """Make a classifier fully convolutional. Both share their weights; the classifier goes into evaluation mode.

    Args:
        classifier: normalised images `(N, channels, size, size)` to logits `(N, K)`.
        size: of the training images, pixels.
        channels: of the input.

    Raises:
        UsageError: when a layer can't be converted, naming it.
    """
    # Composite operators are taken apart, and so can be observed, only outside of inference mode.
    with torch.inference_mode(False), torch.no_grad():
        return _converted(classifier.eval(), size, channels)


def _converted(given: nn.Module, size: int, channels: int) -> FullyConvolutional:
    classifier, remarks = _without_views(given)
    images = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))
    expected = classifier(images)
    body = _translated(classifier, images)
    actual = body(images)
    kind = type(classifier).__name__
    if actual.shape != (*expected.shape, 1, 1):
        raise UsageError(
            f"{kind}: an image of {size} × {size} gives {tuple(actual.shape)}, not one vector of logits",
            hint="its forward may reshape its output after its last convolution",
        )
    error = float((actual[:, :, 0, 0] - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    if not error <= _EXACT:
        raise UsageError(
            f"{kind}: converted, its logits differ from before (by {error:.1e} of the largest)",
            hint="its forward does something that this conversion does not handle",
        )
    try:
        geometry = geometry_of(body, channels, size)
    except (ValueError, RuntimeError, UsageError) as problem:
        raise UsageError(f"{kind} works at {size} × {size} only: {problem}"[:300]) from None
    if geometry.stride[0] != geometry.stride[1]:
        raise UsageError(f"{kind}: strides differ, {geometry.stride[0]} down and {geometry.stride[1]} across")
    if isinstance(body, FeaturesThenHead):  # as the classifier itself names its layers
        geometry = replace(
            geometry,
            padded=tuple(path.removeprefix("network.") for path in geometry.padded),
            mixing=tuple(path.removeprefix("network.") for path in geometry.mixing),
        )
    return FullyConvolutional(body, geometry, channels=channels, window=size, remarks=remarks).eval()


def _without_views(classifier: nn.Module) -> tuple[nn.Module, list[str]]:
    """The classifier without the views that it averages over, and what that leaves out."""
    if isinstance(classifier, Shifted):
        pixels, remarks = classifier.pixels, []
        if pixels:
            remarks.append(
                f"the mean over shifts by {pixels} pixels is not computed: a map has neighbouring outputs"
            )
        if classifier.mirror:
            remarks.append("the mean over mirrored images is not computed")
        return classifier.inner, remarks
    return classifier, []


def _translated(classifier: nn.Module, images: Tensor) -> nn.Module:
    if isinstance(classifier, Ensemble):
        return Ensemble([_translated(_without_views(member)[0], images) for member in classifier.members]).eval()
    try:
        if isinstance(classifier, LinearProbe) and classifier.stages is not None:
            return translate_stages(classifier, images)
        return translate(classifier, images)
    except Untranslatable as problem:
        raise UsageError(
            f"{type(classifier).__name__} can't become fully convolutional: {problem}",
            hint="networks that end in pooling or flattening, and linear layers, can",
        ) from None
