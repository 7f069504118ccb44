"""One look at every image: numbers that the audit needs, and a stated refusal for the rest."""

import hashlib
import os
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from foveal.clock import Clock
from foveal.data.audit import audit
from foveal.data.audit.scan import ScanOptions, scan
from foveal.data.images.decode import REASONS, decode
from foveal.data.images.render_cache import RenderCache
from foveal.data.sources.list_data import list_data
from foveal.data.targets.labels import Labels
from foveal.errors import UnreadableImage
from foveal.values import Entry, Preprocess
from pictures import draw, encoded, make_folder, read_one


def entry(folder, content, name="a.img"):
    (folder / name).write_bytes(content)
    return Entry(str(folder / name), "cat", "test", "g1")


def test_a_record_holds_what_the_file_holds(tmp_path):
    picture = draw(1, (200, 120))
    content = encoded(picture)
    one = entry(tmp_path, content)
    os.utime(one.path, ns=(5, 123456789))
    found = read_one(one)
    assert (found.path, found.label, found.split, found.group) == (one.path, "cat", "test", "g1")
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert (found.width, found.height, found.file_time) == (200, 120, 123456789)
    grey = np.asarray(picture.convert("L"), dtype=float)
    assert found.brightness == pytest.approx(grey.mean(), abs=1)
    assert found.contrast == pytest.approx(grey.std(), rel=0.05)
    assert len(found.thumb) == 16 * 16 * 3
    assert (found.camera, found.taken_at) == (None, None)


def test_the_perceptual_hash_is_imagehashs(tmp_path):
    import imagehash

    picture = draw(2, (64, 64))
    found = read_one(entry(tmp_path, encoded(picture)))
    assert f"{found.phash:016x}" == str(imagehash.phash(picture.convert("L")))


def test_sharpness_is_the_variance_of_scipys_laplacian(tmp_path):
    from scipy.ndimage import laplace

    picture = draw(3, (100, 90))
    grey = np.asarray(picture.convert("L"), dtype=float)
    expected = laplace(grey)[1:-1, 1:-1].var()
    assert read_one(entry(tmp_path, encoded(picture))).sharpness == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (3, 3), (2000, 1)])
def test_images_of_hardly_any_size(tmp_path, size):
    found = read_one(entry(tmp_path, encoded(draw(4, size) if min(size) > 7 else Image.new("RGB", size, "teal"))))
    assert (found.width, found.height) == size
    assert np.isfinite([found.brightness, found.contrast, found.sharpness]).all()


