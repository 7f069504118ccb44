"""TensorBoard: event files in `logs/` of the run folder, for `tensorboard --logdir runs`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Seconds after which figures are on disk at the latest.
_FLUSH = 10


def open_tracker(run: Path, settings: Mapping[str, Any]) -> _TensorBoard:
    """Begin an event file."""
    return _TensorBoard(run / "logs", settings)


class _TensorBoard:
    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), flush_secs=_FLUSH)
        rows = "\n".join(f"| {name} | {value} |" for name, value in settings.items())
        self._writer.add_text("settings", f"| setting | value |\n| --- | --- |\n{rows}")

    def scalar(self, name: str, value: float, step: int) -> None:
        self._writer.add_scalar(name, value, step)

    def close(self, *, finished: bool) -> None:
        self._writer.close()
