"""Leaf: pure functions from predictions to figures, with their intervals."""

from foveal.metrics.classification import classification_figures
from foveal.metrics.intervals import wilson
from foveal.metrics.reliability import expected_calibration_error

__all__ = ["classification_figures", "expected_calibration_error", "wilson"]
