"""Twins: random weights of torchvision's and timm's networks, loaded into ours, give the same answers."""

from functools import partial

import pytest
import timm
import torch
import torchvision
from timm.layers import SEModule
from timm.models.resnet import BasicBlock
from timm.models.resnet import ResNet as TimmResNet

from foveal.errors import BundleError
from foveal.models import zoo
from twins import load_in_order

tv = torchvision.models


def timm_se(blocks):
    """timm's own code with the paper's reduction: its named models round 64 / 16 = 4 up to 8."""
    layer = partial(SEModule, rd_ratio=1 / 16, rd_divisor=1)
    return TimmResNet(BasicBlock, blocks, block_args={"attn_layer": layer})


#: Ours → theirs, side of the picture (the published one where it costs little).
TWINS = {
    "alexnet_single": (tv.alexnet, 224),
    "vgg16": (tv.vgg16, 64),
    "googlenet_bn": (lambda: tv.googlenet(aux_logits=False, init_weights=False), 224),
    **{f"resnet{d}": (getattr(tv, f"resnet{d}"), 224 if d < 50 else 96) for d in (18, 34, 50, 101, 152)},
    "seresnet18": (lambda: timm_se((2, 2, 2, 2)), 96),
    "seresnet34": (lambda: timm_se((3, 4, 6, 3)), 96),
    **{f"seresnet{d}": (partial(timm.create_model, f"seresnet{d}"), 96) for d in (50, 101, 152)},
    "senet154": (partial(timm.create_model, "legacy_senet154"), 75),
    "xception": (partial(timm.create_model, "legacy_xception"), 139),
}


def random_state(module, seed):
    """Weights that keep signals at their size, and statistics that are no defaults, for a module on `meta`."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in module.state_dict().items():
        drawn = torch.empty(value.shape)
        if value.ndim > 1:
            drawn.normal_(std=(2.0 / value[0].numel()) ** 0.5, generator=generator)
        elif name.endswith(("weight", "running_var")):
            drawn.uniform_(0.3, 0.9, generator=generator)
        elif value.ndim:
            drawn.normal_(std=0.1, generator=generator)
        else:
            drawn = torch.zeros(value.shape, dtype=value.dtype)
        state[name] = drawn
    return state


@pytest.mark.parametrize("name", TWINS)
def test_answers_are_those_of_the_twin(name):
    make, side = TWINS[name]
    with torch.device("meta"):
        theirs, ours = make().eval(), zoo.create(name).eval()
    state = random_state(theirs, seed=7)
    theirs.load_state_dict(state, assign=True)
    ours.load_state_dict(
        {k: torch.empty(v.shape, dtype=v.dtype) for k, v in ours.state_dict().items()}, assign=True
    )
    load_in_order(ours, state)
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected, found = theirs(x), ours(x)
    size = expected.abs().max()
    assert torch.isfinite(expected).all() and (expected[0] - expected[1]).abs().max() > 0.01 * size
    assert (found - expected).abs().max() <= 1e-5 * size


@pytest.mark.parametrize("name", ["resnet18", "googlenet_bn"])
def test_training_is_the_same_too(name):
    """Gradients of all weights: batch normalisation in training mode included."""
    theirs = TWINS[name][0]().train()
    ours = zoo.create(name).train()
    load_in_order(ours, theirs.state_dict())
    for module in (*theirs.modules(), *ours.modules()):
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    gradients = []
    for network in (theirs, ours):
        torch.nn.functional.cross_entropy(network(x), torch.tensor([1, 2])).backward()
        gradients.append([p.grad for p in network.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert (a - b).abs().max() <= 1e-4 * a.abs().max() + 1e-9


def test_another_networks_weights_are_refused():
    with torch.device("meta"):
        ours = zoo.create("resnet18")
        with pytest.raises(BundleError, match=f"{len(tv.resnet34().state_dict())}.*{len(ours.state_dict())}"):
            load_in_order(ours, tv.resnet34().state_dict())
        with pytest.raises(BundleError, match=r"fc\.weight.*\(5, 512\).*head\.classifier\.weight.*\(1000, 512\)"):
            load_in_order(ours, tv.resnet18(num_classes=5).state_dict())
