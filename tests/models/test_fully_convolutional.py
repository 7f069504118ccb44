"""A converted classifier against the classifier itself: at its own size, on every window, in tiles."""

import pytest
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from foveal.errors import UsageError
from foveal.models import zoo
from foveal.models.backbone_stages import split_into_stages
from foveal.models.backbones import find_backbone, load_network
from foveal.models.fcn_conversion.agreement import compare_with_crops
from foveal.models.fcn_conversion.convert import convert
from foveal.models.fcn_conversion.tiling import predict_in_tiles
from foveal.models.linear_probe import linear_probe
from foveal.models.networks import build

pytestmark = pytest.mark.slow

tv = torchvision.models
SMALL = {
    "architecture": "small",
    "channels": 3,
    "classes": 5,
    "stages": [[8, 8], [12, 12], [16]],
}


def hanging():
    """Poolings whose last window hangs over the edge, padding of all kinds, an uneven kernel, a branch."""
    layers = [
        nn.Conv2d(3, 8, 3, 2, padding=1),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(8, 8, 4, padding="same", padding_mode="reflect"),
        nn.ReLU(),
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.AvgPool2d(3, 2),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, padding_mode="replicate"),
        nn.MaxPool2d(2, ceil_mode=True),
    ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


#: Name → (make, side of the training pictures). Any side will do for most: the windows are then that large.
CLASSIFIERS = {
    "zoo lenet5": (lambda: zoo.create("lenet5", channels=3), 32),
    "zoo lenet5, uneven pooling": (lambda: zoo.create("lenet5", channels=3), 44),
    "zoo lenet5_modern": (lambda: zoo.create("lenet5_modern", channels=3), 32),
    "zoo alexnet": (lambda: zoo.create("alexnet"), 227),
    "zoo alexnet, uneven pooling": (lambda: zoo.create("alexnet", classes=7), 264),
    "zoo vgg16, pooling that repeats": (lambda: zoo.create("vgg16", classes=7), 32),
    "zoo googlenet": (lambda: zoo.create("googlenet"), 96),
    "zoo resnet18": (lambda: zoo.create("resnet18"), 224),
    "zoo plain34": (lambda: zoo.create("plain34"), 64),
    "zoo seresnet50": (lambda: zoo.create("seresnet50"), 64),
    "zoo seresnet18": (lambda: zoo.create("seresnet18"), 64),
    "zoo xception": (lambda: zoo.create("xception"), 96),
    "zoo alexnet_single": (lambda: zoo.create("alexnet_single", classes=7), 224),
    "hanging": (hanging, 64),
    "small": (lambda: build(SMALL), 40),
    "ensemble": (lambda: build({"architecture": "ensemble", "member": SMALL, "count": 2}), 40),
    "timm tf_efficientnet_lite0": (lambda: timm.create_model("tf_efficientnet_lite0"), 96),
    "timm mobilenetv3_small_050": (lambda: timm.create_model("mobilenetv3_small_050"), 96),
    "timm convnext_atto": (lambda: timm.create_model("convnext_atto"), 96),
    "torchvision squeezenet1_1": (tv.squeezenet1_1, 96),
    "torchvision mobilenet_v3_small": (tv.mobilenet_v3_small, 96),
    "torchvision alexnet": (lambda: tv.alexnet(num_classes=7), 224),
}


