"""Dense layers converted to convolutions: the same outputs at every position, and where "1 × 1" is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from foveal.studies.framework import (
    Arm,
    Check,
    Contrast,
    Measure,
    NotebookClaim,
    Plot,
    Results,
    Series,
    Setting,
    Study,
    difference,
    format_number,
)

if TYPE_CHECKING:
    from torch import Tensor, nn


#: Arm → its sketch, for digits of 28 × 28.
SKETCHES = {
    "flattened": "conv8k5valid-relu-pool2-conv16k5valid-relu-pool2-flatten-dense64-relu-dense10",
    "flattened, padded": "conv8k5-relu-pool2-conv16k5-relu-pool2-flatten-dense64-relu-dense10",
    "averaged": "conv8k5valid-relu-pool2-conv32k5valid-relu-pool2-conv32k3valid-relu-gap-dense10",
}
DESCRIPTIONS = {
    "flattened": "no padding; the dense layer takes the flattened feature map",
    "flattened, padded": "the same with padded convolutions",
    "averaged": "no padding; global average pooling, then the dense layer",
}
IMAGES, STEPS, TESTED, TIMES = 20_000, 400, 4_000, 10
#: Largest difference, relative to the largest logit: at the training size, and on windows of a larger image.
TOLERANCE, TOLERANCE_WINDOWS = 1e-5, 1e-4


def run(arm: str, seed: int, setting: Setting) -> Mapping[str, float]:
    """Train a classifier, convert it to a fully convolutional network, and compare their outputs."""
    import numpy as np
    import torch

    from foveal.models.fcn_conversion.convert import convert
    from foveal.models.normalisation import Normalisation
    from foveal.studies.experiments.support.digits import preprocess_for, test_subset
    from foveal.studies.experiments.support.profiling import in_chunks, seconds_of

    network = _trained(arm, seed, setting)
    test = test_subset(setting).draw(TESTED, 0)
    images = Normalisation(preprocess_for(test))(torch.from_numpy(test.pixels))
    size = images.shape[-1]
    large = _scattered(images, TIMES if setting.share >= 1 else 3, np.random.default_rng(seed))
    with torch.no_grad():
        converted = convert(network, size=size, channels=images.shape[1])
        expected, actual = network(images), converted(images)[:, :, 0, 0]
        dense_map = converted(large)
        windows = large.unfold(2, size, converted.stride).unfold(3, size, converted.stride)
        crops = windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, *images.shape[1:])
        of_crops = torch.cat([network(part) for part in in_chunks(crops, 256)])
        map_of_crops = of_crops.view(1, *dense_map.shape[2:], -1).permute(0, 3, 1, 2)
        ones = logits_with_1x1(network, images)
        repeats = 3 if setting.share >= 1 else 1
        one_pass = seconds_of(lambda: converted(large), repeats)
        all_crops = seconds_of(lambda: [network(part) for part in in_chunks(crops, 256)], repeats)
    labels = torch.from_numpy(test.labels)
    return {
        "dense": _share(expected.argmax(1) == labels),
        "converted": _share(actual.argmax(1) == labels),
        "ones": _share(ones.argmax(1) == labels),
        "error": _error(actual, expected),
        "error on windows": _error(dense_map, map_of_crops),
        "agreement": _share(dense_map.argmax(1) == map_of_crops.argmax(1)),
        "pass": one_pass,
        "crops": all_crops,
        "predictions": float(of_crops.shape[0]),
    }


def _trained(arm: str, seed: int, setting: Setting) -> nn.Module:
    import torch

    from foveal.models.resolve import resolve
    from foveal.studies.experiments.support.digits import Training, train, training_subset

    images = training_subset(setting, IMAGES, 0)
    torch.manual_seed(seed)
    network = resolve(SKETCHES[arm]).build(images.pixels.shape[1:])
    train(network, images, Training(steps=STEPS), setting, seed=seed)
    return network.eval()


def logits_with_1x1(network: Any, images: Tensor) -> Tensor:  # noqa: ANN401
    """Logits when the first dense layer is replaced by a 1 × 1 convolution and the feature map is averaged.

    Such a convolution has one weight per channel, the same for every position. The closest to the trained weights
    is their mean over positions, times the number of positions.
    """
    from torch import nn

    layers = list(network)
    first = next(i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear))
    backbone = [layer for layer in layers[:first] if not isinstance(layer, nn.Flatten)]
    maps = nn.Sequential(*backbone)(images)
    channels, positions = maps.shape[1], maps.shape[2] * maps.shape[3]
    dense = layers[first]
    ones = dense.weight.view(len(dense.weight), channels, positions).mean(2) * positions
    vectors = maps.mean((2, 3)) @ ones.T + dense.bias
    logits: Tensor = nn.Sequential(*layers[first + 1 :])(vectors)
    return logits


def _scattered(images: Tensor, times: int, rng: Any) -> Tensor:  # noqa: ANN401
    """One image of `times` the side length, `(1, C, H, W)`, with digits at random positions."""
    size = images.shape[-1]
    large = images.min().expand(1, images.shape[1], times * size, times * size).clone()
    for number in rng.choice(len(images), min(len(images), 2 * times**2)):
        y, x = rng.integers(0, (times - 1) * size + 1, 2)
        place = large[0, :, y : y + size, x : x + size]
        place.copy_(place.maximum(images[number]))
    return large


def _error(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).abs().max() / expected.abs().max())


def _share(correct: Tensor) -> float:
    return float(correct.float().mean())


def sizes(setting: Setting) -> Mapping[str, Mapping[str, float]]:
    """Parameters and MACs of each classifier."""
    from foveal.models.resolve import resolve
    from foveal.studies.experiments.support.digits import cost_of, subsets

    shape = subsets(setting.data)[0].pixels.shape[1:]
    return {arm: cost_of(resolve(sketch).build(shape), setting) for arm, sketch in SKETCHES.items()}


def checks(results: Results) -> Sequence[Check]:
    """Equality of the outputs, which needs no statistics."""

    def worst(arm: str, measure: str) -> float:
        return float(results.of(arm, measure).max())

    same = max(worst(arm, "error") for arm in SKETCHES)
    unpadded = [arm for arm in SKETCHES if "padded" not in arm]
    windows = max(worst(arm, "error on windows") for arm in unpadded)
    padded = worst("flattened, padded", "error on windows")
    agreement = float(results.of("flattened, padded", "agreement").mean())
    return [
        Check(
            "equal", f"at the training size all outputs are as before, to {TOLERANCE:g} of the largest logit",
            same <= TOLERANCE, f"{same:.1e} at most",
        ),
        Check(
            "equal on windows",
            f"without padding, each position of a larger image has the output of its crop, to "
            f"{TOLERANCE_WINDOWS:g}",
            windows <= TOLERANCE_WINDOWS, f"{windows:.1e} at most",
        ),
        Check(
            "padded", "with padding, each position has the output of its crop", padded <= TOLERANCE_WINDOWS,
            f"differs by {padded:.2f} of the largest logit; {100 * agreement:.1f} % predict the same class",
            "finding",
        ),
    ]  # fmt: skip


_FASTER = tuple(
    Contrast(
        f"speed, {arm}", f"{arm}: one pass is faster than all crops",
        difference(arm, arm, "crops", than="pass"), 3.0,
        role="claim" if arm == "flattened" else "finding", ratio=True,
    )
    for arm in SKETCHES
)  # fmt: skip
_WRONG = Contrast(
    "1×1, flattened", "a 1 × 1 convolution for a dense layer on a flattened map loses accuracy",
    difference("flattened", "flattened", "dense", than="ones"), 0.1,
)  # fmt: skip
_RIGHT = Contrast(
    "1×1, averaged", "after global average pooling a 1 × 1 convolution is right",
    difference("averaged", "averaged", "ones", than="dense"), 0.001, "same", role="finding",
)  # fmt: skip
#: The notebook says so of every dense layer.
_NOTEBOOK = Contrast(
    "1×1 is the same", "with a 1 × 1 convolution for a dense layer on a flattened map the accuracy is the same",
    difference("flattened", "flattened", "ones", than="dense"), 0.005, "same", role="notebook",
)  # fmt: skip


def plot(results: Results, analysis: Mapping[str, Any]) -> Plot:
    """Accuracy as trained, converted, and with 1 × 1."""
    lost = {
        arm: format_number(float((results.of(arm, "dense") - results.of(arm, "ones")).mean()), "points").lstrip(
            "+"
        )
        for arm in ("flattened", "averaged")
    }
    conversions = {"dense": "as trained", "converted": "kernel as large as the map", "ones": "1 × 1"}
    series = tuple(
        Series(name, tuple(results.point(arm, arm, measure) for arm in SKETCHES))
        for measure, name in conversions.items()
    )
    title = (
        f"“1 × 1” costs {lost['flattened']} points on a flattened map, {lost['averaged']} after average pooling"
    )
    return Plot("dots", title, "accuracy on digits", "", series)


STUDY = Study(
    name="dense-to-conv",
    question="How does a classifier become a fully convolutional network?",
    claim=(
        "A dense layer becomes a convolution whose kernel has the size of its input map: the same outputs, many "
        "times faster than crops; with 1 × 1 they are wrong"
    ),
    arms=tuple(Arm(arm, description) for arm, description in DESCRIPTIONS.items()),
    measures=(
        Measure("dense", "accuracy as trained"),
        Measure("converted", "accuracy, converted"),
        Measure("ones", "accuracy with 1 × 1"),
        Measure("error", "difference at the training size, relative to the largest logit", ""),
        Measure("error on windows", "difference on windows of a larger image", ""),
        Measure("agreement", "windows with the same prediction"),
        Measure("pass", "one pass over the larger image", "s"),
        Measure("crops", "all its crops", "s"),
        Measure("predictions", "predictions on the larger image", "count"),
    ),
    contrasts=(_WRONG, *_FASTER, _RIGHT, _NOTEBOOK),
    sizes=sizes,
    checks=checks,
    run=run,
    plot=plot,
    notebook_claims=(NotebookClaim("A dense layer is replaced by a 1 × 1 convolution.", ("1×1 is the same",)),),
    seconds=11.0,
    min_seeds=5,
    data="sample:mnist",
    method=(
        f"Each network is trained for {STEPS} steps of 64 images. The larger image has {TIMES} times the side "
        "length, with digits at random positions; crops of all its windows are in memory and classified in "
        "batches of 256. For 1 × 1, the trained weights are averaged over all positions, and so is the feature "
        "map: the closest choice with one weight per channel. A network trained with 1 × 1 and average pooling "
        "is the arm “averaged”. It works as well, but is a different network, not a conversion."
    ),
)  # fmt: skip
