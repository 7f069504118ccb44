"""`--augment` means the same in every trainer: `none` changes nothing, `auto` is the recipe's own."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from foveal.config import TrainConfig
from foveal.decisions import DEVICE, HFLIP, NORMALIZATION
from foveal.features import Extractor
from foveal.metrics.segmentation import VOID
from foveal.models.backbones import find_backbone
from foveal.training.batches.crops import Crops
from foveal.training.images import ImageArrays
from foveal.training.recipes.augmentation import STRENGTHS, Augment, augment_for
from foveal.training.recipes.finetune import CACHED
from foveal.training.recipes.finetune import FULL as FULL_FINE_TUNE
from foveal.training.recipes.scratch import RECIPES, recipe_for
from foveal.training.recipes.segmentation import FULL as UNET
from foveal.training.recipes.segmentation import QUICK as FCN
from foveal.training.strategies.from_scratch import FromScratch
from foveal.training.strategies.image_size import trainer_for
from foveal.training.strategy import LadderState
from foveal.training.trainers.scratch import ScratchTrainer
from foveal.training.trainers.segmentation import SegmentationTrainer, crop_options
from foveal.values import Preprocess
from runs import CPU, context_of, placed

NAMES = ("none", "light", "strong", "auto")
GIVEN = {
    DEVICE.id: CPU,
    NORMALIZATION.id: {"mean": [0.0] * 3, "std": [1.0] * 3},
    HFLIP.id: True,
}


class InMemory(ImageArrays):
    """Random images of one size, which are always the same for a subset."""

    def subset(self, name, records, preprocess):
        shape = (len(records), preprocess.channels, preprocess.size, preprocess.size)
        return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def context_with(augment, *, size=28, extractor=None):
    return context_of(
        placed(train=8),
        made=GIVEN,
        images=InMemory,
        extractor=extractor,
        preprocess=Preprocess(size=size, channels=1),
        config=TrainConfig(augment=augment),
    )


def geometry_and_colour(augment):
    """All strengths, apart from mirroring."""
    return replace(augment, hflip=False)


# What a name means.


def stronger(a, b):
    """In every respect, mirroring apart."""
    names = ("translate", "rotate", "scale", "shear", "brightness_contrast", "channel_gain")
    return all(getattr(a, name) > getattr(b, name) > 0 for name in names)


def test_lengths_are_shares_of_the_side():
    small, large = (augment_for("strong", Augment(), size) for size in (32, 320))
    assert large.translate == pytest.approx(10 * small.translate)
    assert large.elastic == pytest.approx(10 * small.elastic)
    assert (large.rotate, large.scale, large.shear) == (small.rotate, small.scale, small.shear)


# The trainers.


@pytest.mark.parametrize(
    "recipe", [*RECIPES, recipe_for({"architecture": "zoo", "name": "lenet5"}, 28)], ids=lambda r: r.name
)
def test_training_from_scratch(recipe):
    none, light, strong, auto = (ScratchTrainer(recipe, context_with(name)).augment for name in NAMES)
    assert none == Augment() and stronger(strong, light) and auto == geometry_and_colour(recipe.augment)


@pytest.mark.parametrize("recipe", [FULL_FINE_TUNE, CACHED], ids=lambda r: r.name)
def test_fine_tuning(recipe):
    backbone = find_backbone()
    extractor = Extractor(backbone, backbone.preprocess, engine=None, cache=False)
    none, light, strong, auto = (
        trainer_for(recipe, context_with(name, extractor=extractor), 96).augment for name in NAMES
    )
    assert none == Augment()  # not mirrored even where mirrored images would keep their label
    assert stronger(strong, light) and auto == light and light.hflip and strong.hflip


@pytest.mark.parametrize("recipe", [FCN, UNET], ids=lambda r: r.name)
def test_crops_for_segmentation_vary_more_the_stronger_the_augmentation(recipe):
    none, light, strong = (variation(recipe, name) for name in ("none", "light", "strong"))
    for respect, values in enumerate(zip(none, light, strong, strict=True)):
        assert values[0] < 1e-3 < values[1] < values[2], respect


def variation(recipe, name):
    """Standard deviations over crops of a ramp: of its slope, its direction, and the brightness of what was flat."""
    rows, columns = np.mgrid[0:96, 0:128]
    ramp = np.stack([rows, columns, np.full_like(rows, 100)]).astype(np.uint8)
    options = crop_options(replace(recipe, crop_area=48 * 48), name, (96, 128), 1.0, hflip=False)
    crops = Crops(
        ramp[None],
        np.zeros((1, 96, 128), dtype=np.uint8),
        Preprocess(mean=(0.0,) * 3, std=(1.0,) * 3),
        size=1,
        options=options,
        classes=2,
        seed=0,
    )
    middle = (slice(16, 32), slice(16, 32))
    seen = []
    for step in range(60):
        y, _, flat = crops(step)[0][0].numpy()
        along, across = np.median(np.diff(y[middle], axis=0)), np.median(np.diff(y[middle], axis=1))
        seen.append((along, across, np.median(flat[middle])))
    return np.std(seen, axis=0)


@pytest.mark.parametrize("recipe", [FCN, UNET], ids=lambda r: r.name)
def test_by_default_segmentation_uses_its_recipe(recipe):
    options = crop_options(recipe, "auto", (96, 128), 0.5, hflip=False)
    for name in ("rotate", "stretch", "brightness_contrast", "channel_gain", "class_crop_prob"):
        assert getattr(options, name) == getattr(recipe, name)
    assert (options.min_zoom, options.max_zoom) == (0.5 * recipe.min_zoom, 0.5 * recipe.max_zoom)


@pytest.mark.parametrize("name", NAMES)
def test_a_segmentation_trainer_takes_the_runs_choice(name):
    trainer = SegmentationTrainer(FCN, context_with(name, size=96), 1.0)
    assert trainer.options == crop_options(FCN, name, (96, 96), 1.0, hflip=False)


# Under `none` what a network sees are the images themselves.


def test_without_augmentation_training_from_scratch_shows_the_images_as_they_are():
    context = context_with("none")
    trainer = ScratchTrainer(replace(RECIPES[1], batch_size=8), context)
    images, _ = trainer.batches(seed=3)(5)
    shown = images.numpy().reshape(8, -1)
    expected = context.pixels("train").astype(np.float32).reshape(8, -1)
    assert np.array_equal(shown[np.lexsort(shown.T)], expected[np.lexsort(expected.T)])


def test_with_augmentation_training_from_scratch_changes_them():
    context = context_with("light")
    images, _ = ScratchTrainer(replace(RECIPES[0], batch_size=8), context).batches(seed=3)(5)
    originals = {image.tobytes() for image in context.pixels("train").astype(np.float32)}
    assert not any(image.tobytes() in originals for image in images.numpy())


@pytest.mark.parametrize("name", NAMES)
def test_images_are_mirrored_where_they_may_be_but_not_without_augmentation(name):
    """Here an earlier decision says that mirrored images keep their label."""
    strategy = FromScratch(replace(RECIPES[1], epochs=1, least_steps=1))
    first = SimpleNamespace(strategy="first", score=1.0, recipe=RECIPES[0])
    candidate = strategy.fit(context_with(name), LadderState([first], first))
    recipe = RECIPES[1].augment if name == "auto" else STRENGTHS[name].at_size(28)
    assert candidate.settings["recipe"]["augment"] == replace(recipe, hflip=name != "none").to_dict()


def test_without_augmentation_crops_are_cut_out_as_they_are():
    """Each is a window of its image, to a fraction of a pixel: neither resized, turned, stretched nor recoloured."""
    rows, columns = np.mgrid[0:96, 0:128]
    ramp = np.stack([rows, columns, np.full_like(rows, 200)]).astype(np.uint8)
    options = crop_options(replace(FCN, crop_area=64 * 64), "none", (96, 128), 1.0, hflip=False)
    assert options.height < 96 or options.width < 128
    crops = Crops(
        ramp[None],
        np.zeros((1, 96, 128), dtype=np.uint8),
        Preprocess(mean=(0.0,) * 3, std=(1.0,) * 3),
        size=1,
        options=options,
        classes=2,
        seed=0,
    )
    for step in range(10):
        images, masks = crops(step)
        y, x, flat = images[0].numpy()
        assert (masks != VOID).any()
        inside = (slice(2, -2), slice(2, -2))
        assert np.diff(y[inside], axis=0) == pytest.approx(1.0, abs=1e-3)
        assert np.diff(y[inside], axis=1) == pytest.approx(0.0, abs=1e-3)
        assert np.diff(x[inside], axis=1) == pytest.approx(1.0, abs=1e-3)
        assert np.diff(x[inside], axis=0) == pytest.approx(0.0, abs=1e-3)
        assert flat[inside] == pytest.approx(200.0, abs=1e-3)