def alive(network, seed=0):
    """The network with statistics and biases that are no defaults, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.running_mean.normal_(std=0.1, generator=generator)
            module.running_var.uniform_(0.6, 1.2, generator=generator)
    return network.eval()


def made(name):
    torch.manual_seed(0)
    make, size = CLASSIFIERS[name]
    return alive(make()), size


def picture(height, width, channels=3, count=1, seed=5):
    return torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(seed))


#: Others of their family stand for these here; their own tests are below.
_ELSEWHERE = {"zoo seresnet50", "zoo alexnet_single"}


@pytest.mark.parametrize("name", [n for n in CLASSIFIERS if n not in _ELSEWHERE])
@torch.inference_mode()
def test_at_the_training_size_the_answer_is_the_networks(name):
    network, size = made(name)
    converted = convert(network, size=size)
    x = picture(size, size, count=2)
    expected = network(x)
    found = converted(x)
    assert found.shape == (*expected.shape, 1, 1)
    assert (found[:, :, 0, 0] - expected).abs().max() <= 1e-5 * expected.abs().max()


def unpadded(kernel, stride, pool, batch_norm):
    """A network whose every layer is exact: no padding, a flattened map, three dense layers."""
    layers = [nn.Conv2d(3, 6, kernel, stride), nn.Tanh(), pool, nn.Conv2d(6, 8, 3, dilation=2), nn.ReLU()]
    trunk = nn.Sequential(*layers)
    side = 40
    flat = trunk(torch.zeros(1, 3, side, side)).flatten(1).shape[1]
    norm = [nn.BatchNorm1d(16), nn.LayerNorm(16)] if batch_norm else []
    return nn.Sequential(
        trunk, nn.Flatten(), nn.Linear(flat, 16), *norm, nn.ReLU(), nn.Dropout(), nn.Linear(16, 9), nn.Linear(9, 4)
    ), side


@torch.inference_mode()
def check_every_window(network, size, *, grow=(3, 6)):
    converted = convert(network, size=size)
    remainder = converted.stride - 1
    x = picture(size + grow[0] * converted.stride + remainder, size + grow[1] * converted.stride)
    found = converted(x)
    assert found.shape[2:] == (grow[0] + 1, grow[1] + 1) and converted.padded == () and converted.mixing == ()
    for i in range(found.shape[2]):
        for j in range(found.shape[3]):
            y, z = i * converted.stride, j * converted.stride
            alone = network(x[:, :, y : y + size, z : z + size])[0]
            assert (found[0, :, i, j] - alone).abs().max() <= 1e-4 * alone.abs().max(), (i, j)
    assert found.flatten(2).std(dim=2).min() > 0  # the answers do differ from place to place


@settings(max_examples=8, deadline=None)
@given(
    kernel=st.integers(1, 6),
    stride=st.integers(1, 3),
    pool=st.sampled_from([nn.MaxPool2d(2), nn.AvgPool2d(3, 2), nn.Identity(), nn.LPPool2d(2, 2)]),
    batch_norm=st.booleans(),
)
def test_without_padding_every_answer_is_the_networks_on_that_window(kernel, stride, pool, batch_norm):
    torch.manual_seed(0)
    network, size = unpadded(kernel, stride, pool, batch_norm)
    check_every_window(alive(network), size)


@pytest.mark.parametrize("name", ["lenet5", "lenet5_modern"])
@pytest.mark.parametrize("size", [32, 36, 41])
def test_every_window_of_networks_of_the_zoo(name, size):
    """At 36 and 41 the adaptive pooling before the dense layers is uneven, and folded into their kernel."""
    torch.manual_seed(0)
    check_every_window(zoo.create(name, channels=3).eval(), size)


@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)])
def test_every_window_with_a_global_pooling(pool):
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.Conv2d(8, 8, 3), pool, nn.Flatten(), nn.Linear(8, 4)]
    check_every_window(nn.Sequential(*layers, nn.LogSoftmax(-1)).eval(), 33)


@torch.inference_mode()
def test_a_1x1_convolution_is_right_only_for_the_later_dense_layers():
    """ "Replace dense layers by 1 × 1 convolutions": the first one needs the map's own size as its kernel."""
    torch.manual_seed(0)
    network = zoo.create("lenet5_modern", channels=3).eval()
    converted = convert(network, size=32)
    kernels = [m.kernel_size for m in converted.body.head.modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [(5, 5), (1, 1), (1, 1)]
    maps = network.forward_features(picture(32, 32))
    first = network.head.c5[0]
    with pytest.raises(RuntimeError):  # a 1 × 1 has a weight for each of 16 channels; the layer has 16 · 5 · 5
        nn.functional.conv2d(maps, first.weight[:, :, None, None], first.bias)
    # What does fit, a weight for each channel and an average over the places, is another network.
    averaged = first.weight.view(120, 16, 25).mean(2)[:, :, None, None]
    wrong = nn.functional.conv2d(maps.mean((2, 3), keepdim=True) * 25, averaged, first.bias).flatten(1)
    right = first(maps.flatten(1))
    assert (wrong - right).abs().max() > 0.1 * right.abs().max()


@torch.inference_mode()
def test_after_an_average_over_all_places_a_1x1_convolution_is_right():
    converted = convert(made("zoo resnet18")[0], size=224)
    head = list(converted.body.head.children())
    pools = [m.kernel_size for m in converted.body.head.modules() if isinstance(m, nn.AvgPool2d)]
    kernels = [m.kernel_size for m in converted.body.head.modules() if isinstance(m, nn.Conv2d)]
    assert head and pools == [(7, 7)] and kernels == [(1, 1)]


@pytest.mark.parametrize("name", ["zoo resnet18", "timm tf_efficientnet_lite0", "zoo seresnet18"])
def test_with_padding_the_difference_is_measured(name):
    network, _ = made(name)
    size = 96
    converted = convert(network, size=size)
    x = picture(size + 3 * 32, size + 4 * 32)
    measured = compare_with_crops(network, converted, x, places=20)
    with torch.inference_mode():
        corner = network(x[:, :, :size, :size])[0]
        last = network(x[:, :, 96:, 128:])[0]
        found = converted(x)[0]
    by_hand = [(found[:, 0, 0] - corner).abs().max(), (found[:, -1, -1] - last).abs().max()]
    assert measured.places == 20 and 0 < measured.mean <= measured.largest <= 1 and 0 <= measured.same <= 1
    assert measured.relative >= 0.99 * float(max(by_hand) / max(corner.abs().max(), 5 * last.abs().max()))
    assert compare_with_crops(network, converted, x[:, :, :size, :size]).relative < 1e-5


@pytest.mark.parametrize("name", ["zoo resnet18", "zoo googlenet", "zoo lenet5", "zoo alexnet"])
def test_layers_that_pad_are_named(name):
    network, size = made(name)
    found = set(convert(network, size=size).padded)
    pads = {
        n
        for n, m in network.named_modules()
        if isinstance(m, nn.Conv2d | nn.MaxPool2d) and max(nn.modules.utils._pair(m.padding)) > 0
    }
    ceiled = {n for n, m in network.named_modules() if isinstance(m, nn.MaxPool2d) and m.ceil_mode}
    assert pads <= found <= pads | ceiled


def test_layers_in_which_every_place_sees_all_others_are_named():
    network, size = made("zoo seresnet50")
    gates = tuple(n for n, m in network.named_modules() if type(m).__name__ == "SqueezeExcitation")
    assert len(gates) == 16 and convert(network, size=size).mixing == gates
    network, size = made("timm mobilenetv3_small_050")
    gates = {n for n, m in network.named_modules() if type(m).__name__ == "SqueezeExcite"}
    assert gates and set(convert(network, size=size).mixing) == gates
    assert convert(made("zoo resnet18")[0], size=64).mixing == ()


@pytest.mark.parametrize(
    ("name", "size"), [("zoo resnet18", 64), ("hanging", 64), ("zoo alexnet_single", 224), ("zoo lenet5", 32)]
)
@torch.inference_mode()
def test_an_answer_depends_on_nothing_beyond_its_halo(name, size):
    network = made(name)[0]
    converted = convert(network, size=size)
    reach = -(-converted.halo // converted.stride)
    x = picture(size + converted.stride, size + converted.stride * (2 * reach + 3))
    changed = x.clone()
    left, right = (
        (reach + 1) * converted.stride - converted.halo,
        (reach + 1) * converted.stride + size + converted.halo,
    )
    changed[..., :left] = 9.0
    changed[..., right:] = -9.0
    before, after = converted(x), converted(changed)
    assert torch.equal(before[..., reach + 1], after[..., reach + 1])
    assert not torch.equal(before[..., 0], after[..., 0])


# Networks that see a thousand pixels need pictures of several thousand to be tiled at all: minutes, each.
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("zoo resnet18", 64),
        ("hanging", 64),
        ("zoo lenet5_modern", 32),
        ("ensemble", 40),
    ],
)
@torch.inference_mode()
def test_tiles_give_the_answer_of_one_pass(name, size):
    network = made(name)[0]
    converted = convert(network, size=size)
    most = size + 2 * (converted.halo + converted.stride) + 2 * converted.stride
    # Both ways where that is cheap, otherwise across only.
    height = most + 3 * converted.stride + 5 if most < 300 else size + converted.stride
    x = picture(height, 2 * most + 17)
    counted = []
    whole, tiled = converted(x), predict_in_tiles(converted, x, longest=most, on_each=counted.append)
    assert len(counted) >= (4 if height > most else 2) and sum(counted) == whole.shape[2] * whole.shape[3]
    assert tiled.shape == whole.shape and (tiled - whole).abs().max() <= 1e-5 * whole.abs().max()


