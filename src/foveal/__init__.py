"""foveal: image classifiers you can believe, from a folder of pictures, on the machine you have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foveal.data import audit
    from foveal.errors import FovealError
    from foveal.estimator import ImageClassifier, Segmenter, load
    from foveal.planner import plan
    from foveal.ship.maps import to_fully_convolutional

__version__ = "0.1.0"
__all__ = [
    "FovealError",
    "ImageClassifier",
    "Segmenter",
    "__version__",
    "audit",
    "load",
    "plan",
    "to_fully_convolutional",
]

_HOME = {
    "FovealError": "foveal.errors",
    "ImageClassifier": "foveal.estimator",
    "Segmenter": "foveal.estimator",
    "audit": "foveal.data",
    "load": "foveal.estimator",
    "plan": "foveal.planner",
    "to_fully_convolutional": "foveal.ship.maps",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (what a name stands for is its own business)
    """Import a public name when it is first asked for: `import foveal` itself costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module 'foveal' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
