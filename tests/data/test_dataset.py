"""Stage 1 as a whole, and its result read back from the folder of a run."""

import json
from pathlib import Path

import pytest

import masked
from foveal.config import TrainConfig
from foveal.data.audit.scan import ScanOptions
from foveal.data.dataset import read_dataset, reopen_dataset
from foveal.data.sources.list_data import list_data
from foveal.data.split.split_csv import split_to_csv
from foveal.errors import DataError
from pictures import make_folder


@pytest.fixture(params=["labels", "masks"])
def data(request, tmp_path):
    if request.param == "labels":
        return make_folder(tmp_path / "data", {"cat": 20, "dog": 20})
    return masked.write_pairs(tmp_path / "data", 30)


@pytest.fixture
def run(data, tmp_path):
    """The dataset, and the folder of a run that keeps it."""
    kept = {}
    dataset = read_dataset(list_data(data), TrainConfig(), ScanOptions(), kept.update)
    (tmp_path / "audit.json").write_text(json.dumps(kept))
    (tmp_path / "split.csv").write_text(split_to_csv(dataset.split, dataset.target))
    return dataset, tmp_path


def test_a_run_reopens_its_dataset(run):
    dataset, folder = run
    again = reopen_dataset(folder)
    assert (again.name, again.root, again.task, again.findings) == (
        dataset.name, dataset.root, dataset.task, dataset.findings,
    )  # fmt: skip
    assert again.target.to_dict() == dataset.target.to_dict()
    assert (again.split.classes, again.split.label_map) == (dataset.split.classes, dataset.split.label_map)
    for subset in ("train", "val", "test"):
        assert [p.record.sha256 for p in again.split.subset(subset)] == [
            p.record.sha256 for p in dataset.split.subset(subset)
        ]
    assert [again.target.files(p.record) for p in again.split.placed] == [
        dataset.target.files(p.record) for p in dataset.split.placed
    ]


def test_a_file_that_changed_is_named(run):
    dataset, folder = run
    record = dataset.split.placed[3].record
    for path, _ in [(record.path, record.sha256), *dataset.target.files(record)]:
        content = Path(path).read_bytes()
        Path(path).write_bytes(content + b" ")
        with pytest.raises(DataError) as caught:
            reopen_dataset(folder)
        assert path in str(caught.value) and caught.value.hint
        Path(path).write_bytes(content)
    assert reopen_dataset(folder).images == dataset.images


@pytest.mark.parametrize("name", ["audit.json", "split.csv"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"\xff\xfe"])
def test_a_missing_or_damaged_file_is_a_data_error(run, name, content):
    _, folder = run
    if content is None:
        (folder / name).unlink()
    elif name == "audit.json":
        (folder / name).write_bytes(content)
    else:
        (folder / name).write_bytes(b"path,split\na,train\n" + content)
    with pytest.raises(DataError) as caught:
        reopen_dataset(folder)
    assert str(folder) in str(caught.value) and caught.value.hint


def test_the_audit_is_kept_before_a_split_that_fails(tmp_path):
    kept = {}
    with pytest.raises(DataError):
        read_dataset(
            list_data(make_folder(tmp_path, {"one": 5})),
            TrainConfig(),
            ScanOptions(),
            kept.update,
        )
    assert kept["classes"] == {"one": 5}