def test_tiles_that_would_change_the_answer_are_refused():
    network = convert(made("zoo seresnet18")[0], size=64)
    with pytest.raises(UsageError, match=r"trunk\.stage1\.0\.inner\.2"):
        predict_in_tiles(network, picture(200, 200), longest=128)
    assert predict_in_tiles(network, picture(96, 128), longest=128).shape[2:] == (2, 3)
    with pytest.raises(UsageError):
        predict_in_tiles(convert(made("zoo resnet18")[0], size=64), picture(300, 300), longest=128)


def test_sizes():
    network = convert(made("zoo lenet5_modern")[0], size=32)
    assert [network.outputs(n) for n in (31, 32, 35, 36)] == [0, 1, 1, 2]
    assert [network.covering(n) for n in (1, 32, 33, 36, 37)] == [32, 32, 36, 36, 40]
    with pytest.raises(UsageError, match="32") as caught:
        network(picture(31, 50))
    assert "32 × 32" in caught.value.hint


class Thrice(nn.Module):
    """A head that no larger map has an equal for."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.rows = nn.Linear(30, 5)

    def forward(self, x):
        return self.rows(self.conv(x)).mean((2, 3))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        x = self.conv(x).mean((2, 3))
        return self.out(x) if x.sum() > 0 else -self.out(x)


def sequence(*head):
    return nn.Sequential(nn.Conv2d(3, 4, 3), *head)


@pytest.mark.parametrize(
    ("make", "size", "words"),
    [
        (lambda: timm.create_model("test_vit"), 160, r"\(2, 101, 64\)"),
        (
            lambda: sequence(nn.AdaptiveMaxPool2d(7), nn.Flatten(), nn.Linear(196, 2)),
            32,
            r"1 \(AdaptiveMaxPool2d\)",
        ),
        (lambda: sequence(nn.Flatten(2), nn.GRU(900, 5)), 32, r"1 \(Flatten\)"),
        (lambda: sequence(nn.Flatten(), nn.BatchNorm1d(3600), nn.Linear(3600, 2)), 32, r"2 \(BatchNorm1d\)"),
        (lambda: sequence(nn.AdaptiveAvgPool2d(7), nn.ReLU(), nn.Flatten(), nn.Linear(196, 2)), 32, r"2 \(ReLU\)"),
        (Thrice, 32, r"rows \(Linear\)"),
        (
            lambda: sequence(nn.AdaptiveAvgPool2d(9), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(196, 2)),
            32,
            r"2 \(Conv2d\)",
        ),
        (Branching, 32, "Branching"),
        (sequence, 32, "Sequential"),
    ],
)
def test_what_cannot_be_converted_is_named(make, size, words):
    with pytest.raises(UsageError, match=words) as caught:
        convert(make(), size=size)
    assert caught.value.hint


@torch.inference_mode()
def test_views_are_left_out_and_that_is_said():
    torch.manual_seed(0)
    network = alive(build({"architecture": "shifted", "inner": SMALL, "pixels": 1, "mirror": True}))
    converted = convert(network, size=40)
    x = picture(40, 40)
    assert torch.allclose(converted(x)[:, :, 0, 0], network.inner(x), atol=1e-5)
    assert "shifts by 1 pixels" in converted.remarks[0] and "mirrored" in converted.remarks[1]


def test_weights_are_shared_not_copied():
    network, size = made("zoo alexnet")
    converted = convert(network, size=size)
    owned = {p.untyped_storage().data_ptr() for p in network.parameters()}
    assert {p.untyped_storage().data_ptr() for p in converted.parameters()} == owned


@pytest.mark.parametrize("stages", [False, True])
@torch.inference_mode()
def test_a_head_on_a_frozen_trunk(stages):
    """Lite0 with its packaged weights; with stages, each slides over its own map. Pictures that differ by a shift
    of the whole stride get the same answers, far from any border."""
    backbone = find_backbone()
    generator = torch.Generator().manual_seed(0)
    width = backbone.dimension + (backbone.stage_dimension if stages else 0)
    head = (torch.randn(4, width, generator=generator).numpy() / 40, torch.randn(4, generator=generator).numpy())
    network = linear_probe(load_network(backbone), *head, backbone.dimension)
    x = picture(224, 224, count=2)
    maps = split_into_stages(load_network(backbone)).maps(x)
    features = torch.cat([maps[0], *(nn.functional.adaptive_avg_pool2d(m, 2).flatten(1) for m in maps[1:])], dim=1)
    expected = features[:, :width] @ torch.from_numpy(head[0]).T + torch.from_numpy(head[1])
    converted = convert(network, size=224)
    assert converted.stride == 32
    assert (converted(x)[:, :, 0, 0] - expected).abs().max() <= 1e-5 * expected.abs().max()
    side = 224 + 2 * 448  # answers 14 and 15 see nothing of a border
    large = picture(224, side)
    answers = converted(large)
    shifted = converted(large[..., 32:])
    assert (answers[..., 15] - shifted[..., 14]).abs().max() <= 1e-4 * answers.abs().max()
    measured = compare_with_crops(network, converted, large[..., : 224 + 3 * 32])
    assert measured.places == 4 and measured.relative > 0


@torch.inference_mode()
def test_a_tuned_network():
    torch.manual_seed(0)
    network = alive(build({"architecture": "tuned", "backbone": "lite0", "dimension": 1280, "classes": 4}))
    x = picture(96, 96, count=2)
    expected = network(x)
    assert (convert(network, size=96)(x)[:, :, 0, 0] - expected).abs().max() <= 1e-5 * expected.abs().max()
