"""Dense layers that become convolutions: the same answers, at every place, and where "1 × 1" is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from foveal.studies.frame import (
    Arm,
    Check,
    Contrast,
    Measure,
    Plot,
    Said,
    Series,
    Setting,
    Study,
    difference,
)
from foveal.studies.plot.canvas import figure

if TYPE_CHECKING:
    from torch import Tensor, nn

    from foveal.studies.analysis import Results

#: Arm → its sketch, for digits of 28 × 28.
SKETCHES = {
    "flattened": "conv8k5valid-relu-pool2-conv16k5valid-relu-pool2-flatten-dense64-relu-dense10",
    "flattened, padded": "conv8k5-relu-pool2-conv16k5-relu-pool2-flatten-dense64-relu-dense10",
    "averaged": "conv8k5valid-relu-pool2-conv32k5valid-relu-pool2-conv32k3valid-relu-gap-dense10",
}
WORDS = {
    "flattened": "no padding; the dense layer sees the flattened map",
    "flattened, padded": "as that, with padded convolutions",
    "averaged": "no padding; an average over all places, and then the dense layer",
}
PICTURES, STEPS, TESTED, TIMES = 20_000, 400, 4_000, 10
#: At the training size, and on every window of a larger picture, as a share of the largest logit.
EXACT, EXACT_WINDOWS = 1e-5, 1e-4


def run(arm: str, seed: int, setting: Setting) -> Mapping[str, float]:
    """Train a classifier, make it fully convolutional, and ask both the same."""
    import numpy as np
    import torch

    from foveal.models.fully_convolutional import convert
    from foveal.studies.digits import scale_of, test_side
    from foveal.studies.profiling import in_pieces, seconds_of

    network = _trained(arm, seed, setting)
    tested = test_side(setting).drawn(TESTED, 0)
    scale = scale_of(tested)
    pictures = torch.from_numpy(tested.pixels).float().sub(scale.mean[0]).div(scale.std[0])
    side = pictures.shape[-1]
    wide = _scattered(pictures, TIMES if setting.share >= 1 else 3, np.random.default_rng(seed))
    with torch.no_grad():
        converted = convert(network, size=side, channels=pictures.shape[1])
        expected, told = network(pictures), converted(pictures)[:, :, 0, 0]
        whole = converted(wide)
        windows = wide.unfold(2, side, converted.stride).unfold(3, side, converted.stride)
        crops = windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, *pictures.shape[1:])
        single = torch.cat([network(part) for part in in_pieces(crops, 256)])
        map_of_crops = single.view(1, *whole.shape[2:], -1).permute(0, 3, 1, 2)
        ones = _by_ones(network, pictures)
        repeats = 3 if setting.share >= 1 else 1
        taken = seconds_of(lambda: converted(wide), repeats)
        cutting = seconds_of(lambda: [network(part) for part in in_pieces(crops, 256)], repeats)
    labels = torch.from_numpy(tested.labels)
    return {
        "dense": _share(expected.argmax(1) == labels),
        "converted": _share(told.argmax(1) == labels),
        "ones": _share(ones.argmax(1) == labels),
        "error": _error(told, expected),
        "error on windows": _error(whole, map_of_crops),
        "agreement": _share(whole.argmax(1) == map_of_crops.argmax(1)),
        "pass": taken,
        "crops": cutting,
        "answers": float(single.shape[0]),
    }


def _trained(arm: str, seed: int, setting: Setting) -> nn.Module:
    import torch

    from foveal.models.resolve import resolve
    from foveal.studies.digits import Lesson, learn, training_side

    side = training_side(setting, PICTURES, 0)
    torch.manual_seed(seed)
    network = resolve(SKETCHES[arm]).build(side.pixels.shape[1:])
    learn(network, side, Lesson(steps=STEPS), setting, seed=seed)
    return network.eval()


def _by_ones(network: Any, pictures: Tensor) -> Tensor:  # noqa: ANN401
    """What the network says when its first dense layer becomes a 1 × 1 convolution, and the map is averaged.

    Such a convolution has one weight for a channel, whatever the place: the mean of those that were learned is the
    nearest to them all, times as many places as they had.
    """
    from torch import nn

    layers = list(network)
    first = next(i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear))
    trunk = [layer for layer in layers[:first] if not isinstance(layer, nn.Flatten)]
    maps = nn.Sequential(*trunk)(pictures)
    channels, places = maps.shape[1], maps.shape[2] * maps.shape[3]
    dense = layers[first]
    ones = dense.weight.view(len(dense.weight), channels, places).mean(2) * places
    vectors = maps.mean((2, 3)) @ ones.T + dense.bias
    said: Tensor = nn.Sequential(*layers[first + 1 :])(vectors)
    return said


def _scattered(pictures: Tensor, times: int, chance: Any) -> Tensor:  # noqa: ANN401
    """One picture of `times` the side, `(1, C, H, W)`, with digits wherever they fell."""
    side = pictures.shape[-1]
    wide = pictures.min().expand(1, pictures.shape[1], times * side, times * side).clone()
    for number in chance.choice(len(pictures), min(len(pictures), 2 * times**2)):
        y, x = chance.integers(0, (times - 1) * side + 1, 2)
        place = wide[0, :, y : y + side, x : x + side]
        place.copy_(place.maximum(pictures[number]))
    return wide


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def _share(right: Tensor) -> float:
    return float(right.float().mean())


def sizes(setting: Setting) -> Mapping[str, Mapping[str, float]]:
    """Parameters and MACs of each classifier."""
    from foveal.models.resolve import resolve
    from foveal.studies.digits import sides, size_of

    shape = sides(setting.data)[0].pixels.shape[1:]
    return {arm: size_of(resolve(sketch).build(shape), setting) for arm, sketch in SKETCHES.items()}


def checks(results: Results) -> Sequence[Check]:
    """The equality, which is no matter of statistics."""

    def worst(arm: str, measure: str) -> float:
        return float(results.of(arm, measure).max())

    same = max(worst(arm, "error") for arm in SKETCHES)
    bare = [arm for arm in SKETCHES if "padded" not in arm]
    windows = max(worst(arm, "error on windows") for arm in bare)
    padded = worst("flattened, padded", "error on windows")
    agreed = float(results.of("flattened, padded", "agreement").mean())
    return [
        Check(
            "equal", f"at the training size all answer as before, to {EXACT:g} of the largest logit",
            same <= EXACT, f"{same:.1e} at most",
        ),
        Check(
            "equal on windows",
            f"without padding, each place of a larger picture answers as its crop, to {EXACT_WINDOWS:g}",
            windows <= EXACT_WINDOWS, f"{windows:.1e} at most",
        ),
        Check(
            "padded", "with padding, a place answers as its crop", padded <= EXACT_WINDOWS,
            f"off by {padded:.2f} of the largest logit; {100 * agreed:.1f} % name the same class", "finding",
        ),
    ]  # fmt: skip


_FASTER = tuple(
    Contrast(
        f"speed, {arm}", f"{arm}: one pass is faster than crops", difference(arm, arm, "crops", than="pass"), 3.0,
        role="claim" if arm == "flattened" else "finding", ratio=True,
    )
    for arm in SKETCHES
)  # fmt: skip
_WRONG = Contrast(
    "1×1, flattened", "a 1 × 1 convolution for a dense layer on a flattened map loses accuracy",
    difference("flattened", "flattened", "dense", than="ones"), 0.1,
)  # fmt: skip
_RIGHT = Contrast(
    "1×1, averaged", "after an average over all places a 1 × 1 convolution is right",
    difference("averaged", "averaged", "ones", than="dense"), 0.001, "same", role="finding",
)  # fmt: skip
#: As the notebook has it: true for every dense layer.
_NOTEBOOK = Contrast(
    "1×1 is the same", "a 1 × 1 convolution for a dense layer on a flattened map answers as before",
    difference("flattened", "flattened", "ones", than="dense"), 0.005, "same", role="notebook",
)  # fmt: skip


def plot(results: Results, found: Mapping[str, Any]) -> Plot:
    """Accuracy as it was, converted, and with 1 × 1."""
    lost = {
        arm: figure(float((results.of(arm, "dense") - results.of(arm, "ones")).mean()), "points").lstrip("+")
        for arm in ("flattened", "averaged")
    }
    ways = {"dense": "as trained", "converted": "kernel as large as the map", "ones": "1 × 1"}
    series = tuple(
        Series(words, tuple(results.point(arm, arm, measure) for arm in SKETCHES))
        for measure, words in ways.items()
    )
    title = f"“1 × 1” costs {lost['flattened']} points on a flattened map, {lost['averaged']} after an average"
    return Plot("dots", title, "accuracy on digits", "", series)


STUDY = Study(
    name="dense-to-conv",
    question="How does a classifier become a fully convolutional network?",
    claim=(
        "A dense layer becomes a convolution with the kernel of the map that it saw: the same answers, many times "
        "faster than crops; with 1 × 1 they are wrong"
    ),
    arms=tuple(Arm(arm, words) for arm, words in WORDS.items()),
    measures=(
        Measure("dense", "accuracy as trained"),
        Measure("converted", "accuracy, converted"),
        Measure("ones", "accuracy with 1 × 1"),
        Measure("error", "difference at the training size, of the largest logit", ""),
        Measure("error on windows", "difference on windows of a larger picture", ""),
        Measure("agreement", "windows with the same answer"),
        Measure("pass", "one pass over the larger picture", "s"),
        Measure("crops", "all its crops", "s"),
        Measure("answers", "answers on the larger picture", "count"),
    ),
    contrasts=(_WRONG, *_FASTER, _RIGHT, _NOTEBOOK),
    sizes=sizes,
    checks=checks,
    run=run,
    plot=plot,
    said=(Said("A dense layer is replaced by a 1 × 1 convolution.", ("1×1 is the same",)),),
    seconds=11.0,
    fewest=5,
    data="sample:mnist",
    method=(
        f"Each network learns for {STEPS} steps of 64 pictures. The larger picture has {TIMES} times the side, "
        "with digits wherever they fell; crops of all its windows are ready in memory and go through the "
        "classifier 256 at a time. For 1 × 1 the learned weights of all places are averaged and the map too: "
        "of the ways to keep one weight for a channel the nearest. A network that is trained anew with 1 × 1 "
        "and an average is the arm “averaged”, which works as well: another network, not the same one "
        "converted."
    ),
)  # fmt: skip
