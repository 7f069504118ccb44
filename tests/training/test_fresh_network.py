"""`--from-scratch MODEL`: the input that is chosen for a network, and what is refused before an image is read."""

import json
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from foveal.config import TrainConfig
from foveal.decisions import NETWORK, Decisions
from foveal.errors import BundleError, MemoryShort, UnknownName, UsageError
from foveal.inference.bundle import load_bundle, make_bundle, network_of, save_bundle
from foveal.metrics.calibration import Calibration, PredictionSets
from foveal.models.networks import build, completed, definition_of
from foveal.models.trained import TrainedModel
from foveal.planner import plan
from foveal.training.recipes.scratch import recipe_for
from foveal.training.routing import choose_route
from foveal.training.strategies.from_scratch import FromScratch
from foveal.training.strategy import LadderState
from foveal.training.trainers.scratch import ScratchTrainer, predict_pixels
from foveal.values import Entry
from scratch_context import context_with
from toy_backbone import NAME as TOY
from toy_backbone import toy_backbone

#: The network that a notebook trains on MNIST.
NOTEBOOK = "conv32k3valid-relu-pool2-conv64k3valid-relu-pool2-flatten-dense64-relu-dense10"
FUNCTIONS = """
    import torch
    from torch import nn

    def flat(side, channels=1, outputs=10):
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * side * side, outputs))

    def for_28(): return flat(28)
    def for_32_in_colour(): return flat(32, 3)
    def lazy(): return nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))
    def seven(): return flat(28, outputs=7)
    def eleven(): return flat(28, outputs=11)
    def half(): return flat(28).bfloat16()
    def fails(): raise ValueError("not today")
    def number(): return 5
    def needs(width): return flat(width)
    KEPT = flat(28)
    def kept(): return KEPT
    def vectorless(): return nn.Conv2d(1, 10, 3, padding=1)

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = flat(28)
        def forward(self, x):
            logits = self.inner(x)
            return (logits, logits) if self.training else logits
    def two(): return Two()

    class Says(Two):
        def get_extra_state(self): return {"epoch": 3}
        def set_extra_state(self, state): pass
    def says(): return Says()

    class Indexed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = flat(12, outputs=2)
            self.register_buffer("order", torch.arange(144).reshape(12, 12))
            self.register_buffer("mask", torch.ones(144, dtype=torch.bool))
        def forward(self, x):
            return self.inner(x.flatten(1)[:, self.order.flatten()] * self.mask)
    def indexed(): return Indexed()
"""


@pytest.fixture
def functions(tmp_path, monkeypatch):
    """The name of a module of functions, importable during the test; its file can be replaced by `write`."""
    name = f"networks_of_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(FUNCTIONS))
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def entries(tmp_path):
    """`entries(side, grey, classes)`: images of noise, one of each class."""

    def write(side, grey, classes=10):
        shape = (side, side) if grey else (side, side, 3)
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
        path = tmp_path / f"{side}.png"
        image.save(path)
        return [Entry(str(path), str(c)) for c in range(classes)]

    return write


def chosen(entries, model, **config):
    """Channels and side of the input, and the route."""
    route = choose_route(entries, TrainConfig(from_scratch=model, **config), Decisions())
    return (route.preprocess.channels, route.preprocess.size), route


@pytest.mark.parametrize(
    ("model", "side", "grey", "expected"),
    [
        (NOTEBOOK, 28, True, (1, 28)),
        (NOTEBOOK, 28, False, (3, 28)),
        (NOTEBOOK, 500, False, (3, 224)),
        ("resnet18", 28, True, (1, 64)),
        ("resnet18", 100, False, (3, 100)),
        ("resnet18", 500, False, (3, 224)),
        ("lenet5", 28, True, (1, 32)),
        ("lenet5", 500, False, (3, 32)),
        ("alexnet", 28, True, (1, 227)),  # less than 67 pixels are too few
        ("torchvision:vit_b_16", 100, False, (3, 224)),  # takes this size alone
        ("timm:resnet18", 28, True, (1, 64)),
        ("timm/resnet10t", 128, False, (3, 128)),
        ("torchvision:resnet18", 28, True, (3, 64)),
        ("torchvision:googlenet", 64, False, (3, 64)),  # without its auxiliary classifiers
        ("lite0", 96, False, (3, 96)),
        ("model:mnist", 28, True, (1, 28)),
    ],
)
def test_the_input_follows_from_the_network_and_the_images(entries, model, side, grey, expected):
    assert chosen(entries(side, grey), model)[0] == expected


@pytest.mark.parametrize(
    ("function", "side", "grey", "expected"),
    [
        ("for_28", 28, True, (1, 28)),
        ("for_28", 28, False, (1, 28)),
        ("for_28", 400, False, (1, 28)),
        ("for_32_in_colour", 28, True, (3, 32)),
        ("lazy", 28, True, (1, 28)),
    ],
)
def test_the_input_of_a_function_is_found_by_trying(entries, functions, function, side, grey, expected):
    assert chosen(entries(side, grey), f"{functions}:{function}")[0] == expected


