"""An image is an image however it is given: by name, in memory, open, as an array."""

import io
import pathlib
import tempfile
import threading
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

import pictures
from foveal import load
from foveal.data.images.decode import quiet
from foveal.errors import UnreadableImage, UsageError
from foveal.inference.classifier import ClassificationPredictor
from foveal.inference.dense_map import DenseMapPredictor
from foveal.inference.inputs import decode_input, each_image, name_of


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("image") / "one.png"
    path.write_bytes(pictures.encoded(pictures.draw(3)))
    return path


@contextmanager
def forms_of(file):
    """The same image in all forms that hold its exact pixels."""
    content = file.read_bytes()
    with Image.open(file) as opened:
        array = np.asarray(opened.convert("RGB"))
    with file.open("rb") as handle, Image.open(file) as unloaded:
        yield {
            "name": str(file),
            "path": file,
            "bytes": content,
            "bytearray": bytearray(content),
            "memoryview": memoryview(content),
            "buffer": io.BytesIO(content),
            "file": handle,
            "image": unloaded,
            "array": array,
            "image of an array": Image.fromarray(array),
        }


def test_every_form_decodes_to_the_same_pixels(file):
    expected = np.asarray(decode_input(str(file), "x"))
    with forms_of(file) as forms:
        for form, image in forms.items():
            assert np.array_equal(np.asarray(decode_input(image, form)), expected), form


def test_a_loaded_model_takes_every_form_alone_and_in_a_list(trained, file):
    model = load(trained[0])
    expected = model.predict_proba(file)
    with forms_of(file) as forms:
        for form, image in forms.items():
            assert np.array_equal(model.predict_proba(image), expected), form
    with forms_of(file) as forms:
        assert np.abs(model.predict_proba(list(forms.values())) - expected).max() < 1e-5
    assert np.array_equal(model.predict(file.read_bytes()), model.predict(file))
    with file.open("rb") as handle:
        assert np.array_equal(model.predict(handle), model.predict(file))


def test_a_stream_names_what_has_no_path_by_its_number(trained, file):
    stream = ClassificationPredictor.load(trained[0]).stream([file, file.read_bytes(), b"", b"no image", file])
    predictions = list(stream)
    assert [p.path for p in predictions] == [str(file), "<image 1>", "<image 2>", "<image 3>", str(file)]
    assert [p.error and p.error.partition(":")[0] for p in predictions] == [
        None, None, "empty_file", "not_a_picture", None,
    ]  # fmt: skip
    assert predictions[0].label == predictions[1].label == predictions[4].label


def test_a_dense_map_of_bytes_is_the_map_of_the_file(file):
    predictor = DenseMapPredictor.load("model:mnist")
    by_name, by_bytes = predictor(str(file)), predictor(file.read_bytes())
    assert np.array_equal(by_name.probabilities, by_bytes.probabilities) and by_name.path == str(file)


def test_what_is_not_an_image_is_refused(file):
    with pytest.raises(UnreadableImage) as refused:
        decode_input(b"", "x")
    assert refused.value.code == "empty_file"
    with tempfile.TemporaryFile("w+") as text, pytest.raises(UsageError):
        decode_input(text, "x")
    for wrong in (None, 7, [], np.zeros((3, 4, 5, 6)), {"path": str(file)}):
        with pytest.raises(UsageError):
            decode_input(wrong, "x")
    with file.open("rb") as handle:
        handle.read()
        with pytest.raises(UnreadableImage):
            decode_input(handle, "x")


def test_one_thing_or_many(file):
    content = file.read_bytes()
    assert list(each_image(content)) == [content] and list(each_image([content, file])) == [content, file]
    assert list(each_image(file.parent)) == [str(file)]
    assert list(each_image(np.array([str(file), "b.png"]))) == [str(file), "b.png"]
    assert list(each_image(np.array([file, content], dtype=object))) == [file, content]
    assert len(list(each_image(np.zeros((2, 4, 4, 3))))) == 2 and len(list(each_image(np.zeros((4, 4, 3))))) == 1
    assert name_of(pathlib.Path("a/b.png"), 3) == "a/b.png" and name_of(content, 3) == "<image 3>"


def test_quiet_is_shared_by_threads_and_leaves_everything_as_it_was():
    """Threads enter and leave in any order; the last one out restores limit and filters."""
    filters, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS
    entered, leave = [threading.Event() for _ in range(8)], [threading.Event() for _ in range(8)]
    inside = []

    def stay(i):
        with quiet():
            entered[i].set()
            leave[i].wait(30)
            inside.append(Image.MAX_IMAGE_PIXELS)

    threads = [threading.Thread(target=stay, args=(i,)) for i in range(8)]
    for thread, event in zip(threads, entered, strict=True):
        thread.start()
        assert event.wait(30)
    for i in (0, 7, 3, 1, 2, 6, 5, 4):  # the first to enter leaves first
        leave[i].set()
        threads[i].join(30)
    assert inside == [None] * 8
    assert list(warnings.filters) == filters and limit == Image.MAX_IMAGE_PIXELS
