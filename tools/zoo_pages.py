"""The computed parts of the zoo: `models/zoo/figures.json`, the pages and drawings under `docs/zoo/`.

uv run python tools/zoo_pages.py            compute the figures with the planner, write all
uv run python tools/zoo_pages.py --check    fail when a page is not what cards and figures say
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from foveal.models import zoo
from foveal.models.zoo.blocks import DepthwiseSeparable, Inception, LocalResponseNorm, Residual
from foveal.models.zoo.cards import Card, read_card
from foveal.models.zoo.diagram import draw
from foveal.models.zoo.lenet5 import RadialBasis, Subsampling
from foveal.models.zoo.network import Network

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "src" / "foveal" / "models" / "zoo" / "figures.json"
PAGES = ROOT / "docs" / "zoo"

#: Kind of a step, by the first of these that is in it.
_KINDS: tuple[tuple[str, tuple[type[nn.Module], ...]], ...] = (
    ("residual", (Residual,)),
    ("inception", (Inception,)),
    ("separable", (DepthwiseSeparable,)),
    ("dense", (nn.Linear, RadialBasis)),
    ("convolution", (nn.Conv2d,)),
    ("pooling", (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, Subsampling)),
    ("normalisation", (LocalResponseNorm,)),
)


def figures(name: str) -> dict[str, Any]:
    """Parameters, MACs and the rest of one network, by the planner."""
    from foveal.planner import plan

    card = read_card(name)
    planned = plan(name, input=card.input_shape, batch=1, classes=card.classes, remedies=False, threads=1)
    with torch.device("meta"):
        network = zoo.create(name).eval()
    last = network.feature_info[-1].module
    sees = [layer.receptive_field for layer in planned.layers if (layer.name + ".").startswith(last + ".")]
    return {
        "parameters": planned.parameters,
        "macs": planned.macs,
        "activation_bytes": planned.feature_map_bytes,
        "receptive_field": max(s for s in sees if s is not None),
        "steps": steps(network, card),
    }


def steps(network: Network, card: Card) -> list[tuple[str, str, tuple[int, ...]]]:
    """Name, kind and output shape of each child of trunk and head that does something."""
    noted: list[tuple[str, str, tuple[int, ...]]] = []

    def note(name: str, module: nn.Module) -> None:
        inside = list(module.modules())
        kind = next((kind for kind, types in _KINDS if any(isinstance(m, types) for m in inside)), None)
        if kind is not None:
            module.register_forward_hook(lambda _, __, out: noted.append((name, kind, tuple(out.shape[1:]))))

    for part in (network.trunk, network.head):
        for name, module in part.named_children():
            note(name, module)
    with torch.no_grad():
        network(torch.empty(1, *card.input_shape, device="meta"))
    # An adaptive pooling that does nothing at the published size is no step of the paper's.
    before = [card.input_shape, *(shape for _, _, shape in noted)]
    return [s for s, shape in zip(noted, before, strict=False) if s[1] != "pooling" or s[2] != shape]


def page(card: Card) -> str:
    """One network's page."""
    heading = ["step", "kind", "output C × H × W"]
    rows = [(f"`{s.name}`", s.kind, " × ".join(map(str, s.shape))) for s in card.steps]
    numbers = [
        ("parameters", f"{card.parameters:,}"),
        ("one image", f"{card.macs:,} MACs, {2 * card.macs:,} FLOPs"),
        ("input", " × ".join(map(str, card.input_shape))),
        ("all outputs for one image", f"{card.activation_bytes:,} bytes in fp32"),
        ("receptive field of the last map", f"{card.receptive_field} × {card.receptive_field} pixels"),
    ]
    return (
        "\n\n".join(
            (
                f"# {card.title} ({card.year})",
                f"[{card.paper}]({card.url})",
                f"![{card.title}, step by step]({card.name}.svg)",
                f"**What problem it met.** {card.problem}",
                f"**What it brought.** {card.brought}",
                card.story,
                f"**What it costs** (`foveal zoo {card.name}`, computed by the planner)",
                _table(["", ""], numbers),
                "**Step by step**",
                _table(heading, rows),
                *(["**To know**", "\n".join(f"- {note}" for note in card.notes)] if card.notes else []),
                f"`foveal train DATA --from-scratch {card.name}` · `foveal plan {card.name}` · [zoo](README.md)",
            )
        )
        + "\n"
    )


def index(cards: list[Card]) -> str:
    """The table of all."""
    rows = [
        (f"[{c.name}]({c.name}.md)", str(c.year), f"{c.parameters:,}", f"{c.macs:,}", c.brought) for c in cards
    ]
    return (
        "# The zoo\n\nThe architectures that made the field, each true to its paper: parameters counted, outputs "
        "compared with\ntorchvision's and timm's. Made by `tools/zoo_pages.py`, the figures by the planner. A "
        "classifier\non a larger image: [fully convolutional](../fully_convolutional.md).\n\n"
        + _table(["network", "year", "parameters", "MACs", "what it brought"], rows)
        + "\n"
    )


def _table(heading: list[str], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def pages() -> dict[Path, str]:
    """Every page and drawing, from cards and figures."""
    cards = [read_card(name) for name in zoo.names()]
    written = {PAGES / "README.md": index(cards)}
    for card in cards:
        written |= {PAGES / f"{card.name}.md": page(card), PAGES / f"{card.name}.svg": draw(card)}
    return written


def main() -> None:
    """Write, or check."""
    check, stale = "--check" in sys.argv, []
    if not check:
        FIGURES.write_text(json.dumps({n: figures(n) for n in zoo.names()}) + "\n", encoding="utf-8")
        read_card.cache_clear()
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    if check and stale:
        raise SystemExit(f"not up to date: {', '.join(stale)}: run tools/zoo_pages.py")


if __name__ == "__main__":
    main()