@pytest.mark.parametrize("grey", [True, False])
def test_a_backbone_from_outside_is_trained_in_colour(entries, grey):
    with toy_backbone():
        assert chosen(entries(32, grey), TOY)[0] == (3, 32)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (NOTEBOOK.replace("dense10", "dense11"), ["11 outputs", "10 classes", "dense10"]),
        ("conv8-gap", ["8 × 1 × 1", "dense10"]),
        ("conv8", ["8 × 28 × 28"]),
        ("conv8k29valid-gap-dense10", ["28 pixels", "^^^"]),
        ("conv8-conw9-gap-dense10", ["conw9", "^^^"]),
        ("FUNCTIONS:eleven", ["11 outputs", "10 classes"]),
        ("FUNCTIONS:two", ["tuple"]),
        ("FUNCTIONS:vectorless", ["10 × 28 × 28"]),
        ("FUNCTIONS:half", ["1.weight", "fp32"]),
        ("FUNCTIONS:says", ["_extra_state"]),
        ("FUNCTIONS:fails", ["not today"]),
        ("FUNCTIONS:number", ["int", "Module"]),
        ("FUNCTIONS:needs", ["width"]),
        ("FUNCTIONS:kept", ["each call"]),
        ("torchvision.models:resnet18", ["1000 outputs", "10 classes"]),
        ("nowhere.models:thing", ["nowhere"]),
    ],
)
def test_what_can_not_be_trained_is_refused_before_an_image_is_read(entries, functions, model, says):
    with pytest.raises(UsageError) as refused:
        chosen(entries(28, True), model.replace("FUNCTIONS", functions))
    said = f"{refused.value.message} {refused.value.hint}"
    assert refused.value.hint and all(words in said for words in says), said


