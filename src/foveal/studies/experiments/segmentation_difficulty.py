"""Why segmentation is hard for a classification network: the cost of a decoder's stride, mainly at boundaries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from foveal.studies.framework import (
    Arm,
    Contrast,
    Measure,
    NotebookClaim,
    Plot,
    Point,
    Results,
    Series,
    Setting,
    Study,
    difference,
    format_number,
)

#: Decoder → the finest stride of its logits, pixels.
STRIDES = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8, "unet": 4}
DIGITS, SIZE, TRAINED, TESTED, STEPS = (0, 1, 4, 7), 96, 240, 80, 110


def run(arm: str, seed: int, setting: Setting) -> Mapping[str, float]:
    """Train a decoder on Lite0 and evaluate it on test scenes that all arms and seeds share."""
    from foveal.models.backbones import find_backbone
    from foveal.studies.experiments.support.decoders import compare_decoders
    from foveal.training.recipes.segmentation import SegmentationRecipe

    recipe = SegmentationRecipe(arm, arm, class_crop_prob=0.0, min_zoom=0.8, max_zoom=1.25)
    result, *_ = compare_decoders(
        _scenes("train", seed, setting),
        _scenes("test", 0, setting),
        classes=len(DIGITS) + 1,
        backbone=find_backbone("lite0"),
        decoders=(arm,),
        seeds=(seed,),
        steps=setting.scaled(STEPS, 2),
        recipe=recipe,
    )
    return {"miou": result.miou, "boundary": result.boundary_f1, "seconds": result.seconds}


@lru_cache(maxsize=2)
def _scenes(subset: str, seed: int, setting: Setting) -> Any:  # noqa: ANN401
    import numpy as np

    from foveal.studies.experiments.support.digits import subsets
    from foveal.studies.experiments.support.scenes import scenes

    train, test = subsets(setting.data)
    source, count = (train, TRAINED) if subset == "train" else (test, TESTED)
    rng = np.random.default_rng([seed, subset == "train"])
    return scenes(source, setting.scaled(count, 4), size=SIZE, digits=DIGITS, rng=rng)


def sizes(setting: Setting) -> Mapping[str, Mapping[str, float]]:
    """Parameters and MACs for one scene."""
    from foveal.models.segmentation.network import segmenter
    from foveal.planner import plan

    costs = {}
    for arm in STRIDES:
        planned = plan(segmenter(arm, len(DIGITS) + 1), input=(3, SIZE, SIZE), batch=1, remedies=False)
        costs[arm] = {"parameters": float(planned.parameters), "macs": float(planned.macs)}
    return costs


def plot(results: Results, analysis: Mapping[str, Any]) -> Plot:
    """Both measures over the stride."""

    def curve(name: str, measure: str) -> Series:
        points = [results.point(stride, arm, measure) for arm, stride in STRIDES.items()]
        return Series(name, tuple(Point(p.x, p.mean, p.low, p.high, p.n) for p in reversed(points)))

    def gain(coarse: str, fine: str, measure: str) -> str:
        return format_number(float((results.of(fine, measure) - results.of(coarse, measure)).mean()), "points", 0)

    title = (
        f"From stride 32 to 8: {gain('fcn32s', 'fcn8s', 'boundary')} points of boundary F1, "
        f"{gain('fcn32s', 'fcn8s', 'miou')} of IoU; from 8 to 2: {gain('fcn8s', 'unet', 'boundary')} and "
        f"{gain('fcn8s', 'unet', 'miou')}"
    )
    return Plot(
        "lines", title, "finest stride of the decoder, pixels", "share",
        (curve("mean IoU", "miou"), curve("boundary F1", "boundary")), log_x=True,
    )  # fmt: skip


#: What six seeds can detect, given the spread in the first lab notebook; 0.03 before it.
_MIN_EFFECT = 0.07


def _finer(fine: str, coarse: str, measure: str, role: str) -> Contrast:
    what = {"miou": "mean IoU", "boundary": "boundary F1"}[measure]
    statement = f"stride {STRIDES[fine]} has a higher {what} than stride {STRIDES[coarse]}"
    return Contrast(
        f"{fine} over {coarse}, {measure}", statement, difference(fine, coarse, measure), _MIN_EFFECT, role=role
    )


STUDY = Study(
    name="segmentation-difficulty",
    question="What makes segmentation hard for a network made to classify?",
    claim="The finer the stride of a decoder’s logits, the closer its boundaries are to the true ones",
    arms=(
        Arm("fcn32s", "logits from the last feature map, upsampled 32 times (Long et al. 2015)"),
        Arm("fcn16s", "adds logits from the feature map at stride 16"),
        Arm("fcn8s", "adds logits from the feature map at stride 8"),
        Arm("unet", "a decoder with skip connections from all strides down to 4 (Ronneberger et al. 2015)"),
    ),
    measures=(
        Measure("miou", "mean IoU"),
        Measure("boundary", "boundary F1"),
        Measure("seconds", "training time", "s"),
    ),
    contrasts=(
        _finer("fcn16s", "fcn32s", "boundary", "claim"),
        _finer("fcn8s", "fcn16s", "boundary", "claim"),
        _finer("unet", "fcn8s", "boundary", "claim"),
        _finer("fcn8s", "fcn32s", "boundary", "notebook"),
        _finer("fcn16s", "fcn32s", "miou", "finding"),
        _finer("fcn8s", "fcn16s", "miou", "finding"),
        _finer("unet", "fcn8s", "miou", "finding"),
    ),
    sizes=sizes,
    run=run,
    plot=plot,
    notebook_claims=(
        NotebookClaim("Strides and pooling discard the position of things.", ("fcn8s over fcn32s, boundary",)),
    ),
    seconds=46.0,
    min_seeds=4,
    data="sample:mnist",
    method=(
        f"{TRAINED} scenes of {SIZE} × {SIZE} pixels with two to four digits ({', '.join(map(str, DIGITS))}) of "
        f"28 to 48 pixels on a noisy background, different for each seed; {TESTED} scenes of MNIST’s test digits "
        "are the test set, the same for all. Encoders start from Lite0’s ImageNet weights, and all networks are "
        f"trained for {STEPS} steps of 8 scenes with one recipe, in the same order. Arms differ in parameters "
        "and MACs, as decoders do: see the table. A boundary pixel counts as found when it lies within one pixel "
        "of the true boundary. Strokes are three to six pixels wide; the stride matters less for large objects."
    ),
)
