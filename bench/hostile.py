"""All of Pillow's own test images, including damaged files and decompression bombs, as two classes.

    pip download --no-deps --no-binary :all: pillow==12.0.0 && tar xf pillow-12.0.0.tar.gz
    uv run python bench/hostile.py --images pillow-12.0.0/Tests/images

`train` must finish normally, and every file must be used or listed with a reason.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import tempfile
from pathlib import Path

from common import Results, timed


def main() -> None:
    """Arrange, train, account for every file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    arguments = parser.parse_args()
    results = Results("hostile")
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        files = sorted(f for f in arguments.images.rglob("*") if f.is_file())
        for i, file in enumerate(files):
            target = base / "pictures" / "ab"[i % 2] / str(file.relative_to(arguments.images)).replace("/", "_")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
        command = ["train", str(base / "pictures"), "--out", str(base / "run"), "--json", "--no-cache"]
        command += ["--time", "2m"]
        seconds, printed = timed([sys.executable, "-m", "foveal", *command])
        with (base / "run" / "split.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as handle:
            rows = list(csv.DictReader(handle))
    named = {row["path"] for row in rows}
    unnamed = [r for r in rows if not r["split"] and not r["note"]]
    rss = json.loads(printed)["memory"]["peak_rss_bytes"]
    used = sum(bool(r["split"]) for r in rows)
    results.add(
        files=len(files), named=len(named), used=used, unnamed=len(unnamed), seconds=seconds, peak_rss_bytes=rss
    )
    if len(named) != len(files) or unnamed:
        raise SystemExit(f"{len(files)} files, {len(named)} accounted for, {len(unnamed)} without a reason")
    words = f"{used} of {len(files)} used, every other listed with its reason; peak memory {rss / 2**30:.2f} GiB"
    results.save(lines={"Pillow's own test images, trained on": words})


if __name__ == "__main__":
    main()
