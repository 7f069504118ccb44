"""Stage 4: a model → figures, mistakes, report."""

from foveal.measure.ledger import look, test_set_key
from foveal.measure.measurement import Measurement, measure
from foveal.measure.report import render_report

__all__ = ["Measurement", "look", "measure", "render_report", "test_set_key"]
