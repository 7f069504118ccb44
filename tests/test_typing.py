"""The package is typed, and `Any` is nowhere in what its estimators take and give."""

import inspect
import typing
from importlib.resources import files

import pytest

from foveal import FovealError, ImageClassifier, Segmenter, load


def public_functions():
    for owner in (ImageClassifier, Segmenter):
        for name, value in inspect.getmembers(owner):
            function = value.fget if isinstance(value, property) else value
            module = getattr(function, "__module__", "")
            is_public = not name.startswith("_") or name == "__init__"
            if is_public and inspect.isfunction(function) and module.startswith("foveal"):
                yield pytest.param(function, id=f"{owner.__name__}.{name}")
    yield pytest.param(load, id="load")
    yield pytest.param(FovealError.__init__, id="FovealError")


@pytest.mark.parametrize("function", list(public_functions()))
def test_the_public_surface_says_every_type(function):
    hints = inspect.get_annotations(function)
    assert set(inspect.signature(function).parameters) - {"self"} <= set(hints) and "return" in hints
    assert not [name for name, hint in hints.items() if "Any" in str(hint).replace("AnyStr", "")]


def test_type_checkers_are_told():
    assert files("foveal").joinpath("py.typed").is_file()
    assert len(typing.get_overloads(load)) == 2
