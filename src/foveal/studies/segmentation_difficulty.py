"""Why segmenting is hard for a classifier's network: what a decoder's stride costs, above all at boundaries."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from foveal.studies.frame import Arm, Contrast, Measure, Plot, Point, Said, Series, Setting, Study, difference
from foveal.studies.plot.canvas import figure

if TYPE_CHECKING:
    from foveal.studies.analysis import Results

#: Decoder → the finest stride that it scores at, pixels.
STRIDES = {"fcn32s": 32, "fcn16s": 16, "fcn8s": 8, "unet": 4}
DIGITS, SIDE, LEARNED, TESTED, STEPS = (0, 1, 4, 7), 96, 240, 80, 110


def run(arm: str, seed: int, setting: Setting) -> Mapping[str, float]:
    """Train a decoder on Lite0 and count its answers on scenes that all arms and seeds share."""
    from foveal.fit.segmenting import compare_decoders
    from foveal.fit.segmentings import Segmenting
    from foveal.models.backbones import find_backbone

    learning, held_out = _drawn("train", seed, setting), _drawn("test", 0, setting)
    how = Segmenting(arm, arm, around=0.0, smallest=0.8, largest=1.25)
    row, *_ = compare_decoders(
        learning,
        held_out,
        classes=len(DIGITS) + 1,
        backbone=find_backbone("lite0"),
        decoders=(arm,),
        seeds=(seed,),
        steps=setting.scaled(STEPS, 2),
        how=how,
    )
    return {"miou": row.miou, "boundary": row.boundary_f1, "seconds": row.seconds}


@lru_cache(maxsize=2)
def _drawn(which: str, seed: int, setting: Setting) -> Any:  # noqa: ANN401
    import numpy as np

    from foveal.studies.digits import sides
    from foveal.studies.scenes import scenes

    train, test = sides(setting.data)
    side, count = (train, LEARNED) if which == "train" else (test, TESTED)
    chance = np.random.default_rng([seed, which == "train"])
    return scenes(side, setting.scaled(count, 4), pixels=SIDE, digits=DIGITS, chance=chance)


def sizes(setting: Setting) -> Mapping[str, Mapping[str, float]]:
    """Parameters and MACs for one scene."""
    from foveal.models.segmentation.network import segmenter
    from foveal.planner import plan

    found = {}
    for arm in STRIDES:
        planned = plan(segmenter(arm, len(DIGITS) + 1), input=(3, SIDE, SIDE), batch=1, remedies=False)
        found[arm] = {"parameters": float(planned.parameters), "macs": float(planned.macs)}
    return found


def plot(results: Results, found: Mapping[str, Any]) -> Plot:
    """Both measures over the stride."""

    def curve(name: str, measure: str) -> Series:
        at = [results.point(stride, arm, measure) for arm, stride in STRIDES.items()]
        return Series(name, tuple(Point(p.x, p.mean, p.low, p.high, p.n) for p in reversed(at)))

    def gain(coarse: str, fine: str, measure: str) -> str:
        return figure(float((results.of(fine, measure) - results.of(coarse, measure)).mean()), "points", 0)

    title = (
        f"From stride 32 to 8: {gain('fcn32s', 'fcn8s', 'boundary')} points of boundary F1, "
        f"{gain('fcn32s', 'fcn8s', 'miou')} of IoU; from 8 to 2: {gain('fcn8s', 'unet', 'boundary')} and "
        f"{gain('fcn8s', 'unet', 'miou')}"
    )
    return Plot(
        "lines", title, "finest stride of the decoder, pixels", "share",
        (curve("mean IoU", "miou"), curve("boundary F1", "boundary")), log_x=True,
    )  # fmt: skip


#: What six seeds see by the spread of the first lab notebook; 0.03 before it.
_LEAST = 0.07


def _finer(fine: str, coarse: str, measure: str, role: str) -> Contrast:
    what = {"miou": "mean IoU", "boundary": "boundary F1"}[measure]
    words = f"stride {STRIDES[fine]} has a higher {what} than stride {STRIDES[coarse]}"
    return Contrast(
        f"{fine} over {coarse}, {measure}", words, difference(fine, coarse, measure), _LEAST, role=role
    )


STUDY = Study(
    name="segmentation-difficulty",
    question="What makes segmentation hard for a network made to classify?",
    claim="The finer the stride at which a decoder scores, the nearer its boundaries are to the true ones",
    arms=(
        Arm("fcn32s", "scores on the last map, enlarged 32 times (Long et al. 2015)"),
        Arm("fcn16s", "adds scores of the map at stride 16"),
        Arm("fcn8s", "adds scores of the map at stride 8"),
        Arm("unet", "a decoder that takes in the maps of all strides down to 4 (Ronneberger et al. 2015)"),
    ),
    measures=(
        Measure("miou", "mean IoU"),
        Measure("boundary", "boundary F1"),
        Measure("seconds", "time to train", "s"),
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
    said=(Said("Strides and pooling throw away where things are.", ("fcn8s over fcn32s, boundary",)),),
    seconds=46.0,
    fewest=4,
    data="sample:mnist",
    method=(
        f"{LEARNED} scenes of {SIDE} × {SIDE} pixels with two to four digits ({', '.join(map(str, DIGITS))}) of "
        f"28 to 48 pixels on an uneven ground, drawn anew for each seed; {TESTED} others, of MNIST’s test "
        "digits, are asked about, the same for all. Encoders begin with Lite0’s ImageNet weights, all learn "
        f"for {STEPS} steps of 8 scenes by one recipe, in the same order. Arms differ in parameters and MACs, "
        "as decoders do: see the table. A boundary is found when it lies within one pixel of the true one. "
        "Strokes are three to six pixels wide: on large things the stride matters less."
    ),
)
