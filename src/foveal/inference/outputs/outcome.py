"""What is common to all outputs of `foveal predict`: predictions are counted, and there has to be at least one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from foveal.errors import UsageError


@dataclass
class Outcome:
    """What came of a call.

    Attributes:
        done, failed: how many predictions were made, and how many of them failed.
        failed_kinds: ending of a file's name → one of the files with it that failed.
        skipped: files in folders whose names say that they are not images.
    """

    done: int = 0
    failed: int = 0
    failed_kinds: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def counted(self, predictions: Iterable[Any]) -> Iterator[Any]:
        """Count predictions as they pass; one that failed has an `error`, as an attribute or as an item."""
        for prediction in predictions:
            values = prediction if isinstance(prediction, Mapping) else None
            path, error = (values.get(n) if values else getattr(prediction, n, None) for n in ("path", "error"))
            self.done += 1
            if error:
                self.failed += 1
                path = str(path)
                self.failed_kinds.setdefault(os.path.splitext(path)[1].lower(), path)
            yield prediction


def at_least_one(predictions: Iterator[Any], images: Sequence[str]) -> Iterator[Any]:
    """The same predictions. The first is awaited at once: what can't begin is noticed before a file is opened.

    Args:
        predictions: of the images.
        images: as the user named them.

    Raises:
        UsageError: when there is none.
    """
    first = next(predictions, None)
    if first is None:
        message = f"no images in {', '.join(images)}"
        raise UsageError(message, hint="give image files, or folders that hold some")
    return chain([first], predictions)


@contextmanager
def write_errors(out: Path | None) -> Iterator[None]:
    """Report a target that can no longer be written, such as on a full disk, as a usage error."""
    try:
        yield
    except OSError as error:
        if out is None:
            raise
        hint = "free some space, or give another place with --out"
        raise UsageError(f"{out} can't be written: {error}", hint=hint) from None
