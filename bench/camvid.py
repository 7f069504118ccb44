"""Street scenes: what segmentation reaches in half an hour on two cores, and what a finer stride gains.

    uv run python bench/camvid.py FOLDER --time 30m                     hold 0006R0 out, and evaluate on it
    uv run python bench/camvid.py FOLDER --time 30m --held-out later    the later part of the other two drives
    uv run python bench/camvid.py FOLDER --study --seeds 3   FCN-32s, -16s, -8s and U-Net, the same steps each

FOLDER has `train/` and `val/` with `images/` and `masks/` in them: CamVid in 11 classes (Brostow et al. 2008;
Badrinarayanan et al. 2017), 11 = void (ignored). The published `val` is seven seconds from the middle of a training
video, and says little. Held out instead is either `place`: the sequence 0006R0, 101 frames, a petrol station and a
supermarket car park, the only one of its kind; or `later`: half of the frames of 0001TP and the last 85 of 0016E5. The
proportions are about those of the published test set, which continues the first drive (62 frames) and has another one
through streets (171). Neighbouring frames are near-copies: those between training and test are excluded, and intervals
are bootstrapped over blocks. The study runs at half of the size and is paired: all networks are trained on the same
crops and evaluated on the same frames.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common import Results, spread, timed
from foveal.metrics.segmentation import VOID, block_bootstrap, mean_boundary_f1, miou

CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree"),
    *("sign", "fence", "car", "pedestrian", "cyclist", "void"),
)
PLACE = "0006R0"
#: Of each drive, how many of its last frames are held out as `later`, and how many before them are excluded.
LATER = {"0001TP": 31, "0016E5": 85}
BETWEEN = 3
#: Frames in a block of the bootstrap.
BLOCK = 10
DECODERS = ("fcn32s", "fcn16s", "fcn8s", "unet")


def frames(folder: Path) -> list[tuple[Path, Path]]:
    """Images and their masks, in the order of their names."""
    pairs = []
    for subset in ("train", "val"):
        for image in sorted((folder / subset / "images").iterdir()):
            pairs.append((image, folder / subset / "masks" / f"{image.stem}.png"))
    return sorted(pairs, key=lambda pair: pair[0].name)


def is_held_out(image: Path) -> bool:
    """Whether it shows the place that is not trained on."""
    return image.name.startswith(PLACE)


def assigned(folder: Path, held_out: str) -> list[tuple[Path, Path, str]]:
    """Images, masks, and `test` or an empty string; frames between training and test are excluded."""
    if held_out == "place":
        return [(*pair, "test" if is_held_out(pair[0]) else "") for pair in frames(folder)]
    rows = [(*pair, "") for pair in frames(folder) if pair[0].name[:6] not in LATER]
    for drive, count in LATER.items():
        # `val` is a clip of seven seconds out of the frames that are held out.
        own = [p for p in frames(folder) if p[0].name.startswith(drive) and p[0].parent.parent.name != "val"]
        rows += [(*pair, "") for pair in own[: -count - BETWEEN]]
        rows += [(*pair, "test") for pair in own[-count:]]
    return rows


def table(folder: Path, held_out: str, into: Path) -> Path:
    """DATA for `foveal train`: a CSV, and a list of the classes in the same folder."""
    (into / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    with (into / "camvid.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "mask", "split"])
        for image, mask, subset in assigned(folder, held_out):
            writer.writerow([image.resolve(), mask.resolve(), subset])
    return into / "camvid.csv"


def whole(folder: Path, held_out: str, time: str, seed: int, out: Path) -> dict[str, Any]:
    """One run of the command line."""
    with tempfile.TemporaryDirectory() as scratch:
        data = table(folder, held_out, Path(scratch))
        command = [sys.executable, "-m", "foveal", "train", str(data), "--task", "segment", "--time", time]
        seconds, printed = timed(
            [*command, "--seed", str(seed), "--out", str(out), "--json"], env=dict(os.environ)
        )
    summary = json.loads(printed)
    test = summary["test"]
    return {
        "time": time,
        "seed": seed,
        "seconds": seconds,
        "strategy": summary["strategy"]["name"],
        **{k: test[k] for k in ("n", "miou", "miou_ci95", "pixel_accuracy", "boundary_f1")},
    }


def halves(pairs: Sequence[tuple[Path, Path]]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images `(N, 3, H, W)` and masks `(N, H, W)` at half of their size."""
    pixels, masks = [], []
    for image, mask in pairs:
        with Image.open(image) as opened:
            pixels.append(np.asarray(opened.convert("RGB").reduce(2)).transpose(2, 0, 1))
        with Image.open(mask) as opened:
            numbers = np.array(opened)[::2, ::2]
        numbers[numbers == len(CLASSES) - 1] = VOID
        masks.append(numbers)
    return np.stack(pixels), np.stack(masks)