@pytest.mark.parametrize("size", [(300, 200), (450, 449), (449, 450), (200, 300)])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_width_and_height_are_those_of_the_upright_image(tmp_path, size, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    found = read_one(entry(tmp_path, encoded(draw(5, size), "JPEG", exif=exif)))
    assert (found.width, found.height) == (size if orientation < 5 else size[::-1])


def test_camera_and_time_of_taking(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "X100"
    exif[ExifTags.Base.DateTime] = "2021:03:04 05:06:07"
    found = read_one(entry(tmp_path, encoded(draw(6), "JPEG", exif=exif)))
    assert found.camera == "X100"
    assert found.taken_at == 1614834367  # `date -u -d '2021-03-04 05:06:07' +%s`
    exif[ExifTags.Base.DateTime] = "yesterday"
    assert read_one(entry(tmp_path, encoded(draw(6), "JPEG", exif=exif))).taken_at is None


def test_records_and_refusals_keep_the_order_of_the_entries(tmp_path):
    folder = make_folder(tmp_path, {"cat": 12, "dog": 12})
    (folder / "cat" / "005.png").write_bytes(b"words")
    (folder / "dog" / "003.jpg").write_bytes(b"")
    entries = list_data(folder).entries
    counted = []
    records, refused = scan(entries, Labels(), ScanOptions(on_each=counted.append))
    assert [r.path for r in records] == [
        e.path for e in entries if not e.path.endswith(("cat/005.png", "dog/003.jpg"))
    ]
    assert [(os.path.basename(r.path), r.reason, r.label) for r in refused] == [
        ("005.png", "not_a_picture", "cat"),
        ("003.jpg", "empty_file", "dog"),
    ]
    assert {r.reason for r in refused} <= set(REASONS)
    assert sum(counted) == len(entries)


def test_when_the_time_is_up_the_rest_is_excluded(tmp_path):
    entries = list_data(make_folder(tmp_path, {"cat": 4, "dog": 4})).entries
    records, refused = scan(entries, Labels(), ScanOptions(clock=Clock(0.0)))
    assert records == []
    assert [(r.path, r.label) for r in refused] == [(e.path, e.label) for e in entries]
    assert {r.reason for r in refused} == {"no_time"}


def test_a_stop_in_the_middle_leaves_a_fair_part(tmp_path, monkeypatch):
    monkeypatch.setattr("foveal.data.audit.scan.cores", lambda: 1)
    entries = [Entry(str(tmp_path / c / f"{i}.png"), c) for c in "ab" for i in range(100)]
    content = encoded(Image.new("RGB", (8, 8), "teal"))
    for one in entries:
        os.makedirs(os.path.dirname(one.path), exist_ok=True)
        with open(one.path, "wb") as handle:
            handle.write(content)
    clock = Clock()
    records, refused = scan(entries, Labels(), ScanOptions(clock=clock, on_each=lambda _: clock.stop()))
    assert 0 < len(records) < len(entries)
    assert len(records) + len(refused) == len(entries)
    assert {r.reason for r in refused} == {"no_time"}
    labels = [r.label for r in records]
    assert min(labels.count("a"), labels.count("b")) >= len(labels) / 4


def test_a_image_over_the_limit_is_refused(tmp_path):
    entries = [entry(tmp_path, encoded(draw(1, (50, 40))))]
    assert scan(entries, Labels(), ScanOptions(max_pixels=2000))[0]
    assert [r.reason for r in scan(entries, Labels(), ScanOptions(max_pixels=1999))[1]] == ["too_many_pixels"]


def test_the_numbers_are_the_same_with_and_without_a_render_cache(tmp_path):
    one = entry(tmp_path, encoded(draw(7, (500, 400)), "JPEG"))
    assert read_one(one) == read_one(one, ScanOptions(render_cache=RenderCache(Preprocess(size=64))))


def test_a_png_that_breaks_off_inside_its_data_is_refused_by_the_audit_too(tmp_path):
    """Asking it for its EXIF decoded it, and swallowed the refusal; the second decoding raised none."""
    content = encoded(draw(3, (90, 70)), "PNG")
    at = content.index(b"IDAT")
    size = int.from_bytes(content[at - 4 : at], "big")
    data = content[at + 4 : at + 4 + size // 2] + bytes([0xFF]) * (size - size // 2)
    broken = content[: at + 4] + data + zlib.crc32(b"IDAT" + data).to_bytes(4, "big") + content[at + 8 + size :]
    path = tmp_path / "broken.png"
    path.write_bytes(broken)
    with pytest.raises(UnreadableImage):
        decode(broken, str(path))
    (refusal,) = scan([Entry(str(path), "x")], Labels())[1]
    assert refusal.reason == "broken"


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "PNG"])
def test_further_frames_are_a_finding(tmp_path, form):
    make_folder(tmp_path, {"cat": 2, "dog": 2})
    moving, still = tmp_path / "cat" / f"moving.{form}", tmp_path / "cat" / f"still.{form}"
    draw(90).save(moving, form, save_all=True, append_images=[draw(91), draw(92)])
    draw(93).save(still, form)
    audited = audit(tmp_path)
    (finding,) = [f for f in audited.findings if f.code == "several_frames"]
    assert (finding.severity, finding.count, finding.paths) == ("note", 1, ((str(moving),),))
    assert len(audited.records) == 6 and not audited.excluded
