"""Rebuild `sample:clipart` from Debian's package `openclipart-png` (public domain).

    apt-get download openclipart-png
    uv run python tools/build_clipart_sample.py openclipart-png_*.deb

Images are selected by a hash of their name, resized and stored with a palette; the selection keeps what
real folders have, such as near-duplicates. The same package gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

from PIL import Image

TARGET = Path(__file__).parents[1] / "src/foveal/samples/clipart.zip"
SUBJECTS = {
    "animals": "animals",
    "cards": "recreation/games/cards",
    "flags": "signs_and_symbols/flags",
    "food": "food",
    "office": "office",
    "people": "people",
    "tools": "tools",
    "transportation": "transportation",
}
EACH = 110
SIDE = 224
COLOURS = 64
LARGEST = 40_000_000  # pixels; a few posters in the package are far larger


def chosen(folder: Path) -> list[Path]:
    """The usable images of a class, in the order of a hash of their name."""
    usable = [f for f in folder.rglob("*.png") if 2000 < f.stat().st_size < 2_000_000]
    return sorted(usable, key=lambda f: hashlib.sha256(f.name.encode()).digest())


def packed(file: Path) -> bytes | None:
    """A small PNG with a palette and, if the image has it, transparency; None if it is too large or small."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = Image.open(file)
        if opened.width * opened.height > LARGEST or min(opened.size) < 24:
            return None
        image = opened.convert("RGBA")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    image = image.quantize(COLOURS, method=Image.Quantize.FASTOCTREE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main() -> None:
    """Unpack, select, resize, pack."""
    (package,) = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
        root = Path(folder) / "usr/share/openclipart/png"
        with zipfile.ZipFile(TARGET, "w", zipfile.ZIP_STORED) as archive:
            for subject, source in SUBJECTS.items():
                count, names = 0, set()
                for file in chosen(root / source):
                    content = packed(file) if count < EACH and file.name not in names else None
                    if content is not None:
                        # A fixed date: the same images give the same archive.
                        archive.writestr(zipfile.ZipInfo(f"{subject}/{file.name}", (2004, 1, 1, 0, 0, 0)), content)
                        names.add(file.name)
                        count += 1
                print(subject, count, file=sys.stderr)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
