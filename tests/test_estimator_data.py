"""Every form of images and labels that `fit` and `predict` take gives the same model, or says what is wrong."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import FakeData, ImageFolder
from torchvision.transforms import ToTensor

import masked
from by_colour import by_colour
from foveal import FovealError, ImageClassifier, Segmenter, load
from foveal.data.images.array_batches import split_array
from foveal.data.images.decode import decode, read_file
from foveal.data.sources.in_memory import keep_images, keep_masks
from toy_backbone import NAME, toy_backbone


@pytest.fixture(scope="module", autouse=True)
def quick(tmp_path_factory):
    """Features from a tiny network, and runs in a folder of their own."""
    with toy_backbone(), pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("runs"))
        yield


def classifier(**given):
    return ImageClassifier(**{"time": 20, "strategy": "frozen", "backbone": NAME, "test": False, **given})


@pytest.fixture(scope="module")
def colours():
    """(24, 16, 16, 3) of two colours with noise, and labels."""
    rng = np.random.default_rng(1)
    y = np.array(["blue", "red"])[np.arange(24) % 2]
    colour = np.where((y == "red")[:, None, None, None], [200, 60, 60], [60, 60, 200])
    return (colour + rng.integers(-50, 50, (24, 16, 16, 3))).astype(np.uint8), y


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


FORMS = {
    "NHWC": lambda x: x,
    "NCHW": lambda x: np.ascontiguousarray(x.transpose(0, 3, 1, 2)),
    "floats": lambda x: x.astype(np.float64) / 255,
    "tensor": lambda x: torch.from_numpy(x).permute(0, 3, 1, 2),
    "tensor of floats": lambda x: torch.from_numpy(x).permute(0, 3, 1, 2) / 255,
    "tensor with gradient": lambda x: (torch.from_numpy(x).permute(0, 3, 1, 2) / 255).requires_grad_(),
    "list of arrays": list,
    "list of CHW tensors": lambda x: [torch.from_numpy(i).permute(2, 0, 1) for i in x],
    "Pillow": lambda x: [Image.fromarray(i) for i in x],
    "bytes": lambda x: [png(i) for i in x],
    "files": lambda x: [io.BytesIO(png(i)) for i in x],
    "generator": lambda x: (i for i in x),
    "mixed": lambda x: [Image.fromarray(i) if n % 3 else png(i) if n % 2 else i for n, i in enumerate(x)],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_written_and_predicted_as_the_same_pixels(form, colours, tmp_path):
    X, _ = colours
    written = [np.asarray(decode(read_file(p), p)) for p in keep_images(FORMS[form](X), tmp_path)]
    assert np.array_equal(written, X)
    model = load("model:mnist", ImageClassifier)
    assert np.abs(model.predict_proba(FORMS[form](X)) - model.predict_proba(X)).max() < 1e-5


def test_fit_on_a_mixture_with_paths(colours, tmp_path):
    X, y = colours
    for n in range(0, 24, 2):
        (tmp_path / f"{n}.png").write_bytes(png(X[n]))
    mixed = [X[n] if n % 2 else tmp_path / f"{n}.png" for n in range(24)]
    model = classifier().fit(mixed, y)
    assert model.score(mixed, y) > 0.9 and model.predict(iter(mixed)).tolist() == model.predict(X).tolist()
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted(f"{n}.png" for n in range(0, 24, 2))


def test_grey_images_are_a_batch_for_the_estimator_that_was_fitted_on_them(colours):
    X, y = colours
    grey = X[..., 0]
    model = classifier().fit(grey, y)
    assert model.predict(grey[:3]).shape == (3,) and model.predict(grey[0]).shape == (1,)
    assert model.predict(torch.from_numpy(grey[:4])).shape == (4,)
    assert load(model.run_).predict(grey[:3]).shape == (1,)  # not known here: one image, channels first
    assert load(model.run_).predict(grey[:3, None]).shape == (3,)


def test_a_data_set_of_torchvision(make_folder, tmp_path):
    folder = make_folder(tmp_path / "images", {"ant": 12, "bee": 12})
    dataset = ImageFolder(folder, transform=ToTensor())
    model = classifier().fit(dataset)
    assert model.classes_.tolist() == ["ant", "bee"] and model.predict(dataset).shape == (24,)
    with pytest.warns(UserWarning, match="of 24 images were trained on"):
        assert (
            model.score(dataset)
            == model.score(folder)
            == model.evaluate(folder, include_seen=True)["test"]["accuracy"]
        )
    assert classifier().fit(FakeData(24, (3, 16, 16), 2)).predict(np.zeros((2, 16, 16, 3))).shape == (2,)


def test_pairs_in_a_list(colours):
    X, y = colours
    assert classifier().fit(list(zip(X, y, strict=True))).predict(X[:2]).shape == (2,)


def test_a_second_fit_takes_a_folder_beside_the_first(colours, tmp_path):
    X, y = colours
    model = classifier(out=tmp_path / "run").fit(X, y)
    first = model.run_
    assert model.fit(X, y).run_ == tmp_path / "run-2" and first == tmp_path / "run"
    assert (first / "summary.json").exists() and (tmp_path / "run-2" / "summary.json").exists()


def test_a_fit_that_fails_leaves_model_and_folders_as_they_were(colours, tmp_path):
    X, y = colours
    model = classifier(out=tmp_path / "run").fit(X, y)
    before = model.predict_proba(X)
    (tmp_path / "empty").mkdir()
    for wrong in ("absent", tmp_path / "empty"):
        with pytest.raises(FovealError):
            model.fit(wrong)
    assert np.array_equal(model.predict_proba(X), before) and model.run_ == tmp_path / "run"
    assert not list(tmp_path.glob("run-*/model"))  # what was found wrong with the data is kept


def test_test_images_in_memory_are_not_kept_and_it_says_so(colours):
    model = classifier(test=True).fit(*colours)
    with pytest.raises(ValueError, match="memory") as caught:
        model.evaluate()
    assert caught.value.hint and model.evaluate(*colours, include_seen=True)["test"]["n"] == 24


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (np.zeros((4, 8, 8)), None),
        (["a.png"], None),
        (np.zeros((4, 8, 8)), ["a", "b"]),
        (np.zeros((0, 8, 8)), []),
        (np.zeros((2, 2, 8, 8, 3)), ["a", "b"]),
        (np.zeros((2, 7, 8, 9)), ["a", "b"]),
        (np.full((2, 8, 8), np.nan), ["a", "b"]),
        (np.full((2, 8, 8), 255.0), ["a", "b"]),
        (np.full((2, 8, 8), 300), ["a", "b"]),
        (np.zeros((2, 8, 8), dtype=complex), ["a", "b"]),
        (torch.randn(2, 3, 8, 8) - 3, ["a", "b"]),
        ([None, 7], ["a", "b"]),
        (7, ["a", "b"]),
        ("folder", ["a"]),
        (None, None),
    ],
)
def test_what_is_not_images_is_refused_before_anything_is_written(X, y, tmp_path):
    with pytest.raises(ValueError) as caught:
        classifier(out=tmp_path / "run").fit(X, y)
    assert isinstance(caught.value, FovealError) and caught.value.hint
    assert not list(tmp_path.iterdir())


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_an_array_of_three_dimensions_is_one_image_or_grey_ones(first, second, third, as_tensor):
    array = np.zeros((first, second, third), dtype=np.uint8)
    values = torch.from_numpy(array) if as_tensor else array
    one = bool({first, third} & {1, 3, 4})
    assert len(split_array(values)) == (1 if one else first)
    assert len(split_array(values, grey=True)) == first


def test_masks_in_memory_keep_their_values(tmp_path):
    mask = np.array([[0, 1], [255, 7]], dtype=np.int64)
    palette = Image.fromarray(mask.astype(np.uint8)).convert("P")
    given = [mask, torch.from_numpy(mask), mask[None], mask == 1, palette]
    read = [np.asarray(Image.open(p)) for p in keep_masks(given, tmp_path)]
    assert all(np.array_equal(r, mask) for r in (*read[:3], read[4])) and np.array_equal(read[3], mask == 1)
    for wrong in (mask + 300, mask - 9, mask / 2, np.zeros((2, 3, 4), dtype=int), None):
        with pytest.raises(ValueError) as caught:
            keep_masks([wrong], tmp_path)
        assert caught.value.hint


def test_a_segmenter_on_images_and_masks_in_memory():
    pairs = [masked.draw_pair(i) for i in range(16)]
    X, y = np.stack([np.asarray(i) for i, _ in pairs]), np.stack([np.asarray(m) for _, m in pairs])
    with by_colour():
        model = Segmenter(time=60).fit(X, y)
        assert model.score(X, y) > 0.8 and model.predict(X[0])[0].shape == X.shape[1:3]
        assert Segmenter(time=60).fit(pairs).predict(X[:2])[1].shape == X.shape[1:3]
