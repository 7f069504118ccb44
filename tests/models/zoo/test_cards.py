"""Cards, figures and pages: what they say is what the networks are."""

import sys
import xml.etree.ElementTree as ElementTree

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import zoo_pages
from foveal.models import zoo
from foveal.models.zoo.diagram import COLOURS


@pytest.mark.parametrize("name", zoo.names())
def test_figures_are_those_of_torchs_own_counter(name):
    """The planner computed them; torch's counter counts convolutions and dense layers, as we do."""
    card = zoo.card(name)
    with torch.device("meta"), torch.no_grad():
        network = zoo.create(name).eval()
        with FlopCounterMode(display=False) as counter:
            logits = network(torch.empty(1, *card.input_shape))
    assert card.parameters == sum(p.numel() for p in network.parameters())
    assert card.macs == counter.get_total_flops() // 2
    assert card.steps[-1].shape == tuple(logits.shape[1:]) == (card.classes,)
    assert {s.kind for s in card.steps} <= set(COLOURS)


@pytest.mark.parametrize("name", ["lenet5_modern", "alexnet"])
def test_figures_are_up_to_date(name):
    card, found = zoo.card(name), zoo_pages.figures(name)
    steps = tuple((s.name, s.kind, s.shape) for s in card.steps)
    kept = {k: getattr(card, k) for k in ("parameters", "macs", "activation_bytes", "receptive_field")}
    assert {**kept, "steps": list(steps)} == found


def test_pages_are_what_cards_and_figures_say():
    stale = [p.name for p, text in zoo_pages.pages().items() if not p.exists() or p.read_text("utf-8") != text]
    assert stale == [], "run tools/zoo_pages.py"


@pytest.mark.parametrize("name", zoo.names())
def test_cards_are_complete(name):
    card = zoo.card(name)
    assert 1998 <= card.year <= 2017 and card.url.startswith(("http://", "https://"))
    for words in (card.title, card.paper, card.problem, card.brought, card.story):
        assert words.strip() == words and len(words) > 5
    assert card.preprocess.size == card.input_size and card.preprocess.channels == card.channels
    assert all(s > 0 for s in card.preprocess.std)


def test_names_stand_in_order_of_time():
    years = [zoo.card(n).year for n in zoo.names() if n not in ("lenet5_modern", "alexnet_single")]
    assert years == sorted(years)


def residual(blocks, kernels):
    """`1 + Σ (kernel - 1) · stride so far` along a ResNet's longest way, the stride in a stage's first 3 × 3."""
    sees, jump = 1 + 6 * 1 + 2 * 2, 4  # 7 × 7 of stride 2, pooling 3 × 3 of stride 2
    for stage, count in enumerate(blocks):
        for block in range(count):
            first = True
            for kernel in kernels:
                sees += (kernel - 1) * jump
                if stage and block == 0 and first and kernel == 3:
                    jump, first = 2 * jump, False
    return sees


def test_receptive_fields():
    """Araujo et al. 2019, "Computing receptive fields of convolutional neural networks", table 1, for networks
    that are theirs; their ResNets end a stage with its stride, and so see 56 pixels more than torchvision's."""
    published = {"alexnet_single": 195, "alexnet": 195, "vgg16": 212}
    published |= {"resnet50": 483 - 56, "resnet101": 1027 - 56, "resnet152": 1507 - 56}
    assert {n: zoo.card(n).receptive_field for n in published} == published
    assert zoo.card("resnet50").receptive_field == residual((3, 4, 6, 3), (1, 3, 1))
    assert zoo.card("plain34").receptive_field == residual((3, 4, 6, 3), (3, 3))
    assert zoo.card("resnet18").receptive_field == residual((2, 2, 2, 2), (3, 3))


@pytest.mark.parametrize("name", zoo.names())
def test_the_drawing_is_a_drawing(name):
    path = zoo_pages.PAGES / f"{name}.svg"
    root = ElementTree.parse(path).getroot()
    titles = [t.text.partition(":")[0] for t in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["input", *(s.name for s in zoo.card(name).steps)]


def test_reading_a_card_needs_no_torch():
    import subprocess

    code = "import sys; from foveal.models import zoo; zoo.card('alexnet'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
