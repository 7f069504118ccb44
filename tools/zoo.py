"""What of the zoo is computed and kept: `models/zoo/figures.json`, the golden outputs of its tests, `docs/zoo/`.

uv run python tools/zoo.py            write
uv run python tools/zoo.py --check    fail when something would change (golden outputs are not asked)
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from foveal.models import zoo

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "src" / "foveal" / "models" / "zoo" / "figures.json"


def figures(name: str) -> dict[str, int]:
    """Parameters that training changes, and multiply-accumulates (convolutions and dense layers) for a picture."""
    card = zoo.card(name)
    with torch.device("meta"), torch.no_grad():
        network = zoo.create(name).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, *card.input_shape))
    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return {"parameters": parameters, "macs": counter.get_total_flops() // 2}


def pages() -> dict[Path, str]:
    """Every file that is made here, with its content."""
    found = {name: figures(name) for name in zoo.names()}
    return {FIGURES: json.dumps(found, indent=1) + "\n"}


def main() -> None:
    """Write, or check."""
    check, stale = "--check" in sys.argv, []
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    if check and stale:
        raise SystemExit(f"not up to date: {', '.join(stale)}: run tools/zoo.py")


if __name__ == "__main__":
    main()
