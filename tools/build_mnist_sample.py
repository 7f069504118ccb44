"""Rebuild `src/foveal/samples/mnist.tar.xz` from the four published IDX files.

    python tools/build_mnist_sample.py FOLDER

Lossless: the archive holds the four files, unzipped. Images of pen strokes on black compress best
if LZMA's context is whole bytes and not their position in a word (`lc=4, lp=0, pb=0`).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import sys
import tarfile
from pathlib import Path

TARGET = Path(__file__).parents[1] / "src" / "foveal" / "samples" / "mnist.tar.xz"
#: SHA-256 of the files as published, unzipped.
FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
FILTER = {
    "id": lzma.FILTER_LZMA2,
    "preset": 9 | lzma.PRESET_EXTREME,
    "dict_size": 64 << 20,
    "lc": 4,
    "lp": 0,
    "pb": 0,
    "nice_len": 273,
}


def main() -> None:
    """Read, check, pack."""
    source = Path(sys.argv[1])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, expected in FILES.items():
            content = gzip.decompress((source / f"{name}.gz").read_bytes())
            digest = hashlib.sha256(content).hexdigest()
            if digest != expected:
                raise SystemExit(f"{name}: SHA-256 {digest}, not {expected}")
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    TARGET.write_bytes(lzma.compress(packed.getvalue(), format=lzma.FORMAT_XZ, filters=[FILTER]))
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
