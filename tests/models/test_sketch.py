"""Sketches: what a word builds, held against torch; and where a mistake is shown."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.errors import UsageError
from foveal.models.sketch import build, looks_like_sketch


def shapes(text, shape):
    value, found = torch.zeros(2, *shape), []
    for layer in build(text, shape).eval():
        value = layer(value)
        found.append(tuple(value.shape[1:]))
    return found


def test_the_notebooks_network():
    network = build("conv100k3s2-conv200k3s2-conv400k3s2", (3, 200, 300))
    assert [sum(p.numel() for p in layer.parameters()) for layer in network] == [2800, 180200, 720400]
    assert shapes("conv100k3s2-conv200k3s2-conv400k3s2", (3, 200, 300)) == [
        (100, 100, 150),
        (200, 50, 75),
        (400, 25, 38),
    ]


def test_every_word():
    text = "conv8k5-relu-bn-lrn-pool2-conv8k3g4-avg3s2-conv4valid-gap-flatten-drop0.5-dense7-bn-relu"
    assert shapes(text, (3, 32, 32))[-1] == (7,)
    kinds = [type(layer).__name__ for layer in build(text, (3, 32, 32))]
    assert kinds == [
        *("Conv2d", "ReLU", "BatchNorm2d", "LocalResponseNorm", "MaxPool2d", "Conv2d", "AvgPool2d", "Conv2d"),
        *("AdaptiveAvgPool2d", "Flatten", "Dropout", "Linear", "BatchNorm1d", "ReLU"),
    ]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(1, 4), st.integers(8, 33), st.integers(8, 33))
def test_same_padding_divides_and_rounds_up(kernel, stride, height, width):
    (*_, shape) = shapes(f"conv2k{kernel}s{stride}", (1, height, width))
    assert shape == (2, -(-height // stride), -(-width // stride))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("conv100k3s2-cnv200k3s2-gap", "cnv200k3s2"),
        ("conv8-flatten-pool2", "pool2"),
        ("conv8-dense10", "dense10"),
        ("conv8-conv4k0", "conv4k0"),
        ("conv8valid-pool99", "pool99"),
        ("conv6-conv6g4", "conv6g4"),
        ("conv8-", ""),
        ("conv8-drop1.5", "drop1.5"),
    ],
)
def test_a_mistake_has_a_caret_under_it(text, word):
    assert looks_like_sketch(text)
    with pytest.raises(UsageError) as caught:
        build(text, (3, 16, 16))
    _, shown, carets = caught.value.message.split("\n")
    at = shown.index("  " + text) + 2 + (text.rindex(word) if word else len(text))
    assert carets.rstrip() == " " * at + "^" * max(1, len(word))


@pytest.mark.parametrize("name", ["resnet50", "convnext_tiny", "vit_base_patch16_224", "some-other-name", ""])
def test_names_are_no_sketches(name):
    assert not looks_like_sketch(name)