@pytest.mark.parametrize(
    ("model", "near"),
    [
        ("lennet5", "lenet5"),
        ("resnet5O", "resnet50"),
        ("timm:resnt18", "resnet18"),
        ("torchvision:mobilenet_v3_lage", "mobilenet_v3_large"),
        ("FUNCTIONS:for_82", "for_28"),
        ("model:mnits", "mnist"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(entries, functions, model, near):
    with pytest.raises(UnknownName) as unknown:
        chosen(entries(28, True), model.replace("FUNCTIONS", functions))
    assert near in str(unknown.value.hint)


def test_an_onnx_file_is_refused(entries, tmp_path):
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [value("x", 1, [1, 3, 8, 8])],
        [value("y", 1, [1, 3, 8, 8])],
    )
    onnx.save(onnx.helper.make_model(graph), tmp_path / "net.onnx")
    with pytest.raises(UsageError, match=r"net\.onnx") as refused:
        chosen(entries(28, True), str(tmp_path / "net.onnx"))
    assert refused.value.hint


@pytest.mark.parametrize("model", ["conv64-flatten-dense999999-dense10", "conv999999k99-gap-dense10"])
def test_what_does_not_fit_into_the_memory_is_never_built(entries, model):
    """The least of these takes 200 GB."""
    with pytest.raises(MemoryShort, match=model) as short:
        chosen(entries(28, True), model, memory="4GiB")
    assert "GiB" in short.value.message and short.value.hint


def test_a_limit_that_one_image_fits_into_is_enough(entries):
    assert chosen(entries(28, True), "resnet18", memory="2GiB")[0] == (1, 64)


def test_a_resumed_run_does_not_look_at_the_model_again(entries):
    decisions = Decisions()
    config = TrainConfig(from_scratch=NOTEBOOK)
    route = choose_route(entries(28, True), config, decisions)
    gone = TrainConfig(from_scratch="runs/gone")
    again = choose_route([], gone, Decisions.from_dict(json.loads(json.dumps(decisions.to_dict()))))
    assert again == route and decisions.get(NETWORK) == {"architecture": "sketch", "text": NOTEBOOK}


def test_the_count_of_parameters_is_the_planner_s(entries):
    _, route = chosen(entries(28, True), NOTEBOOK)
    module = build(route.strategies[0].recipe.network(1, 10, 28))
    by_hand = 32 * 10 + 64 * (9 * 32 + 1) + 64 * (64 * 5 * 5 + 1) + 10 * 65
    assert sum(p.numel() for p in module.parameters()) == by_hand == plan(NOTEBOOK, input=(1, 28, 28)).parameters


@pytest.mark.parametrize(
    "network",
    [
        {"architecture": "zoo", "name": "lenet5", "channels": 1, "classes": 3},
        {"architecture": "sketch", "text": "conv4-gap-dense3", "shape": [1, 9, 9]},
        {"architecture": "torchvision", "name": "alexnet", "classes": 3, "shape": [1, 9, 9]},
        {"architecture": "function", "name": "a.b:c", "shape": [1, 9, 9]},
        {"architecture": "small", "channels": 1, "classes": 3, "stages": [[4], [8]], "kernel": 3},
    ],
)
def test_a_definition_is_what_the_data_do_not_decide(network):
    assert completed(definition_of(network), (1, 9, 9), 3) == network
    averaged = {"architecture": "shifted", "pixels": 1, "inner": network}
    assert definition_of({"architecture": "ensemble", "count": 2, "member": averaged}) == definition_of(network)


def test_classes_that_turn_out_to_be_fewer_are_noticed_before_training(entries):
    """One of three classes had no usable image."""
    _, route = chosen(entries(28, True, classes=3), "conv4-gap-dense3")
    with pytest.raises(UsageError, match=r"3 outputs.* 2 classes"):
        route.strategies[0].fit(context_with(), LadderState())
    _, route = chosen(entries(28, True, classes=3), "conv4-gap-dense2")
    ScratchTrainer(route.strategies[0].recipe, context_with())


def one_step(definition, **options):
    """A network after one step on images of 12 × 12 pixels in two classes, and the run that it was trained in."""
    recipe = replace(recipe_for(definition, 12), epochs=0.01, least_steps=1, batch_size=8)
    context = context_with(counts=(16, 8, 8), side=12, **options)
    return FromScratch(recipe).fit(context, LadderState()), context


def through_a_bundle(candidate, folder):
    """The network as it is loaded from the two files of its bundle."""
    bundle = make_bundle(
        candidate.trained,
        task="classify",
        classes=("2", "3"),
        label_map=None,
        calibration=Calibration({"n": 8}, 1.0, PredictionSets(0.9, 0.5)),
        provenance={},
    )
    save_bundle(bundle, folder)
    return load_bundle(folder)


@st.composite
def sketches(draw):
    """Networks for images of 12 × 12 pixels and two classes."""
    tokens, side = [], 12
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["conv", "valid", "pool2", "avg2", "relu", "bn", "lrn", "drop0.5"]))
        if kind == "conv":
            stride = draw(st.sampled_from([1, 2]))
            tokens.append(f"conv{draw(st.integers(1, 6))}k{draw(st.integers(1, 4))}s{stride}")
            side = (side - 1) // stride + 1
        elif kind == "valid" and side >= 3:
            tokens.append(f"conv{draw(st.integers(1, 6))}k3valid")
            side -= 2
        elif kind in ("pool2", "avg2") and side >= 2:
            tokens.append(kind)
            side //= 2
        elif kind not in ("valid", "pool2", "avg2"):
            tokens.append(kind)
    tokens.append(draw(st.sampled_from(["gap", "flatten"])))
    if draw(st.booleans()):
        tokens += [f"dense{draw(st.integers(1, 8))}", "relu"]
    return "-".join([*tokens, "dense2"])


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sketches())
def test_any_sketch_is_the_same_after_it_was_saved_and_loaded(tmp_path_factory, text):
    candidate, context = one_step({"architecture": "sketch", "text": text})
    assert candidate.steps == 1
    bundle = through_a_bundle(candidate, tmp_path_factory.mktemp("bundle"))
    trained = TrainedModel(bundle.tensors, bundle.manifest.preprocess, network=bundle.manifest.network)
    assert np.array_equal(predict_pixels(trained, context.pixels("test"), 2), candidate.logits["test"])
    again, _ = one_step({"architecture": "sketch", "text": text})
    assert all(np.array_equal(v, again.trained.tensors[k]) for k, v in candidate.trained.tensors.items())


def test_a_network_that_keeps_positions_and_masks_is_saved_and_loaded(functions, tmp_path):
    definition = {"architecture": "function", "name": f"{functions}:indexed"}
    candidate, _ = one_step(definition)
    bundle = through_a_bundle(candidate, tmp_path / "model")
    module = network_of(bundle)
    assert module.order.dtype == torch.int64 and module.mask.dtype == torch.bool
    assert candidate.trained.parameters == 144 * 2 + 2


def test_a_bundle_names_the_function_that_it_needs(functions, tmp_path, monkeypatch):
    name = f"{functions}:indexed"
    candidate, _ = one_step({"architecture": "function", "name": name})
    bundle = through_a_bundle(candidate, tmp_path / "model")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    monkeypatch.delitem(sys.modules, functions)
    with pytest.raises(BundleError, match=name) as missing:
        network_of(bundle)
    assert missing.value.hint
    changed = textwrap.dedent(FUNCTIONS).replace("flat(12, outputs=2)", "flat(12, outputs=3)")
    (tmp_path / f"{functions}.py").write_text(changed)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, functions, raising=False)
    sys.path_importer_cache.clear()
    with pytest.raises(BundleError, match=r"inner\.1"):
        network_of(bundle)
