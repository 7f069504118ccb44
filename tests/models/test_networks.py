"""Networks by their description: small ones, ensembles, and refusal of what is unknown."""

import pytest
import torch

from foveal.errors import BundleError
from foveal.models.networks import build, with_weights
from foveal.training.recipes.scratch import COLOUR_RECIPES, RECIPES


@pytest.mark.parametrize("recipe", [*RECIPES, *COLOUR_RECIPES], ids=lambda r: r.name)
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32), (1, 8), (1, 3), (3, 1)])
def test_every_recipe_makes_a_network_for_any_small_image(recipe, channels, size):
    network = recipe.network(channels, 7, size)
    module = build(network)
    assert module.eval()(torch.zeros(2, channels, size, size)).shape == (2, 7)
    features = module.forward_features(torch.zeros(2, channels, size, size))
    assert torch.equal(module.forward_head(features), module(torch.zeros(2, channels, size, size)))


def test_an_ensemble_averages_probabilities():
    network = {"architecture": "small", "channels": 1, "classes": 3, "stages": [[4], [6]]}
    members = [build(network).eval() for _ in range(3)]
    state = {f"members.{i}.{k}": v.numpy() for i, m in enumerate(members) for k, v in m.state_dict().items()}
    whole = with_weights({"architecture": "ensemble", "member": network, "count": 3}, state)
    image = torch.rand(5, 1, 10, 10)
    expected = torch.stack([m(image).softmax(dim=1) for m in members]).mean(dim=0)
    assert torch.allclose(whole(image).exp(), expected, atol=1e-6)


@pytest.mark.parametrize("pixels", [0, 1])
def test_mirrored_views_are_averaged_as_probabilities(pixels):
    network = {"architecture": "small", "channels": 3, "classes": 3, "stages": [[4], [6]]}
    torch.manual_seed(0)
    mirrored = build({"architecture": "shifted", "inner": network, "pixels": pixels, "mirror": True}).eval()
    plain = build({"architecture": "shifted", "inner": network, "pixels": pixels}).eval()
    plain.load_state_dict(mirrored.state_dict())
    image = torch.rand(5, 3, 10, 10)
    assert torch.allclose(mirrored(image), mirrored(image.flip(3)), atol=1e-5)
    assert not torch.allclose(plain(image), plain(image.flip(3)), atol=1e-3)
    expected = (plain(image).exp() + plain(image.flip(3)).exp()) / 2
    assert torch.allclose(mirrored(image).exp(), expected, atol=1e-5)


@pytest.mark.parametrize(
    "network", [{}, {"architecture": "vgg"}, {"architecture": "small", "depth": 3}, {"architecture": "ensemble"}]
)
def test_an_unknown_network_is_a_bundle_error(network):
    with pytest.raises(BundleError):
        build(network)
