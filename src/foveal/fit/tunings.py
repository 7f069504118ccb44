"""Recipes for tuning a pretrained network: how much of it learns, for how long, and how."""

from __future__ import annotations

from dataclasses import dataclass

#: From this side on, pixels, pictures are large.
LARGE = 200


@dataclass(frozen=True)
class Tuning:
    """One recipe. Rate and epochs were chosen by trials on letters, digits and arrows made for it, the rest taken
    from practice with fine-tuning; none of it by a bench that is kept (`docs/ladder.md`).

    Attributes:
        name: as in `--strategy NAME`.
        cut: segments below it are frozen, and what they make of the pictures is cached; 0 for none.
        cut_large: the same for pictures of `LARGE` pixels and more, where a stage costs three times as much.
        views: augmented looks at each picture that are cached.
        epochs: passes through the pictures when there is time for all.
        least: share of the epochs under which it is not worth beginning.
        least_steps: however few pictures there are.
        rate: of each tensor's own size, see `job.Settings.relative`.
        head_share: times the rate for the head, which is fitted before the rest learns.
        near: share of the rate where pictures are like those that the network was pretrained on.
        batch, weight_decay, warmup, smoothing, ema: see `job.Settings`.
    """

    name: str
    cut: int = 0
    cut_large: int = 0
    views: int = 0
    epochs: float = 20
    least: float = 0.2
    least_steps: int = 150
    rate: float = 0.006
    head_share: float = 0.25
    near: float = 1 / 3
    batch: int = 32
    weight_decay: float = 0.02
    warmup: float = 0.3
    smoothing: float = 0.1
    ema: float = 0.99

    def cut_at(self, size: int) -> int:
        """The cut for pictures of this side."""
        return self.cut_large if size >= LARGE else self.cut


FULL = Tuning("fine-tune")
CACHED = Tuning("cached-trunk", cut=5, cut_large=6, views=8)
