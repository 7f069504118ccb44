"""foveal compared with fastai and with an equivalent script: same weights, same images, whole fresh processes.

    uv run --group bench python bench/transfer.py scenes8 --data ../shared/data/scenes8
    uv run --group bench python bench/transfer.py clipart10 --data openclipart/png

DATA is a folder with one folder per class; 100 images per class are used for training, the rest (at most 30 per
class) for testing. Runs of all contestants take turns. Rows are kept in `bench/results/`, so that it continues where it
stopped; `--runs` is per contestant. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import Results, pooled, spread, timed

#: Classes of the clip art benchmark: folders of Debian's `openclipart-png`.
CLIPART = (
    "animals",
    "computer",
    "food",
    "geography",
    "office",
    "people",
    "recreation",
    "signs_and_symbols",
    "tools",
    "transportation",
)
TRAIN, TEST = 100, 30
PEERS = Path(__file__).parent / "peers"
_TRAIN = [sys.executable, "-m", "foveal", "train", "{root}", "--out", "{out}", "--json"]
#: The first strategy alone corresponds to what the other programs do; the other rows are the ladder with these budgets.
#: The names are keys of the result files.
OWN = "foveal, first rung"
CONTESTANTS = {
    OWN: [*_TRAIN, "--strategy", "frozen"],
    "foveal --time 20s": [*_TRAIN, "--time", "20s"],
    "foveal --time 90s": [*_TRAIN, "--time", "90s"],
    "foveal --time 150s": [*_TRAIN, "--time", "150s"],
    "foveal --time 5m": [*_TRAIN, "--time", "5m"],
    "fastai": [sys.executable, str(PEERS / "fastai_fine_tune.py"), "{root}"],
    "fastai-channels-last": [sys.executable, str(PEERS / "fastai_fine_tune.py"), "{root}", "--channels-last"],
    "timm-frozen": [sys.executable, str(PEERS / "timm_frozen.py"), "{root}"],
}


def arrange(data: Path, name: str, split: int, target: Path) -> Path:
    """Make train/ and test/ with links to the images of one random split."""
    subjects = CLIPART if name == "clipart10" else sorted(p.name for p in data.iterdir() if p.is_dir())
    for subject in subjects:
        pattern = "**/*.png" if name == "clipart10" else "*"
        # Posters of over 40 MB when decoded make the other programs fail, which have no limit.
        files = sorted(f for f in (data / subject).glob(pattern) if f.is_file() and f.stat().st_size < 1_000_000)
        random.Random(f"{split}-{subject}").shuffle(files)
        for subset, some in (("train", files[:TRAIN]), ("test", files[TRAIN : TRAIN + TEST])):
            folder = target / subset / subject
            folder.mkdir(parents=True)
            for i, file in enumerate(some):
                (folder / f"{i:03d}-{file.name}").symlink_to(file.resolve())
    return target


def run(contestant: str, name: str, data: Path, split: int, *, warm: bool = False) -> dict[str, Any]:
    """One process; foveal with an empty feature cache, or with a filled one for its second run."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        root = arrange(data, name, split, base / "pictures")
        environment = {**os.environ, "FOVEAL_CACHE": str(base / "cache"), "FOVEAL_STATE": str(base / "state")}
        for turn in range(2 if warm else 1):
            command = [part.format(root=root, out=base / f"run{turn}") for part in CONTESTANTS[contestant]]
            seconds, printed = timed(command, env=environment)
    printed_json = json.loads(printed[printed.index("{") :])
    figures = printed_json.get("test", printed_json)
    return {
        "contestant": f"{contestant} (second run)" if warm else contestant,
        "split": split,
        "seconds": seconds,
        "accuracy": figures["accuracy"],
        "n": figures["n"],
        "stages": printed_json.get("time"),
    }


def summary(results: Results) -> dict[str, Any]:
    """Seconds, accuracy and the ratio to foveal's seconds, for each contestant."""
    names = dict.fromkeys(r["contestant"] for r in results.rows)
    table = {
        c: {"seconds": spread(r["seconds"] for r in results.of(contestant=c)), **pooled(results.of(contestant=c))}
        for c in names
    }
    own = table.get(OWN)
    if own:
        for entry in table.values():
            entry["seconds_over_foveal"] = entry["seconds"]["mean"] / own["seconds"]["mean"]
    return table


def main() -> None:
    """Take turns until every contestant has its runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=["scenes8", "clipart10"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--splits", type=int, default=5, help="splits over which the accuracy of foveal's first strategy is pooled"
    )
    parser.add_argument("--only", nargs="*", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    arguments = parser.parse_args()
    results = Results(f"transfer-{arguments.name}")
    for turn in range(max(arguments.runs, arguments.splits)):
        for contestant in arguments.only:
            wanted = max(arguments.runs, arguments.splits) if contestant == OWN else arguments.runs
            if turn < wanted and not results.of(contestant=contestant, split=turn):
                results.add(**run(contestant, arguments.name, arguments.data, turn))
    if OWN in arguments.only:
        for split in range(arguments.runs):
            if not results.of(contestant=f"{OWN} (second run)", split=split):
                results.add(**run(OWN, arguments.name, arguments.data, split, warm=True))
    results.save(summary=summary(results))
    print(json.dumps(summary(results), indent=1))


if __name__ == "__main__":
    main()
