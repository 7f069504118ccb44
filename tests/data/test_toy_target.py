"""A third target and another form of DATA, registered from outside: nothing in the package knows them."""

import json
import os
from typing import ClassVar

import pytest

from foveal.config import TrainConfig
from foveal.data.audit import audit
from foveal.data.audit.scan import ScanOptions
from foveal.data.dataset import read_dataset, reopen_dataset
from foveal.data.sources.list_data import list_data, register_source
from foveal.data.sources.listing import DataOptions, Listing
from foveal.data.split.split_csv import split_to_csv
from foveal.data.targets.labels import Labels
from foveal.data.targets.registry import register_target
from foveal.errors import DataError, UnknownName
from foveal.values import Entry
from pictures import make_folder
from registered import restored_registries


class Grades(Labels):
    """A mark from 1 to 6 for each image, in a column of its own."""

    task = "grade"
    column = "grade"
    aliases: ClassVar = {"mark": "grade"}
    plural = "grades"
    item = "graded image"
    layout = "a CSV with path,grade"
    absent = "no_grade"

    def entry(self, path, annotation, root, split=None, group=None):
        return Entry(os.path.normpath(os.path.join(root, path)), f"grade {float(annotation):g}", split, group)


class Initials(Labels):
    """The first letter of the file's name."""

    task = "initial"
    column = "initial"

    def complete(self, record, entry, *, max_pixels=0):
        from dataclasses import replace

        return replace(record, label=os.path.basename(entry.path)[0])


@pytest.fixture(autouse=True)
def registered():
    """The registries as they were before, afterwards."""
    with restored_registries():
        register_target(Grades)
        register_target(Initials)
        yield


@pytest.fixture
def graded(tmp_path):
    folder = make_folder(tmp_path / "photos", {"x": 30, "y": 30})
    files = sorted(folder.rglob("*.*"))
    rows = [f"{file},{1 + i % 2}.0" for i, file in enumerate(files)]
    (tmp_path / "table.csv").write_text("path,mark\n" + "\n".join([*rows[:-1], f"{files[-1]},"]) + "\n")
    return tmp_path / "table.csv"


@pytest.mark.parametrize("task", ["auto", "grade"])
def test_from_a_table_to_a_split_and_back(graded, tmp_path, task):
    listing = list_data(graded, DataOptions(task=task))
    assert listing.task == "grade" and len(listing.entries) == 59
    assert [x.reason for x in listing.excluded] == ["no_grade"]
    kept = {}
    dataset = read_dataset(listing, TrainConfig(), ScanOptions(), kept.update)
    assert dataset.split.classes == ("grade 1", "grade 2") and dataset.task == kept["task"] == "grade"
    assert {p.subset for p in dataset.split.placed} == {"train", "val", "test"}
    encoded = dataset.target.encode(dataset.split.placed, dataset.split.classes)
    assert sorted(set(encoded.tolist())) == [0, 1]

    (tmp_path / "audit.json").write_text(json.dumps(kept))
    (tmp_path / "split.csv").write_text(split_to_csv(dataset.split, dataset.target))
    again = reopen_dataset(tmp_path)
    assert isinstance(again.target, Grades)
    assert [(p.record.path, p.record.label, p.subset) for p in again.split.placed] == [
        (p.record.path, p.record.label, p.subset) for p in dataset.split.placed
    ]
    assert [x.reason for x in again.split.excluded] == ["no_grade"]


def test_a_target_that_looks_at_the_files_of_class_folders(tmp_path):
    folder = make_folder(tmp_path / "photos", {"all": 40})
    for i, file in enumerate(sorted((folder / "all").iterdir())):
        file.rename(file.with_name(f"{'pq'[i % 2]}{file.name}"))
    audited = audit(folder, DataOptions(task="initial"))
    assert audited.classes() == {"p": 20, "q": 20}
    with pytest.raises(DataError):
        read_dataset(list_data(folder), TrainConfig(), ScanOptions(), lambda _: None)


def test_data_of_another_target_is_refused_in_its_words(graded, tmp_path):
    with pytest.raises(DataError) as caught:
        list_data(graded, DataOptions(task="classify"))
    assert str(graded) in str(caught.value) and caught.value.hint == Labels.layout
    with pytest.raises(UnknownName) as unknown:
        list_data(graded, DataOptions(task="grades"))
    assert "grade" in unknown.value.hint


def test_a_form_of_data_from_outside(tmp_path):
    def list_pairs(path, options):
        if not path.endswith(".pairs"):
            return None
        listing = Listing("pairs", os.path.dirname(path), options.create(Labels))
        with open(path, encoding="utf-8") as handle:
            for line in handle:
                name, label = line.split()
                listing.entries.append(listing.target.entry(name, label, listing.root))
        return listing

    path = tmp_path / "all.pairs"
    path.write_text("a.jpg 1\nb.jpg 2\n")
    register_source(list_pairs)
    assert [e.label for e in list_data(path).entries] == ["1", "2"]
    graded = list_data(path, DataOptions(task="grade"))
    assert graded.task == "grade" and [e.label for e in graded.entries] == ["grade 1", "grade 2"]
