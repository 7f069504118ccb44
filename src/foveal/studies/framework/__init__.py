"""What every study is made of: its design, the analysis of its results, its figure and its page."""

from foveal.studies.framework.design import (
    NOT_SUPPORTED,
    SUPPORTED,
    UNDECIDED,
    Arm,
    Check,
    Contrast,
    Equal,
    Measure,
    NotebookClaim,
    Setting,
    difference,
)
from foveal.studies.framework.number_format import format_number
from foveal.studies.framework.plot_data import Plot, Point, Series
from foveal.studies.framework.results import Results
from foveal.studies.framework.study import Study

__all__ = [
    "NOT_SUPPORTED",
    "SUPPORTED",
    "UNDECIDED",
    "Arm",
    "Check",
    "Contrast",
    "Equal",
    "Measure",
    "NotebookClaim",
    "Plot",
    "Point",
    "Results",
    "Series",
    "Setting",
    "Study",
    "difference",
    "format_number",
]
