"""What the package keeps of the lab notebook: verdicts, seeds, and the spread that seeds are planned by.

uv run python tools/lab_notebook.py     docs/lab-notebook/*/study.json → src/foveal/studies/measured.json
"""

from __future__ import annotations

import sys
from pathlib import Path

from foveal.files import read_json, write_json
from foveal.studies.notebook import MEASURED, measured_of
from foveal.studies.runner import FILE

NOTEBOOK = Path(__file__).parents[1] / "docs" / "lab-notebook"


def main() -> None:
    """Collect; another folder of studies may be named, as after a pilot."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else NOTEBOOK
    found = [read_json(file) for file in sorted(folder.glob(f"*/{FILE}"))]
    if not found:
        raise SystemExit(f"{folder}: no studies; make them with `foveal study all --out {folder}`")
    write_json(MEASURED, measured_of(found))


if __name__ == "__main__":
    main()
