"""How a typed program uses foveal: read by mypy, which knows every type."""

from pathlib import Path
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import foveal
from foveal import ImageClassifier, Segmenter


def classify(data: Path, images: list[Path]) -> float:
    """Train, predict and score."""
    model = ImageClassifier(time="30s", seed=1).fit(data)
    assert_type(model, ImageClassifier)
    assert_type(model.predict(images), NDArray[np.generic])
    assert_type(model.predict_proba(np.zeros((2, 8, 8, 3))), NDArray[np.float32])
    assert_type(model.summary_["test"]["accuracy"], float)
    return model.score(data)


def reload(run: Path) -> NDArray[np.float32]:
    """From a run folder, of a known and of an unknown kind."""
    assert_type(foveal.load(run), ImageClassifier | Segmenter)
    assert_type(foveal.load(run, Segmenter), Segmenter)
    _ = foveal.nonsense  # type: ignore[attr-defined]
    _ = ImageClassifier().nonsense  # type: ignore[attr-defined]
    return foveal.load(run, ImageClassifier).predict_proba("image.png")
