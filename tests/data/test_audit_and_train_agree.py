"""What the audit says is what a training does with the data: the same images, reasons, findings and refusals."""

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import foveal
import masked
from foveal.config import TrainConfig
from foveal.data.audit.scan import ScanOptions
from foveal.data.dataset import read_dataset
from foveal.data.sources.list_data import list_data
from foveal.data.sources.listing import DataOptions
from foveal.data.split.split_csv import split_to_csv
from foveal.errors import DataError
from pictures import draw, encoded, make_folder

#: Contents of files: eight images, near-duplicates of two of them, and what can't be read.
CONTENTS = [encoded(draw(i, (40, 36), tint=i)) for i in range(8)]
CONTENTS += [encoded(draw(i, (40, 36), tint=i), "JPEG", quality=60) for i in range(2)]
CONTENTS += [CONTENTS[2][:300], b"no image", b"%PDF-1.4", b""]

FILES = st.dictionaries(
    st.tuples(
        st.sampled_from(["train", "train", "val", "test"]),
        st.sampled_from(["ant", "bee", "cat"]),
        st.sampled_from(["g1", "g2", "g3", "g4"]),
        st.integers(0, 3),
        st.sampled_from([".png", ".png", ".jpg", ".txt"]),
    ),
    st.integers(0, len(CONTENTS) - 1),
    min_size=1,
    max_size=14,
)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 3),
        "test": st.just(False),
        "group_by": st.just(r"(g\d)_"),
        "max_pixels": st.just(1000),
    },
)


def write(root, files, *, subsets):
    """The files below class folders, which are in subsets or not; and a folder without any."""
    (root / ("train" if subsets else "") / "empty").mkdir(parents=True)
    (root / "test").mkdir(exist_ok=True) if subsets else None
    for (subset, name, group, i, suffix), content in files.items():
        path = root / (subset if subsets else "") / name / f"{group}_{subset}{i}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENTS[content])
        os.utime(path, ns=(10**18 + i, 10**18 + i))


def trained_on(data, config):
    """What stage 1 of a training keeps of the audit, and the dataset or its refusal."""
    kept = {}
    try:
        listing = list_data(data, DataOptions.of(config))
        return kept, read_dataset(listing, config, ScanOptions(), kept.update), None
    except DataError as error:
        return kept, None, error


@given(FILES, SETTINGS, st.booleans())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_on_messy_folders(files, options, subsets):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, files, subsets=subsets)
        config = TrainConfig(**options)
        try:
            audited = foveal.audit(root, config)
        except DataError as error:
            assert trained_on(root, config)[2].message == error.message  # no image at all
            return
        kept, dataset, refusal = trained_on(root, config)
    said = audited.to_dict()
    assert {**said, "seconds": 0} == {**kept, "seconds": 0}
    assert (audited.refusal is None) == (refusal is None)
    assert len({f["code"] for f in said["findings"]}) == len(said["findings"])
    if refusal is not None:
        assert said["refused"] == {"message": refusal.message, "hint": refusal.hint} and not audited.clean
        return
    assert audited.split == dataset.split and tuple(audited.findings) == dataset.findings
    rows = split_to_csv(dataset.split, dataset.target).splitlines()[1:]
    assert len(rows) == said["files"] == len(files) == said["used"] + len(said["left_out"])
    assert all(x["reason"] and x["detail"] for x in said["left_out"])
    assert said["used"] == sum(said["split"].values()) == len(dataset.split.placed)
    assert set(said["classes"]) == {*dataset.split.classes, *said["not_learned"]}
    assert not {*dataset.split.classes} & {*said["not_learned"]}
    counts = Counter(x["reason"] for x in said["left_out"])
    for finding in said["findings"]:
        if (
            finding["code"] in counts
            and "between" not in finding["code"]
            and finding["code"] != "conflicting_labels"
        ):
            assert finding["count"] == counts[finding["code"]]


def codes(data, **options):
    """Codes of errors and warnings, and the refusal."""
    audited = foveal.audit(data, **options)
    return {f.code for f in audited.findings if f.severity != "note"}, audited.refusal


def table(tmp_path, folder, row):
    """A CSV of the files of a folder with more columns."""
    lines = ["path,label,split,group"]
    lines += [f"{p},{p.parent.name},{','.join(row(i, p))}" for i, p in enumerate(sorted(folder.rglob("*.*")))]
    (tmp_path / "data.csv").write_text("\n".join(lines))
    return tmp_path / "data.csv"


def test_one_class_is_refused_by_the_audit(tmp_path):
    _, refusal = codes(make_folder(tmp_path, {"ant": 25}))
    assert refusal is not None and "ant" in refusal.message and refusal.hint


def test_a_group_across_given_splits_is_an_error(tmp_path):
    folder = make_folder(tmp_path / "p", {"ant": 25, "bee": 25})
    everywhere = table(tmp_path, folder, lambda i, p: (("train", "test")[i % 2], "one"))
    found, refusal = codes(everywhere)
    assert "group_between_splits" in found and refusal is not None
    some = table(tmp_path, folder, lambda i, p: (("train", "test")[i % 5 == 0], "one" if i in (0, 1) else ""))
    found, refusal = codes(some)
    assert "group_between_splits" in found and refusal is None


def test_a_class_in_the_test_subset_alone_is_named(tmp_path):
    folder = make_folder(tmp_path / "p", {"ant": 25, "bee": 25, "cow": 21})
    audited = foveal.audit(table(tmp_path, folder, lambda i, p: ("test" if "cow" in str(p) else "train", "")))
    (finding,) = [f for f in audited.findings if f.code == "classes_not_learned"]
    assert "cow (21)" in finding.message and audited.not_learned == ("cow",) and not audited.clean
    assert {x.label for x in audited.excluded} == {"cow"}


def test_two_images_of_two_classes_are_learned_and_nothing_is_tested(tmp_path):
    found, refusal = codes(make_folder(tmp_path, {"ant": 1, "bee": 1}))
    assert refusal is None and "no_test_images" in found
    assert "no_test_images" not in codes(tmp_path, test=False)[0]


def test_an_earlier_split_counts(tmp_path):
    folder = make_folder(tmp_path / "p", {"ant": 25, "bee": 25})
    split = foveal.audit(folder, seed=3).split
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "split.csv").write_text(split_to_csv(split, list_data(folder).target))
    again = foveal.audit(folder, split_from=str(tmp_path / "run")).split
    assert [p.subset for p in again.placed] == [p.subset for p in split.placed]
    with pytest.raises(DataError):
        foveal.audit(folder, split_from=str(tmp_path / "nowhere"))


@pytest.mark.parametrize("count", [0, 1, 24])
def test_masks(count, tmp_path):
    masked.write_pairs(tmp_path, 24)
    for file in sorted((tmp_path / "masks").iterdir())[count:]:
        file.write_bytes(b"no mask")
    audited = foveal.audit(tmp_path)
    kept, _, refusal = trained_on(tmp_path, TrainConfig())
    assert {**audited.to_dict(), "seconds": 0} == {**kept, "seconds": 0}
    assert (audited.refusal is None) == (refusal is None) == (count > 0)
    assert len(audited.excluded) >= 24 - count
