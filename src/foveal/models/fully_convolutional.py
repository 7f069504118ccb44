"""A classifier becomes fully convolutional: the same weights, answering at every place of a larger picture.

Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation" (2014), section 3.1; LeCun et
al. (1998) did it for whole words. What was made for a picture of one size looks at a window of that size:

* a dense layer after flattening becomes a convolution whose kernel is *the whole feature map*, `(K, C, h, w)`;
  only the dense layers after it become 1 × 1;
* an average (or maximum) over all places becomes a sliding one, over as many places as there were in training;
* an adaptive pooling to k × k does nothing where the map is k × k; elsewhere the kernel behind it takes it in;
* what pads, and what lets every place see all others (squeeze-and-excitation, say), stays as it is, and is named:
  there an answer is no longer quite the one that the network would give on that window alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from foveal.errors import UsageError
from foveal.models.frozen import Frozen, translate_stages
from foveal.models.heads import Joined, Untranslatable, translate
from foveal.models.small import Ensemble, Shifted
from foveal.models.space import Space, look_at

#: The converted network must answer on a picture of the training size as the network itself does, to this share of
#: the largest logit.
_EXACT = 1e-4


class FullyConvolutional(nn.Module):
    """A map of answers: the answer at `(i, j)` is about the window whose corner is `(i, j)` times `stride`.

    Attributes:
        window: side of the square that each answer is about, pixels: the size of the training pictures.
        stride: pixels between two neighbouring answers.
        channels: of the input.
        padded: layers that pad, by module path; empty: every answer is exactly the network's on that window.
        mixing: layers in which every place sees the whole picture; empty: an answer depends on what is near.
        halo: pixels around a window that its answer depends on because of padding.
        remarks: what else is not as it was, in words.
    """

    def __init__(
        self, body: nn.Module, space: Space, *, channels: int, window: int, remarks: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.body = body
        self.channels, self.window = channels, window
        self.stride, self.halo = space.stride[0], space.halo
        self.padded, self.mixing, self.remarks = space.padded, space.mixing, tuple(remarks)

    def answers(self, pixels: int) -> int:
        """How many answers stand along a side of this many pixels."""
        return max(0, (pixels - self.window) // self.stride + 1)

    def covering(self, pixels: int) -> int:
        """The shortest side that is not below `pixels` and of which every pixel is in some window."""
        return self.window + self.stride * -(-max(0, pixels - self.window) // self.stride)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised pictures `(N, C, H, W)` to logits `(N, K, answers(H), answers(W))`.

        What lies right of and below the last whole window is not looked at.

        Raises:
            UsageError: when the picture is smaller than the window.
        """
        height, width = int(x.shape[2]), int(x.shape[3])
        if min(height, width) < self.window:
            raise UsageError(
                f"a picture of {height} × {width} pixels is smaller than the window of {self.window}",
                hint=f"the smallest that works is {self.window} × {self.window}",
            )
        fitting = [self.window + self.stride * (self.answers(side) - 1) for side in (height, width)]
        logits: Tensor = self.body(x[:, :, : fitting[0], : fitting[1]])
        return logits


def convert(classifier: nn.Module, *, size: int, channels: int = 3) -> FullyConvolutional:
    """Make a classifier fully convolutional. Both share their weights; the classifier goes into evaluation mode.

    Args:
        classifier: normalised pictures `(N, channels, size, size)` to logits `(N, K)`.
        size: of the training pictures, pixels.
        channels: of the input.

    Raises:
        UsageError: when a layer can't be converted, naming it.
    """
    # Composite operators are taken apart, and so can be watched, only outside of inference mode.
    with torch.inference_mode(False), torch.no_grad():
        return _converted(classifier.eval(), size, channels)


def _converted(given: nn.Module, size: int, channels: int) -> FullyConvolutional:
    classifier, remarks = _bare(given)
    pictures = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))
    expected = classifier(pictures)
    body = _translated(classifier, pictures)
    found = body(pictures)
    kind = type(classifier).__name__
    if found.shape != (*expected.shape, 1, 1):
        raise UsageError(
            f"{kind}: a picture of {size} × {size} should give one answer, not {tuple(found.shape)}",
            hint="what does its forward do after its last convolution?",
        )
    error = float((found[:, :, 0, 0] - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    if not error <= _EXACT:
        raise UsageError(
            f"{kind}: converted, it answers otherwise than before (by {error:.1e} of its largest logit)",
            hint="its forward does something that this conversion does not see",
        )
    try:
        space = look_at(body, channels, size)
    except (ValueError, RuntimeError, UsageError) as problem:
        raise UsageError(f"{kind} works at {size} × {size} only: {problem}"[:300]) from None
    if space.stride[0] != space.stride[1]:
        raise UsageError(f"{kind}: strides differ, {space.stride[0]} down and {space.stride[1]} across")
    if isinstance(body, Joined):  # as the classifier itself names its layers
        space = replace(
            space,
            padded=tuple(path.removeprefix("network.") for path in space.padded),
            mixing=tuple(path.removeprefix("network.") for path in space.mixing),
        )
    return FullyConvolutional(body, space, channels=channels, window=size, remarks=remarks).eval()


def _bare(classifier: nn.Module) -> tuple[nn.Module, list[str]]:
    """The classifier without what has no meaning on a map."""
    if isinstance(classifier, Shifted):
        remark = f"the mean over shifts by {classifier.pixels} pixels is left out: a map has its neighbours anyway"
        return classifier.inner, [remark]
    return classifier, []


def _translated(classifier: nn.Module, pictures: Tensor) -> nn.Module:
    if isinstance(classifier, Ensemble):
        return Ensemble([_translated(_bare(member)[0], pictures) for member in classifier.members]).eval()
    try:
        if isinstance(classifier, Frozen) and classifier.segments is not None:
            return translate_stages(classifier, pictures)
        return translate(classifier, pictures)
    except Untranslatable as problem:
        raise UsageError(
            f"{type(classifier).__name__} can't become fully convolutional: {problem}",
            hint="networks that end in pooling or flattening, and dense layers, can",
        ) from None
