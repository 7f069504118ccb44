"""The contract of every network: features, head, taps, any channels, classes and size; errors that help."""

import math

import pytest
import torch
from torch import nn

from foveal.errors import FovealError, UnknownName, UsageError
from foveal.models import zoo
from foveal.models.networks import build, with_weights

#: One of each kind and form: the others differ from these in depth alone.
KINDS = tuple(
    n for n in zoo.names() if n not in ("resnet101", "resnet152", "seresnet34", "seresnet101", "seresnet152")
)
CHEAP = ("lenet5", "lenet5_modern", "alexnet", "googlenet", "resnet18", "seresnet18", "xception")


def made(name, **options):
    """A network without memory for its weights: shapes are what is asked here."""
    with torch.device("meta"):
        return zoo.create(name, **options).eval()


def empty(*shape):
    return torch.empty(*shape, device="meta")


@pytest.mark.parametrize("name", KINDS)
def test_features_head_and_whole(name):
    network, card = made(name), zoo.card(name)
    maps = network.forward_features(empty(2, *card.input_shape))
    assert maps.ndim == 4 and maps.shape[1] == network.num_features
    assert network.forward_head(maps).shape == network(empty(2, *card.input_shape)).shape == (2, card.classes)
    last = [m for m in network.head.modules() if isinstance(m, nn.Linear | nn.Conv2d) or hasattr(m, "codes")][-1]
    width = last.in_features if isinstance(last, nn.Linear) else last.codes.shape[1]
    assert network.forward_head(maps, pre_logits=True).shape == (2, width)


@pytest.mark.parametrize("name", KINDS)
def test_feature_info_tells_the_truth(name):
    """Each tap puts out what it says: watched while the network runs, at two sizes that differ by 4096 pixels."""
    network, card = made(name), zoo.card(name)
    shapes = {}
    for tap in network.feature_info:
        network.get_submodule(tap.module).register_forward_hook(
            lambda _, __, out, key=tap.module: shapes.setdefault(key, []).append(tuple(out.shape[1:]))
        )
    for side in (card.input_size, card.input_size + 4096):
        network.forward_features(empty(1, card.channels, side, side))
    for tap in network.feature_info:
        (c, h, _), (_, large, _) = shapes[tap.module]
        assert (c, 4096 / (large - h)) == (tap.channels, tap.stride), tap
    strides = [tap.stride for tap in network.feature_info]
    assert strides == sorted(set(strides)) and shapes[tap.module][0][0] == network.num_features


@pytest.mark.parametrize("name", KINDS)
def test_any_channels_and_classes(name):
    size = zoo.card(name).input_size
    assert made(name, channels=1, classes=37)(empty(2, 1, size, size)).shape == (2, 37)


@pytest.mark.parametrize("name", KINDS)
def test_any_size_from_the_smallest_on(name):
    network, card = made(name), zoo.card(name)
    n = network.smallest
    for height, width in ((n, n), (n, n + 77), (3 * n + 1, n), (400, 301)):
        assert network(empty(1, card.channels, height, width)).shape == (1, card.classes)
    with pytest.raises(UsageError) as caught:
        network(empty(1, card.channels, n - 1, 300))
    assert f"{n - 1} × 300" in str(caught.value) and f"{n} × {n}" in caught.value.hint


@pytest.mark.parametrize("name", KINDS)
def test_the_smallest_size_is_the_smallest(name):
    """One pixel less and torch itself can't compute it, or the picture is smaller than one stride."""
    network, card = made(name), zoo.card(name)
    if network.smallest == network.feature_info[-1].stride:
        return
    with pytest.raises(RuntimeError):
        network.trunk(empty(1, card.channels, network.smallest - 1, network.smallest - 1))


def test_wrong_channels_are_named():
    with pytest.raises(UsageError) as caught:
        made("resnet18")(empty(1, 1, 64, 64))
    assert "channels=1" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "near"), [("resnet5O", "resnet50"), ("alexnett", "alexnet"), ("LeNet55", "lenet5")]
)
def test_an_unknown_name_suggests_the_nearest(given, near):
    for ask in (zoo.create, zoo.card):
        with pytest.raises(UnknownName) as caught:
            ask(given)
        assert caught.value.near == near


def test_nonsense_is_refused():
    for options in ({"classes": 0}, {"channels": 0}):
        with pytest.raises(FovealError, match="0 c"):
            zoo.create("lenet5", **options)


@pytest.mark.parametrize("name", CHEAP)
def test_every_weight_learns(name):
    """A step back from the loss reaches all of them, through the published size."""
    torch.manual_seed(0)
    network, card = zoo.create(name, classes=3).train(), zoo.card(name)
    x = torch.randn(2, *card.input_shape)
    nn.functional.cross_entropy(network(x), torch.tensor([0, 2])).backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_the_auxiliary_classifiers_listen_to_what_the_paper_says():
    torch.manual_seed(0)
    network = zoo.create("googlenet", classes=7, auxiliary=True).eval()
    x = torch.randn(2, 3, 224, 224)
    maps = {}
    for name in ("inception4a", "inception4d"):
        network.trunk.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: maps.__setitem__(name, out)
        )
    with torch.inference_mode():
        answers = network.forward_with_auxiliaries(x)
        assert torch.equal(answers[0], network(x))
        for answer, head, (name, maps_) in zip(answers[1:], network.auxiliary, maps.items(), strict=True):
            assert torch.equal(answer, head(maps_)), name
            assert head[0](maps_).shape[2:] == (4, 4)  # section 5: "an 4×4×512 output for the (4a)"
    assert [maps["inception4a"].shape[1], maps["inception4d"].shape[1]] == [512, 528]
    with pytest.raises(RuntimeError):
        zoo.create("googlenet", classes=7).forward_with_auxiliaries(x)


def test_initial_weights_are_those_of_the_paper():
    """AlexNet, section 5: N(0, 0.01²), biases 1 in conv2, conv4, conv5 and the hidden dense layers."""
    torch.manual_seed(0)
    network = zoo.create("alexnet", classes=10)
    convolutions = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    for name, module in convolutions.items():
        assert math.isclose(float(module.weight.detach().std()), 0.01, rel_tol=0.1), name
    ones = [n.split(".")[1] for n, m in convolutions.items() if (m.bias == 1).all()]
    assert ones == ["conv2", "conv4", "conv5", "fc6", "fc7"]


@pytest.mark.parametrize("name", ["lenet5", "googlenet_bn"])
def test_a_bundle_can_name_them(name):
    """`bundle.json` says `{"architecture": "zoo", "name": …}`; the weights go through numpy and come back."""
    torch.manual_seed(0)
    network = zoo.create(name, classes=4, channels=1).eval()
    tensors = {k: v.numpy() for k, v in network.state_dict().items()}
    again = with_weights({"architecture": "zoo", "name": name, "classes": 4, "channels": 1}, tensors)
    x = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        assert torch.equal(again(x), network(x))


def test_a_bundle_with_an_unknown_name_is_refused():
    with pytest.raises(FovealError, match="resnet5"):
        build({"architecture": "zoo", "name": "resnet5", "classes": 2, "channels": 3})
