"""Parameters: exactly the published numbers, and each derived once more from its paper's definition, by hand."""

import itertools

import pytest
import timm
import torch
import torchvision

from foveal.models import zoo
from foveal.models.zoo.googlenet import TABLE

#: Where the number was published: the paper itself, or the library whose network it is.
PUBLISHED = {
    "lenet5": 60_000,  # LeCun et al. 1998, section II.B: "60,000 trainable free parameters"
    "lenet5_modern": 61_706,
    "alexnet": 60_965_224,
    "alexnet_single": 61_100_840,
    "googlenet": 6_998_552,
    "googlenet_bn": 6_624_904,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "seresnet50": 28_088_024,
    "senet154": 115_088_984,
    "xception": 22_855_952,  # Chollet 2016, table 3
    "vgg16": 138_357_544,
}


def made(name, **options):
    """A network without memory for its weights."""
    with torch.device("meta"):
        return zoo.create(name, **options)


def count(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def conv(c, d, kernel, *, groups=1, bias=True):
    return d * (c // groups) * kernel**2 + (d if bias else 0)


def conv_bn(c, d, kernel, *, groups=1):
    return conv(c, d, kernel, groups=groups, bias=False) + 2 * d


def dense(c, d):
    return c * d + d


def lenet5():
    """LeCun et al. 1998, section II.B, layer by layer, with the numbers printed there."""
    layers = {"C1": 156, "S2": 12, "C3": 1516, "S4": 32, "C5": 48120, "F6": 10164}
    assert layers["C1"] == conv(1, 6, 5) and layers["C5"] == conv(16, 120, 5) and layers["F6"] == dense(120, 84)
    assert layers["C3"] == 60 * 25 + 16  # sixty connections in table I
    return sum(layers.values())


def alexnet(widths, groups, flat=9216):
    c1, c2, c3, c4, c5 = widths
    g2, g4, g5 = groups
    convolutions = (
        conv(3, c1, 11)
        + conv(c1, c2, 5, groups=g2)
        + conv(c2, c3, 3)
        + conv(c3, c4, 3, groups=g4)
        + conv(c4, c5, 3, groups=g5)
    )
    return convolutions + dense(flat, 4096) + dense(4096, 4096) + dense(4096, 1000)


def inception(layer, largest):
    total = layer(3, 64, 7) + layer(64, 64, 1) + layer(64, 192, 3) + dense(1024, 1000)
    c = 192
    for w in TABLE.values():
        total += layer(c, w.one, 1) + layer(c, w.reduce3, 1) + layer(w.reduce3, w.three, 3)
        total += layer(c, w.reduce5, 1) + layer(w.reduce5, w.five, largest) + layer(c, w.pool, 1)
        c = w.one + w.three + w.five + w.pool
    return total


def residual(blocks, *, bottleneck, shortcuts=True, squeeze=False):
    total, c = conv_bn(3, 64, 7), 64
    for stage, n in enumerate(blocks):
        w = 64 * 2**stage
        out = 4 * w if bottleneck else w
        for i in range(n):
            if bottleneck:
                total += conv_bn(c, w, 1) + conv_bn(w, w, 3) + conv_bn(w, out, 1)
            else:
                total += conv_bn(c, w, 3) + conv_bn(w, w, 3)
            if squeeze:
                total += dense(out, out // 16) + dense(out // 16, out)
            if shortcuts and i == 0 and c != out:
                total += conv_bn(c, out, 1)
            c = out
    return total + dense(c, 1000)


def senet154():
    total, c = conv_bn(3, 64, 3) + conv_bn(64, 64, 3) + conv_bn(64, 128, 3), 128
    for stage, n in enumerate((3, 8, 36, 3)):
        w = 64 * 2**stage
        for i in range(n):
            total += conv_bn(c, 2 * w, 1) + conv_bn(2 * w, 4 * w, 3, groups=64) + conv_bn(4 * w, 4 * w, 1)
            total += dense(4 * w, 4 * w // 16) + dense(4 * w // 16, 4 * w)
            if i == 0:
                total += conv_bn(c, 4 * w, 3 if stage else 1)
            c = 4 * w
    return total + dense(2048, 1000)


def xception():
    def separable(c, d):
        return 9 * c + c * d + 2 * d

    total = conv_bn(3, 32, 3) + conv_bn(32, 64, 3)
    for c, d in ((64, 128), (128, 256), (256, 728)):
        total += conv_bn(c, d, 1) + separable(c, d) + separable(d, d)
    total += 8 * 3 * separable(728, 728)
    total += conv_bn(728, 1024, 1) + separable(728, 728) + separable(728, 1024)
    return total + separable(1024, 1536) + separable(1536, 2048) + dense(2048, 1000)


def vgg16():
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    convolutions = sum(conv(c, d, 3) for c, d in itertools.pairwise(widths))
    return convolutions + dense(512 * 7 * 7, 4096) + dense(4096, 4096) + dense(4096, 1000)


BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
DERIVED = {
    "lenet5": lenet5(),
    "lenet5_modern": conv(1, 6, 5) + conv(6, 16, 5) + dense(400, 120) + dense(120, 84) + dense(84, 10),
    "alexnet": alexnet((96, 256, 384, 384, 256), (2, 2, 2)),
    "alexnet_single": alexnet((64, 192, 384, 256, 256), (1, 1, 1)),
    "vgg16": vgg16(),
    "googlenet": inception(conv, 5),
    "googlenet_bn": inception(conv_bn, 3),
    "plain34": residual(BLOCKS[34], bottleneck=False, shortcuts=False),
    **{f"resnet{d}": residual(b, bottleneck=d >= 50) for d, b in BLOCKS.items()},
    **{f"seresnet{d}": residual(b, bottleneck=d >= 50, squeeze=True) for d, b in BLOCKS.items()},
    "senet154": senet154(),
    "xception": xception(),
}


@pytest.mark.parametrize("name", zoo.names())
def test_parameters_are_those_of_the_paper(name):
    assert count(made(name)) == DERIVED[name] == PUBLISHED.get(name, DERIVED[name])


def test_every_network_is_counted():
    assert set(DERIVED) == set(zoo.names()) and set(PUBLISHED) <= set(DERIVED)


def test_auxiliary_classifiers_of_googlenet():
    heads = [conv(c, 128, 1) + dense(2048, 1024) + dense(1024, 1000) for c in (512, 528)]
    assert count(made("googlenet", auxiliary=True)) == PUBLISHED["googlenet"] + sum(heads)


def test_the_connections_that_the_paper_of_lenet5_counts():
    """LeCun et al. 1998 print connections, biases included, for 32 × 32: they follow from shapes and weights."""
    network = made("lenet5")
    shapes = {}
    for name in ("c1", "s2", "c3", "s4"):
        network.trunk.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: shapes.__setitem__(name, out.shape[2] * out.shape[3])
        )
    network(torch.empty(1, 1, 32, 32, device="meta"))
    sub = 4 + 1  # four places and a bias for each unit
    found = {
        "C1": count(network.trunk.c1) * shapes["c1"],
        "S2": 6 * sub * shapes["s2"],
        "C3": count(network.trunk.c3) * shapes["c3"],
        "S4": 16 * sub * shapes["s4"],
    }
    assert found == {"C1": 122_304, "S2": 5_880, "C3": 151_600, "S4": 2_000}


def test_the_libraries_agree():
    """The same counts from code that nobody here wrote."""
    with torch.device("meta"):
        twins = {name: getattr(torchvision.models, name)() for name in ("vgg16", "resnet34", "resnet152")}
        twins["alexnet_single"] = torchvision.models.alexnet()
        twins["googlenet_bn"] = torchvision.models.googlenet(aux_logits=False, init_weights=False)
        for ours, theirs in (("xception", "legacy_xception"), ("senet154", "legacy_senet154")):
            twins[ours] = timm.create_model(theirs)
        for depth in (18, 34, 50, 101, 152):  # reduction 16 exactly; timm's newer ones round it to eights
            twins[f"seresnet{depth}"] = timm.create_model(f"legacy_seresnet{depth}")
    assert {n: count(t) for n, t in twins.items()} == {n: DERIVED[n] for n in twins}


def test_counts_that_the_cards_mention():
    """No figure in a card that does not follow from the definition."""
    mentioned = {
        "lenet5": [60_000, 156, 12, 1_516, 32, 48_120, 10_164],
        "lenet5_modern": [61_706, 156, 2_416, 48_120, 10_164, 850],
        "alexnet": [60_965_224, alexnet((96, 256, 384, 384, 256), (1, 1, 1))],
        "vgg16": [138_357_544, dense(512 * 7 * 7, 4096)],
        "googlenet": [6_998_552, count(made("googlenet", auxiliary=True)), conv(3, 64, 7)],
        "plain34": [DERIVED["resnet34"] - DERIVED["plain34"]],
        "xception": [22_855_952, sum(b.numel() for b in made("xception").buffers() if b.ndim)],
    }
    for name, numbers in mentioned.items():
        notes = " ".join(zoo.card(name).notes)
        assert [n for n in numbers if f"{n:,}" not in notes] == [], name
