"""Train trustworthy image classifiers from a folder of images, on your own machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveal.version import __version__

if TYPE_CHECKING:
    from foveal.data.dataset import audit
    from foveal.errors import FovealError
    from foveal.estimator import ImageClassifier, Segmenter, load
    from foveal.inference.dense_map import to_fully_convolutional
    from foveal.planner import plan

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

#: Where each public name is defined.
_MODULES = {
    "FovealError": "foveal.errors",
    "ImageClassifier": "foveal.estimator",
    "Segmenter": "foveal.estimator",
    "audit": "foveal.data.dataset",
    "load": "foveal.estimator",
    "plan": "foveal.planner",
    "to_fully_convolutional": "foveal.inference.dense_map",
}


if not TYPE_CHECKING:  # checkers see the imports above, and that there is nothing else

    def __getattr__(name: str) -> object:
        """Import a public name on first use, so that `import foveal` itself is fast."""
        if name not in _MODULES:
            raise AttributeError(f"module 'foveal' has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
