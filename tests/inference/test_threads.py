"""A loaded model that several threads share gives each of them what it gives one."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from PIL import Image

import by_colour
import foveal
import masked
from foveal.errors import UnknownName
from foveal.inference.bundle import Bundle, load_bundle
from foveal.inference.predictor import load_predictor, predictor_of, register_predictor
from foveal.inference.segmenter import SegmentationPredictor
from foveal.values import LabelMap, Manifest, Preprocess
from registered import restored_registries

THREADS = 8


def at_once(work):
    """`work(i)` from all threads, begun together; the results in order."""
    ready = Barrier(THREADS)

    def begin(i):
        ready.wait(60)
        return work(i)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def test_a_classifier(trained, photos):
    files = sorted(photos.rglob("*.*"))[:48]
    asked = [files[6 * i : 6 * i + 6] for i in range(THREADS)]
    alone = foveal.load(trained[0])
    expected = [alone.predict_proba(f) for f in asked]
    shared = foveal.load(trained[0])  # its engine is compiled by whoever is first
    for rows, others in zip(at_once(lambda i: shared.predict_proba(asked[i])), expected, strict=True):
        assert np.array_equal(rows, others)


def test_a_network_of_its_own():
    shared, alone = foveal.load("model:mnist"), foveal.load("model:mnist")
    images = [np.random.default_rng(i).integers(0, 256, (4, 28, 28), dtype=np.uint8) for i in range(THREADS)]
    expected = [alone.predict_proba(list(i)) for i in images]
    for rows, others in zip(at_once(lambda i: shared.predict_proba(list(images[i]))), expected, strict=True):
        assert np.array_equal(rows, others)


def test_threads_may_share_an_image_that_was_not_loaded_yet(trained, photos):
    model, file = foveal.load(trained[0]), photos / "bee" / "000.jpg"
    expected = model.predict_proba(file)
    with Image.open(file) as image:
        for rows in at_once(lambda _: model.predict_proba(image)):
            assert np.array_equal(rows, expected)


@pytest.fixture
def segmenter():
    """A bundle with a small network of random weights."""
    import torch

    torch.manual_seed(0)
    tensors = {k: v.detach().numpy() for k, v in by_colour.ByColour(3).state_dict().items()}
    manifest = Manifest(
        task="segment", classes=masked.CLASSES, backbone=None, backbone_sha256=None, weights_sha256="",
        preprocess=Preprocess(resize="fit", scale=1.0), views=("plain", "mirror"), temperature=1.0,
        set_threshold=0.0, provenance={}, network={"architecture": "by-colour", "classes": 3},
        label_map=LabelMap(masked.CLASSES, (0, 1, 2)),
    )  # fmt: skip
    with by_colour.by_colour():
        yield Bundle(manifest, tensors)


@pytest.mark.parametrize("memory", [None, 400_000], ids=["whole", "tiled"])
def test_a_segmenter(segmenter, memory):
    """Images of four sizes, so that threads meet the same and other sizes."""
    images = [masked.draw_pair(i, (160 + 16 * (i % 4), 120))[0] for i in range(THREADS)]
    alone = SegmentationPredictor(segmenter, memory=memory)
    expected = [next(alone.stream([image])) for image in images]
    shared = SegmentationPredictor(segmenter, memory=memory)
    for prediction, other in zip(at_once(lambda i: next(shared.stream([images[i]]))), expected, strict=True):
        assert prediction.error is None and np.array_equal(prediction.mask, other.mask)
        assert prediction.tiles == other.tiles and (prediction.tiles > 1) == (memory is not None)


def test_a_segmenter_whose_engine_is_compiled_meanwhile(segmenter, fresh_cache):
    image, _ = masked.draw_pair(1)
    shared = SegmentationPredictor(segmenter, compile_after=1e-9)
    logits = at_once(lambda _: shared.logits(image)[0])
    assert shared.engine_name.startswith("openvino")
    for other in logits[1:]:
        assert np.abs(other - logits[0]).max() < 0.05 * np.abs(logits[0]).max()


def test_predictors_are_found_by_the_task_of_a_bundle(trained, segmenter):
    assert load_predictor(trained[0]).bundle.manifest.task == "classify"
    assert isinstance(predictor_of(segmenter, memory=1 << 30), SegmentationPredictor)
    bundle = load_bundle(trained[0])
    foreign = Bundle(Manifest(**{**vars(bundle.manifest), "task": "count"}), bundle.tensors)
    with pytest.raises(UnknownName):
        predictor_of(foreign)

    class Counter:
        """Predicts how many images came before."""

        def __init__(self, bundle, *, precision, memory):
            self.bundle = bundle

        def stream(self, images, *, topk=1):
            yield from (i for i, _ in enumerate(images))

    with restored_registries():
        register_predictor("count", Counter)
        assert list(predictor_of(foreign).stream(["a", "b"])) == [0, 1]
    with pytest.raises(UnknownName):
        predictor_of(foreign)
