"""The experiments behind the claims: one file each in `experiments/`, all built on `framework/`.

A study's file imports torch only when it runs, so that `foveal study` lists all claims at once.
"""

from __future__ import annotations

from importlib import import_module

from foveal.errors import known_name
from foveal.studies.framework.study import Study

#: In the order of the notebook's ten questions. Study `a-b` is `STUDY` in `experiments/a_b.py`.
NAMES = (
    "cnn-vs-dense",
    "cost",
    "out-of-memory",
    "pooling-vs-stride",
    "lrn",
    "innovations",
    "dense-to-conv",
    "segmentation-difficulty",
    "mnist",
    "transfer",
)


def find(name: str) -> Study:
    """A study by its name.

    Raises:
        UnknownName: with the nearest known name.
    """
    name = known_name("study", name, NAMES)
    study: Study = import_module(f"foveal.studies.experiments.{name.replace('-', '_')}").STUDY
    return study
