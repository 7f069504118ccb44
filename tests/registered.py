"""What a test registers from outside the package is taken out again."""

from contextlib import contextmanager

from foveal import tasks
from foveal.data.sources.list_data import SOURCES
from foveal.data.targets import registry
from foveal.engines.registry import ENGINES
from foveal.evaluation import report
from foveal.export import formats as export_formats
from foveal.inference import predictor
from foveal.inference.outputs import formats
from foveal.models import networks
from foveal.training.strategies.registry import STRATEGIES

_TABLES = (
    registry.TARGETS,
    tasks.TASKS,
    predictor.PREDICTORS,
    formats.FORMATS,
    export_formats.FORMATS,
    networks.ARCHITECTURES,
    report.TEMPLATES,
)


@contextmanager
def restored_registries():
    """The registries are afterwards as they were before."""
    before = [dict(table) for table in _TABLES]
    lists = [(known, list(known)) for known in (*STRATEGIES.values(), SOURCES, ENGINES)]
    try:
        yield
    finally:
        for table, known in zip(_TABLES, before, strict=True):
            table.clear()
            table.update(known)
        for known, before_it in lists:
            known[:] = before_it
