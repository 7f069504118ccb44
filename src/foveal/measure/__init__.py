"""Stage 4: a model → figures, mistakes, report."""

from foveal.measure.ledger import look, test_set_key
from foveal.measure.masks import MaskMeasurement, measure_masks
from foveal.measure.measurement import Measurement, measure
from foveal.measure.report import Shown, render_report

__all__ = [
    "MaskMeasurement",
    "Measurement",
    "Shown",
    "look",
    "measure",
    "measure_masks",
    "render_report",
    "test_set_key",
]
