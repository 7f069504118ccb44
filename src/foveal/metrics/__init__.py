"""Leaf: pure functions from predictions to figures, with their intervals."""

from foveal.metrics.classification import classification_figures, expected_calibration_error
from foveal.metrics.intervals import wilson

__all__ = ["classification_figures", "expected_calibration_error", "wilson"]
