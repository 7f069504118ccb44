"""Refreshes the lab notebook after a change of its words or plots, without running any experiment.

uv run python tools/lab_notebook.py [FOLDER]

Analyzes the rows of docs/lab-notebook/*/study.json again, draws all pages, and writes
src/foveal/studies/measured.json: verdicts, numbers of seeds, and the spread that the number of seeds is planned from.
"""

from __future__ import annotations

import sys
from pathlib import Path

from foveal.files import write_json
from foveal.studies.framework.runner import MEASURED
from foveal.studies.notebook import measured_of, refresh_all

NOTEBOOK = Path(__file__).parents[1] / "docs" / "lab-notebook"


def main() -> None:
    """Refresh the notebook; another folder may be named, as after a pilot."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else NOTEBOOK
    if not folder.is_dir():
        raise SystemExit(f"{folder}: not a folder\nhint: make it with `foveal study all --out {folder}`")
    shown = folder.resolve().relative_to(Path.cwd()) if folder.resolve().is_relative_to(Path.cwd()) else folder
    write_json(MEASURED, measured_of(refresh_all(folder, f"foveal study all --out {shown}")))


if __name__ == "__main__":
    main()
