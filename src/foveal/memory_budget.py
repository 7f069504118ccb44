"""How a run's memory is shared out: every share and limit, in one place, each with its reason.

A budget is what the process may have resident: what `--memory` says, or nothing, where the machine's own memory is the
limit. How a training step fits into it is planned in `training/loop/memory_plan.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Share of a budget for resident memory from which on something is done to stay below it.
ALARM = 0.92
#: Rendered images kept from the audit to the features: beyond this they are decoded again, which costs little.
RENDER_CACHE_BYTES, RENDER_CACHE_SHARE = 512 << 20, 1 / 8
#: An array larger than this is a memory-mapped file without a name, which the system keeps in memory as it can.
ARRAY_BYTES, ARRAY_SHARE = 1 << 30, 1 / 8
#: Images rendered for one training and kept for the next.
KEPT_IMAGES_BYTES = 512 << 20
#: Cached feature maps of augmented views: so many views share a budget; without one, this many bytes.
CACHED_VIEWS, CACHED_VIEWS_BYTES = 6, 8 << 30
#: A forward pass may take this share of the memory that is left; of a budget that is nearly used up, at least the
#: second number.
PASS_SHARE, LEAST_PASS_SHARE = 0.5, 0.25


@dataclass(frozen=True)
class MemoryBudget:
    """The memory of one process.

    Attributes:
        total: resident bytes that it was told to stay within; None: what the machine has.
    """

    total: int | None = None

    @property
    def render_cache(self) -> int:
        """Bytes of rendered images that are kept."""
        return self._least(RENDER_CACHE_BYTES, RENDER_CACHE_SHARE)

    @property
    def array(self) -> int:
        """Bytes of an array that lies in memory; a larger one is a file."""
        return self._least(ARRAY_BYTES, ARRAY_SHARE)

    @property
    def cached_view(self) -> int:
        """Bytes of memory that the array of one cached view is sized for."""
        return (self.total or CACHED_VIEWS_BYTES) // CACHED_VIEWS

    def forward_pass(self, resident: int) -> int | None:
        """Bytes that a forward pass may take in addition to what is resident now; None where there is no budget."""
        if self.total is None:
            return None
        return max(int(LEAST_PASS_SHARE * self.total), int(ALARM * self.total) - resident)

    def to_dict(self) -> dict[str, Any]:
        """As config.json shows it: bytes and what they are for."""
        return {
            "budget_bytes": self.total,
            "alarm_bytes": None if self.total is None else int(ALARM * self.total),
            "shares_bytes": {
                "rendered images": self.render_cache,
                "an array in memory": self.array,
                "images kept between trainings": KEPT_IMAGES_BYTES if self.total is None else 0,
            },
        }

    def _least(self, limit: int, share: float) -> int:
        return min(limit, int(share * self.total)) if self.total else limit
