"""Many images measured together: the same records and refusals, bit for bit, as each measured alone."""

import hashlib
import os
from random import Random

import imagehash
import numpy as np
import pytest
from PIL import ExifTags, Image

from foveal.data.audit.duplicates import near_pairs
from foveal.data.audit.measure import is_stacked, measure
from foveal.data.audit.scan import ScanOptions, scan
from foveal.data.images.decode import decode, read_file
from foveal.data.images.render import AUDIT_SIDE
from foveal.data.images.render_cache import RenderCache
from foveal.data.targets.labels import Labels
from foveal.errors import UnreadableImage
from foveal.values import Entry, Preprocess
from pictures import draw, encoded

SIZES = [
    (32, 32),
    (33, 47),
    (64, 64),
    (96, 96),
    (127, 128),
    (130, 100),
    (40, 300),
    (31, 90),
    (300, 224),
    (640, 260),
]


def expected(rgb):
    """Of one decoded image, by imagehash and numpy."""
    grey = rgb.convert("L")
    levels = np.asarray(shrunk(grey, 128), dtype=np.float32)
    enough = min(rgb.size) >= 32
    bits = imagehash.phash(shrunk(grey, 64)).hash.ravel()
    inner = levels[1:-1, 1:-1] * -4 if min(levels.shape) > 2 else np.zeros(1, dtype=np.float32)
    if min(levels.shape) > 2:
        for part in (levels[:-2, 1:-1], levels[2:, 1:-1], levels[1:-1, :-2], levels[1:-1, 2:]):
            inner += part
    return {
        "phash": int("".join("01"[int(bit)] for bit in bits), 2) if enough else 0,
        "thumb": shrunk(rgb, 64).resize((16, 16), Image.Resampling.BOX).tobytes() if enough else b"",
        "brightness": float(levels.mean()),
        "contrast": float(levels.std()),
        "sharpness": float(inner.var()),
    }


def shrunk(image, side):
    factor = min(image.size) // side
    return image.reduce(factor) if factor > 1 else image


def noise(seed, size):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.mark.parametrize("size", [*SIZES, (1, 1), (2, 90), (3, 3), (16, 16), (128, 128), (129, 500)])
@pytest.mark.parametrize("make", [noise, draw, lambda seed, size: Image.new("RGB", size, (seed, 9 * seed, 77))])
def test_the_figures_of_a_stack_are_those_of_each_image(size, make):
    if make is draw and min(size) < 8:
        make = noise
    images = [make(seed, size) for seed in range(1, 20)]
    alone = [expected(image) for image in images]
    assert [measure([image])[0] for image in images] == alone
    if is_stacked(images[0]):
        assert measure(images) == alone


def test_large_images_are_not_stacked():
    assert is_stacked(Image.new("RGB", (32, 32))) and is_stacked(Image.new("RGB", (127, 128)))
    assert not is_stacked(Image.new("RGB", (128, 128)))
    assert not is_stacked(Image.new("RGB", (16, 2000)))


def files():
    """Contents of many kinds, some of them twice, some no image."""
    contents = []
    for i, size in enumerate(SIZES * 2):
        image = draw(i, size)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 1 + i % 8
        exif[ExifTags.Base.DateTime] = f"2020:01:{1 + i:02d} 10:00:00"
        contents += [
            encoded(image, "JPEG", exif=exif, quality=90),
            encoded(image, "JPEG", exif=exif, quality=40),
            encoded(image.convert("L"), "JPEG"),
            encoded(image.convert("CMYK"), "JPEG"),
            encoded(image, "PNG", exif=exif),
            encoded(image.convert("P"), "PNG", transparency=3),
            encoded(image.convert("P", palette=Image.Palette.ADAPTIVE), "GIF"),
            encoded(image.convert("LA"), "PNG"),
            encoded(image.convert("RGBA"), "WEBP"),
            encoded(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG"),
            encoded(image.convert("1"), "PNG"),
            encoded(image.convert("F"), "TIFF"),
        ]
    broken = [content[: len(content) * 2 // 3] for content in contents[::7]]
    return contents + broken + contents[::5] + [b"words", b"", b"\xff\xd8\xff\xe0", b"<svg>"]


def test_a_varied_set_read_together_is_read_as_each_file_alone(tmp_path):
    entries, contents = [], files()
    Random(0).shuffle(contents)
    for i, content in enumerate(contents):
        path = tmp_path / f"{i:03d}.img"
        path.write_bytes(content)
        os.utime(path, ns=(i, i))
        entries.append(Entry(str(path), "ab"[i % 2]))
    records, refused = scan(entries, Labels())
    found = {one.path: one for one in (*records, *refused)}
    assert len(found) == len(entries)
    for i, (entry, content) in enumerate(zip(entries, contents, strict=True)):
        one = found[entry.path]
        try:
            rgb = decode(read_file(entry.path), entry.path, shrink_to=AUDIT_SIDE)
        except UnreadableImage as refusal:
            assert (one.reason, one.detail) == (refusal.code, refusal.detail)
            continue
        figures = expected(rgb)
        assert {name: getattr(one, name) for name in figures} == figures
        assert (one.sha256, one.file_time) == (hashlib.sha256(content).hexdigest(), i)
        assert one.width * one.height >= rgb.width * rgb.height
    assert {"truncated", "broken", "not_a_picture", "empty_file", "format_not_allowed"} >= {
        r.reason for r in refused
    }
    assert len(refused) >= 10 and near_pairs(records)
    alone = [scan([entry], Labels()) for entry in entries]
    assert records == [record for some, _ in alone for record in some]
    assert refused == [refusal for _, some in alone for refusal in some]
    assert scan(entries, Labels(), ScanOptions(render_cache=RenderCache(Preprocess(size=48)))) == (
        records,
        refused,
    )
