"""MODEL: every form it may have, and what is said when it has none."""

import pytest
import torch

from foveal.errors import BundleError, UnknownName, UsageError
from foveal.models.resolve import resolve
from toy_backbone import NAME, toy_backbone


def parameters(resolved, shape=(3, 64, 64)):
    return sum(p.numel() for p in resolved.build(resolved.input or shape).parameters())


def test_a_timm_name():
    found = resolve("timm/resnet18")
    assert found.kind == "timm"
    assert found.input == (3, 224, 224)
    assert parameters(found) == 11_689_512  # as published with its weights


def test_classes_go_to_networks_made_anew():
    with_ten = parameters(resolve("timm/resnet18", classes=10))
    assert parameters(resolve("timm/resnet18")) - with_ten == 990 * 513


def test_a_shipped_bundle_and_its_folder():
    found = resolve("model:mnist")
    assert found.kind == "bundle"
    assert found.input is not None
    assert parameters(found) == parameters(resolve(found.path))


def test_a_run_folder(trained):
    found = resolve(trained[0])
    assert found.kind == "bundle"
    assert isinstance(found.build(found.input), torch.nn.Module)


def test_a_function():
    found = resolve("torchvision.models:alexnet")
    assert found.kind == "function"
    assert parameters(found) == 61_100_840  # as torchvision's page gives it


@pytest.mark.parametrize("name", ["torchvision:mobilenet_v2", "mobilenet_v2"])
def test_a_torchvision_name(name):
    found = resolve(name)
    assert found.kind == "torchvision" and found.input == (3, 224, 224)
    assert parameters(found) == 3_504_872  # as published with its weights
    assert parameters(found) - parameters(resolve(name, classes=10)) == 990 * 1281


def test_torchvision_says_what_size_it_takes_and_that_it_takes_colour():
    found = resolve("torchvision:inception_v3")
    assert found.input == (3, 299, 299)
    with pytest.raises(UsageError, match="3 channels"):
        found.build((1, 299, 299))


def test_the_zoo_and_timm_come_before_torchvision():
    assert resolve("resnet18").kind == "zoo" and resolve("torchvision:resnet18").kind == "torchvision"
    assert resolve("wide_resnet50_2").kind == "timm"


def test_a_packaged_backbone_is_planned_as_the_network_that_it_is():
    assert parameters(resolve("lite0")) == parameters(resolve("tf_efficientnet_lite0"))


def test_a_backbone_from_outside_is_a_model_too():
    with pytest.raises(UnknownName):
        resolve(NAME)
    with toy_backbone():
        found = resolve(NAME, classes=5)
        assert found.kind == "backbone" and found.build((3, 32, 32))(torch.zeros(2, 3, 32, 32)).shape == (2, 5)


def test_a_sketch():
    assert resolve("conv8k3-gap-dense2").kind == "sketch"


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("resnet5O", UnknownName, "resnet"),
        ("model:mnits", UnknownName, "mnist"),
        ("torchvision:mobilenet_v3_lage", UnknownName, "mobilenet_v3_large"),
        ("nowhere.models:thing", UsageError, "nowhere"),
        ("torchvision.models:alexnett", UnknownName, "alexnet"),
        ("torchvision.models:get_model", UsageError, "arguments"),
        ("os.path:abspath", UsageError, "arguments"),
        ("os:getcwd", UsageError, "Module"),
        ("absent.onnx", UsageError, "absent.onnx"),
        ("conv8-conw9", UsageError, "^"),
        ("", UnknownName, ""),
    ],
)
def test_what_it_is_not(text, error, says):
    with pytest.raises(error) as caught:
        parameters(resolve(text))
    assert says in f"{caught.value.message} {caught.value.hint}"


def test_an_empty_folder(tmp_path):
    with pytest.raises(BundleError):
        resolve(tmp_path)
