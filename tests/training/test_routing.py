"""How images become inputs, and which strategies are tried: chosen by size and number, once."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fake_time import ManualClock
from foveal.config import TrainConfig
from foveal.data.dataset import Dataset
from foveal.data.images.probe import probe_images
from foveal.data.images.render_cache import RenderCache
from foveal.data.targets.labels import Labels
from foveal.decisions import ROUTE, Decisions
from foveal.errors import MemoryShort, UnknownName
from foveal.progress import Progress
from foveal.training.recipes.finetune import SMALL
from foveal.training.recipes.scratch import COLOUR_RECIPES, RECIPES
from foveal.training.routing import MANY_SMALL, SMALL_INPUTS, choose_route, choose_segmentation_route
from foveal.training.strategies.from_scratch import FromScratch
from foveal.training.time_budget import TimeBudget
from foveal.values import Entry
from runs import placed


@pytest.fixture
def entries(tmp_path):
    """`entries(count, side, grey)`: so many, all of which are one file."""

    def write(count, side, grey):
        shape = (side, side) if grey else (side, side, 3)
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
        path = tmp_path / f"{side}.png"
        image.save(path)
        return [Entry(str(path), "a")] * count

    return write


def missing(count):
    return [Entry(f"/nowhere/{i}.png", "a") for i in range(count)]


@pytest.mark.parametrize(
    ("count", "side", "grey", "config", "strategy"),
    [
        (MANY_SMALL, 28, True, {}, "linear-pixels"),
        (MANY_SMALL, SMALL, False, {}, "linear-pixels"),
        (MANY_SMALL, SMALL + 1, False, {}, "frozen"),
        (MANY_SMALL - 1, 28, True, {}, "frozen"),
        (MANY_SMALL, 28, True, {"strategy": "frozen"}, "frozen"),
        (300, 100, False, {"strategy": "scratch-hour"}, "linear-pixels"),
        (300, 28, True, {"from_scratch": "lenet5"}, "from-scratch-lenet5"),
    ],
)
def test_the_route_is_chosen_by_size_and_number_unless_the_user_chose(
    entries, count, side, grey, config, strategy
):
    decisions = Decisions()
    route = choose_route(entries(count, side, grey), TrainConfig(**config), decisions)
    assert route.strategies[0].name == strategy and decisions.reason(ROUTE)
    has_backbone = not strategy.startswith(("linear", "from-scratch")) or (not grey and side <= SMALL)
    assert (route.backbone is not None) is has_backbone
    again = choose_route([], TrainConfig(**config), Decisions.from_dict(decisions.to_dict()))
    assert again == route
    if strategy == "linear-pixels":
        assert route.preprocess.size == min(SMALL, side) and route.preprocess.channels == (1 if grey else 3)


@pytest.mark.parametrize(("grey", "recipes"), [(True, RECIPES), (False, COLOUR_RECIPES)])
def test_images_in_colour_have_recipes_of_their_own(entries, grey, recipes):
    decisions = Decisions()
    route = choose_route(entries(300, 28, grey), TrainConfig(strategy="scratch-minute"), decisions)
    assert [s.recipe for s in route.strategies if isinstance(s, FromScratch)] == list(recipes)
    assert choose_route([], TrainConfig(strategy="scratch-minute"), decisions) == route


def test_images_that_cannot_be_read_take_the_pretrained_route():
    assert choose_route(missing(MANY_SMALL), TrainConfig(), Decisions()).backbone is not None


@pytest.mark.parametrize("choose", [choose_route, choose_segmentation_route])
@pytest.mark.parametrize("memory", ["1MiB", "100MiB"])
def test_too_little_memory_is_refused_with_the_least_before_an_image_is_read(choose, memory):
    with pytest.raises(MemoryShort, match=rf"{memory[:-3]}\.0 MiB .* at least \d+\.\d") as caught:
        choose(None, TrainConfig(memory=memory), Decisions())
    assert caught.value.hint and caught.value.exit_code == 2


def test_a_network_needs_more_memory_than_a_linear_probe(entries):
    """Where the images alone would have decided for one, there is a linear probe."""
    for strategy in ("fine-tune", "scratch-seconds"):
        with pytest.raises(MemoryShort):
            choose_route(None, TrainConfig(memory="600MiB", strategy=strategy), Decisions())
    small = entries(MANY_SMALL, 28, True)
    assert choose_route(small, TrainConfig(memory="600MiB"), Decisions()).strategies[0].name == "frozen"
    assert choose_route(small, TrainConfig(memory="4GiB"), Decisions()).strategies[0].name == "linear-pixels"


def test_an_unknown_strategy_suggests_the_nearest():
    with pytest.raises(UnknownName) as caught:
        choose_route(missing(1), TrainConfig(strategy="scratch-secnds"), Decisions())
    assert caught.value.near == "scratch-seconds"


def test_a_probe_sees_size_colour_and_background(make_folder, tmp_path):
    folder = make_folder(tmp_path, {"a": 6}, size=(40, 30))
    probe = probe_images([Entry(str(p), "a") for p in sorted(folder.rglob("*.*"))])
    assert (probe.count, probe.grey) == (6, False) and 40 <= probe.side <= 42
    assert probe_images(missing(3)).side == 0


@pytest.mark.parametrize("grey", [True, False])
def test_a_probe_sees_whether_large_images_have_colour(entries, grey):
    assert probe_images(entries(3, 500, grey)).grey is grey


def test_small_colour_images_are_enlarged_for_the_backbone_as_far_as_time_goes(entries):
    """The engine takes the size that was decided, on the way there and in a replay."""
    for seconds, size in ((1e-3, min(SMALL_INPUTS)), (1e6, max(SMALL_INPUTS))):
        decisions, config = Decisions(), TrainConfig(cache=False)
        route = choose_route(entries(MANY_SMALL, 32, False), config, decisions)
        split = placed(train=4)
        dataset = Dataset("small", "/nowhere", 4, (), split, Labels())
        for _ in range(2):
            budget = TimeBudget(ManualClock(seconds), 0.0)
            context = route.context(
                dataset, RenderCache(route.preprocess), budget, config, Progress(), decisions, Path("/nowhere")
            )
            assert context.features.preprocess.size == size
            assert context.features.seconds(10) > 0
        assert context.preprocess.size == 32