def by_block(counts: NDArray[np.int64]) -> list[Any]:
    """Counts of each frame, `(N, …)`, summed over blocks of neighbours."""
    sums: list[Any] = np.add.reduceat(counts, np.arange(0, len(counts), BLOCK)).tolist()
    return sums


def study(folder: Path, seeds: int, steps: int, results: Results) -> None:
    """Rows of one seed after the other; rows that exist are not computed again."""
    from foveal.models.backbones import find_backbone
    from foveal.studies.experiments.support.decoders import DecoderResult, compare_decoders

    pairs = frames(folder)
    training = halves([p for p in pairs if not is_held_out(p[0])])
    held_out = halves([p for p in pairs if is_held_out(p[0])])

    def keep(result: DecoderResult) -> None:
        results.add(
            decoder=result.decoder, seed=result.seed, steps=result.steps, seconds=result.seconds, miou=result.miou,
            boundary_f1=result.boundary_f1, counts=by_block(result.counts), boundaries=by_block(result.boundaries),
        )  # fmt: skip

    for seed in range(seeds):
        missing = [d for d in DECODERS if not results.of(decoder=d, seed=seed, steps=steps)]
        compare_decoders(
            training, held_out, classes=len(CLASSES) - 1, backbone=find_backbone(), decoders=missing,
            seeds=(seed,), steps=steps, mirror=True, on_result=keep,
        )  # fmt: skip


def compared(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each decoder over its seeds, and compared with the one before it, by blocks of frames that both predicted."""
    table: dict[str, Any] = {}
    for i, decoder in enumerate(DECODERS):
        own = [r for r in rows if r["decoder"] == decoder]
        table[decoder] = {k: spread(r[k] for r in own) for k in ("miou", "boundary_f1", "seconds")}
        if i == 0:
            continue
        before = [r for r in rows if r["decoder"] == DECODERS[i - 1]]
        for name, key, figure in (("miou", "counts", miou), ("boundary_f1", "boundaries", mean_boundary_f1)):
            # The counts of a block, summed over seeds: `(N, 2, …)`, of the new network and of the old one.
            both = np.stack([_added(own, key), _added(before, key)], axis=1)

            def gain(counts: NDArray[np.int64], figure: Any = figure) -> float:
                return float(figure(counts[0]) - figure(counts[1]))

            table[decoder][f"{name}_over_{DECODERS[i - 1]}"] = {
                "points": gain(both.sum(axis=0)), "ci95": block_bootstrap(both, np.arange(len(both)), gain)
            }  # fmt: skip
    return table


def _added(rows: Sequence[dict[str, Any]], key: str) -> NDArray[np.int64]:
    total: NDArray[np.int64] = np.sum([np.array(r[key], dtype=np.int64) for r in rows], axis=0)
    return total


def main() -> None:
    """Whole runs, or the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--time", default="30m")
    parser.add_argument("--held-out", choices=("place", "later"), default="place")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--study", action="store_true")
    parser.add_argument("--steps", type=int, default=300, help="steps of each network of the study")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    given = parser.parse_args()
    if given.study:
        results = Results("camvid-strides")
        study(given.folder, given.seeds, given.steps, results)
        rows = [r for r in results.of(steps=given.steps) if r["seed"] < given.seeds]
        results.save(compared=compared(rows))
        print(json.dumps(compared(rows), indent=1))
        return
    name = "camvid" if given.held_out == "place" else "camvid-later"
    results = Results(name)
    for seed in range(given.seeds):
        if not results.of(time=given.time, seed=seed):
            out = given.out / f"{name}-{given.time}-{seed}"
            results.add(**whole(given.folder, given.held_out, given.time, seed, out))
    print(json.dumps(results.of(time=given.time), indent=1))


if __name__ == "__main__":
    main()
