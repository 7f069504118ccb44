"""Data sets in memory, in the style of torchvision: the table that they are written as holds what they hold."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

from foveal.data.images.decode import decode, read_file
from foveal.data.sources.datasets import materialise
from foveal.data.sources.list_data import list_data
from foveal.data.sources.listing import DataOptions
from foveal.errors import DataError, FovealError, UsageError
from pictures import draw, encoded, make_folder


class Toy:
    """As torchvision writes them: `len`, `[]` and `classes`."""

    def __init__(self, items, classes=("ant", "bee")):
        self.items, self.classes = items, classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, number):
        return self.items[number % len(self.items)]  # never an IndexError


def stored(dataset):
    """(pixels, label) of each entry of the table."""
    entries = list_data(materialise(dataset)).entries
    return [(np.asarray(decode(read_file(e.path), e.path)), e.label) for e in entries]


def as_tensor(image):
    return ToTensor()(image)


@pytest.mark.parametrize("form", [lambda i: i, as_tensor, np.asarray, lambda i: (as_tensor(i) * 255).byte()])
def test_pixels_and_classes_arrive_unchanged(fresh_cache, form):
    images = [draw(i) for i in range(4)]
    written = stored(Toy([(form(image), i % 2) for i, image in enumerate(images)]))
    assert [label for _, label in written] == ["ant", "bee", "ant", "bee"]
    for image, (pixels, _) in zip(images, written, strict=True):
        np.testing.assert_array_equal(pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "F", "I;16"])
def test_other_modes_are_stored_as_they_would_be_decoded(fresh_cache, mode):
    image = Image.fromarray(np.full((8, 8), 1000, dtype=np.uint16)) if mode == "I;16" else draw(1).convert(mode)
    ((pixels, _),) = stored(Toy([(image, 0)]))
    assert pixels.shape == (*image.size[::-1], 3)


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0, 1, 3]), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_any_tensor_of_bytes_survives(height, width, channels, seed):
    generator = torch.Generator().manual_seed(seed)
    shape = (channels, height, width) if channels else (height, width)
    values = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    ((pixels, _),) = stored(Toy([(values, 0)]))
    expected = values.expand(3, height, width).permute(1, 2, 0)
    np.testing.assert_array_equal(pixels, expected.numpy())


def test_the_same_data_set_is_stored_once_and_another_elsewhere(fresh_cache):
    items = [(draw(i), i % 2) for i in range(3)]
    first = materialise(Toy(items))
    assert materialise(Toy(items)) == first
    assert materialise(Toy(items, classes=("ape", "bat"))) != first
    assert materialise(Toy(items[:2])) != first
    assert len(list((fresh_cache / "datasets").iterdir())) == 3


def test_labels_without_names_and_labels_that_are_names(fresh_cache):
    numbers = stored(Toy([(draw(0), torch.tensor(7)), (draw(1), np.int64(3))], classes=None))
    assert [label for _, label in numbers] == ["7", "3"]
    assert stored(iter([(draw(0), "cat")]))[0][1] == "cat"


def test_a_subset_has_the_classes_of_the_whole(fresh_cache):
    whole = Toy([(draw(i), i % 2) for i in range(4)])
    assert [label for _, label in stored(torch.utils.data.Subset(whole, [1, 3]))] == ["bee", "bee"]


def test_an_image_folder_stays_where_it_is(fresh_cache, tmp_path):
    folder = make_folder(tmp_path / "photos", {"cat": 2, "dog": 2})
    entries = list_data(materialise(ImageFolder(folder))).entries
    assert [(e.path, e.label) for e in entries] == [(e.path, e.label) for e in list_data(folder).entries]
    assert not list(fresh_cache.rglob("*.png"))


def test_an_image_folder_with_a_transform_is_what_the_transform_gives(fresh_cache, tmp_path):
    folder = make_folder(tmp_path / "photos", {"cat": 1, "dog": 1})
    dataset = ImageFolder(folder, transform=lambda image: image.resize((5, 4)))
    assert [pixels.shape for pixels, _ in stored(dataset)] == [(4, 5, 3)] * 2


@pytest.mark.parametrize(
    ("dataset", "word"),
    [
        (Toy([]), "Toy"),
        (Toy([draw(0)]), "pair"),
        (Toy([(draw(0), [1, 0])]), "one class"),
        (Toy([(draw(0), torch.tensor([1, 0]))]), "one class"),
        (Toy([(draw(0), 0), (draw(0), 2)]), r"Toy\[1\]"),
        (Toy([(torch.randn(3, 8, 8) - 5, 0)]), r"Toy\[0\]"),
        (Toy([(torch.full((3, 8, 8), torch.nan), 0)]), r"Toy\[0\]"),
        (Toy([(torch.zeros(7, 8, 9), 0)]), r"Toy\[0\]"),
        (Toy([("a.jpg", 0)]), r"Toy\[0\]"),
        (7, "int"),
    ],
)
def test_what_is_no_data_set_of_labelled_images_is_said(fresh_cache, dataset, word):
    with pytest.raises(FovealError, match=word) as caught:
        materialise(dataset)
    assert caught.value.hint
    assert not list(fresh_cache.rglob("*.png"))


def test_a_cache_that_can_not_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError) as caught:
        materialise(Toy([(draw(0), 0)]))
    assert "FOVEAL_CACHE" in caught.value.hint


def content_of(path):
    """(content, label, split) of the entries of a named data set."""
    return [(read_file(e.path), e.label, e.split) for e in list_data(path).entries]


@pytest.fixture
def hub():
    return pytest.importorskip("datasets", reason="the extra hf is not installed")


def rows_of(hub, seeds):
    columns = {
        "image": [{"bytes": encoded(draw(seed), "JPEG"), "path": f"{seed}.jpg"} for seed in seeds],
        "label": [seed % 2 for seed in seeds],
        "text": ["a picture"] * len(seeds),
    }
    kinds = {"image": hub.Image(), "label": hub.ClassLabel(names=["ant", "bee"]), "text": hub.Value("string")}
    return hub.Dataset.from_dict(columns, features=hub.Features(kinds))


def test_a_saved_data_set_of_hugging_face(fresh_cache, tmp_path, hub):
    rows_of(hub, range(4)).save_to_disk(tmp_path / "saved")
    expected = [(encoded(draw(i), "JPEG"), ["ant", "bee"][i % 2], None) for i in range(4)]
    assert content_of(f"hf:{tmp_path / 'saved'}") == expected
    assert content_of(f"hf:{tmp_path / 'saved'}") == expected
    assert len(list((fresh_cache / "datasets").iterdir())) == 1


def test_splits_of_hugging_face(fresh_cache, tmp_path, hub):
    parts = {"train": rows_of(hub, [0, 1]), "validation": rows_of(hub, [2]), "test": rows_of(hub, [3])}
    hub.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    listed = content_of(f"hf:{tmp_path / 'saved'}")
    assert [split for _, _, split in listed] == ["train", "train", "val", "test"]
    assert [split for _, _, split in content_of(f"hf:{tmp_path / 'saved'}:test")] == [None]
    with pytest.raises(DataError, match="nonsense"):
        list_data(f"hf:{tmp_path / 'saved'}:nonsense")


def test_a_data_set_of_hugging_face_without_labels(fresh_cache, tmp_path, hub):
    rows_of(hub, [0]).remove_columns("label").save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match="label"):
        list_data(f"hf:{tmp_path / 'saved'}")


def test_a_name_that_hugging_face_does_not_have(fresh_cache, tmp_path, hub):
    with pytest.raises(DataError) as caught:
        list_data(f"hf:{tmp_path / 'nowhere'}")
    assert "nowhere" in str(caught.value) and caught.value.hint


def test_what_is_loaded_by_name_is_said(fresh_cache, tmp_path, hub):
    rows_of(hub, range(2)).save_to_disk(tmp_path / "saved")
    said = []
    list_data(f"hf:{tmp_path / 'saved'}", DataOptions(say=said.append))
    assert len(said) == 1 and str(tmp_path / "saved") in said[0]


def test_a_hub_that_can_not_be_reached_is_said_to_be_the_network(monkeypatch):
    def load_dataset(name):
        raise ConnectionError(f"Couldn't reach {name!r} on the Hub (LocalEntryNotFoundError)")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(DataError, match="hf:beans") as caught:
        list_data("hf:beans")
    assert "is there a network" in caught.value.hint


def test_a_package_that_a_builder_lacks_is_answered_with_the_extra(monkeypatch):
    def builder(*args, **options):
        raise ModuleNotFoundError("No module named 'array_record'", name="array_record")

    monkeypatch.setitem(sys.modules, "tensorflow_datasets", SimpleNamespace(builder=builder))
    with pytest.raises(UsageError, match="array_record") as caught:
        list_data("tfds:beans")
    assert "foveal[tfds]" in caught.value.hint and "array_record" in caught.value.hint
