"""Leaf: pure functions from answers to figures, each with its interval."""

from foveal.metrics.classification import classification_figures, expected_calibration_error
from foveal.metrics.intervals import bootstrap, wilson

__all__ = ["bootstrap", "classification_figures", "expected_calibration_error", "wilson"]
