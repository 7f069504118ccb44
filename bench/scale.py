"""Many small files: 60,000 PNGs of MNIST, read, audited and split; files per second and peak memory.

uv run python bench/scale.py --mnist ../shared/data/mnist
"""

from __future__ import annotations

import argparse
import gzip
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from common import Results, timed

CHILD = """
import sys, time
from foveal.data.audit import audit
from foveal.data.split.assign import make_split
from foveal.machine import peak_rss
began = time.monotonic()
dataset = audit(sys.argv[1])
read = time.monotonic() - began
split = make_split(dataset.records, dataset.near, dataset.excluded, target=dataset.listing.target)
total, test = time.monotonic() - began, len(split.subset("test"))
print(len(dataset.records), read, total, peak_rss(), len(dataset.near), test, "torch" in sys.modules)
"""


def unpack(source: Path, target: Path) -> int:
    """The training images as PNG files in ten class folders."""
    pixels = np.frombuffer(
        gzip.decompress((source / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
    )
    labels = np.frombuffer(
        gzip.decompress((source / "train-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
    )
    for i, (image, label) in enumerate(zip(pixels.reshape(-1, 28, 28), labels, strict=True)):
        folder = target / str(label)
        folder.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f"{i:05d}.png")
    return len(labels)


def main() -> None:
    """Write the files, then read them in a fresh process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True)
    arguments = parser.parse_args()
    results = Results("scale")
    with tempfile.TemporaryDirectory() as folder:
        unpack(arguments.mnist, Path(folder))
        _, printed = timed([sys.executable, "-c", CHILD, folder])
    read, audit_s, total_s, rss, near, test, torch = printed.split()
    results.add(
        files=int(read),
        audit_s=float(audit_s),
        split_s=float(total_s) - float(audit_s),
        peak_rss_bytes=int(rss),
        near_pairs=int(near),
        test=int(test),
        torch=torch == "True",
    )
    row = results.rows[-1]
    what, rate = f"{row['files']:,} small PNG files", row["files"] / row["audit_s"]
    memory = f"{row['peak_rss_bytes'] / 2**30:.2f} GiB"
    results.save(lines={f"{what}: audit": f"{rate:.0f} files/s", f"{what}: audit and split, peak memory": memory})


if __name__ == "__main__":
    main()
