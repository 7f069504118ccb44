"""How a run's memory is shared out: every share and limit, in one place, each with its reason.

A budget is what the process may have resident: what `--memory` or its cgroup allows. Without either the machine's own
memory is the limit. How a training step fits into it is planned in `training/loop/memory_plan.py`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from foveal.machine import cgroup_limit, memory_limit

#: Share of a budget for resident memory from which on something is done to stay below it.
ALARM = 0.92
#: Share of a budget up to which caches are kept when a network is about to be trained.
CACHES_SHARE = 0.5
#: With a budget below this malloc returns what it can, and rendered images are not kept between trainings.
AMPLE_BYTES = 6 << 30
#: Rendered images kept from the audit to the features: beyond this they are decoded again, which costs little.
RENDER_CACHE_BYTES, RENDER_CACHE_SHARE = 512 << 20, 1 / 8
#: An array larger than this is a memory-mapped file without a name, which the system keeps in memory as it can.
ARRAY_BYTES, ARRAY_SHARE = 1 << 30, 1 / 8
#: Images rendered for one training and kept for the next.
KEPT_IMAGES_BYTES = 512 << 20
#: Cached feature maps of augmented views: so many views share a budget; without one, this many bytes.
CACHED_VIEWS, CACHED_VIEWS_BYTES = 6, 8 << 30
#: Images of a training subset that are copied to a GPU as a whole.
GPU_IMAGES_BYTES = 1 << 30
#: A forward pass may take this share of the memory that is left; of a budget that is nearly used up, at least the
#: second number.
PASS_SHARE, LEAST_PASS_SHARE = 0.5, 0.25


@dataclass(frozen=True)
class MemoryBudget:
    """The memory of one process.

    Attributes:
        total: resident bytes that it must not exceed; None: what the machine has.
    """

    total: int | None = None

    @classmethod
    def of_process(cls, requested: int | None = None) -> MemoryBudget:
        """The smaller of the requested bytes and the limit of this process's cgroup."""
        return cls(min((n for n in (requested, cgroup_limit()) if n is not None), default=None))

    @property
    def ample(self) -> bool:
        """Whether nothing has to be done to save memory from the start."""
        return self.total is None or self.total >= AMPLE_BYTES

    @property
    def alarm(self) -> int:
        """Resident bytes from which on something is done to stay below the budget."""
        return sys.maxsize if self.total is None else int(ALARM * self.total)

    @property
    def caches(self) -> int:
        """Resident bytes up to which caches are kept when a network is about to be trained."""
        return sys.maxsize if self.total is None else int(CACHES_SHARE * self.total)

    @property
    def render_cache(self) -> int:
        """Bytes of rendered images that are kept from the audit to the features."""
        return self._share(RENDER_CACHE_BYTES, RENDER_CACHE_SHARE)

    @property
    def kept_images(self) -> int:
        """Bytes of rendered images that are kept from one training to the next."""
        return KEPT_IMAGES_BYTES if self.ample else 0

    @property
    def array(self) -> int:
        """Bytes of an array that lies in memory; a larger one is a file."""
        return self._share(ARRAY_BYTES, ARRAY_SHARE)

    @property
    def cached_view(self) -> int:
        """The same for the feature maps of one view, of which there are several."""
        return MemoryBudget(self._share(CACHED_VIEWS_BYTES, 1) // CACHED_VIEWS).array

    def forward_pass(self, resident: int) -> int | None:
        """Bytes that a forward pass may take in addition to what is resident now; None where there is no budget."""
        if self.total is None:
            return None
        return max(int(LEAST_PASS_SHARE * self.total), self.alarm - resident)

    def within_machine(self, free: int | None, resident: int) -> MemoryBudget:
        """The budget of a process with so many bytes resident, on a machine that has so many free; None: unknown."""
        limits = [n for n in (self.total, None if free is None else free + resident) if n is not None]
        return MemoryBudget(min(limits, default=None))

    def covers(self, needed: int) -> bool:
        """Whether a process that needs so many bytes stays within the budget."""
        return self.total is None or needed <= self.total

    def to_dict(self) -> dict[str, Any]:
        """As config.json shows it: bytes and what they are for."""
        return {
            "budget_bytes": self.total,
            "alarm_bytes": None if self.total is None else self.alarm,
            "shares_bytes": {
                "rendered images": self.render_cache,
                "an array in memory": self.array,
                "images kept between trainings": self.kept_images,
            },
        }

    def _share(self, limit: int, share: float) -> int:
        return limit if self.total is None else min(limit, int(share * self.total))


def forward_pass_bytes() -> int | None:
    """Bytes that a forward pass may take in a process that only predicts; None where its limit is not known."""
    limit = memory_limit()
    return int(PASS_SHARE * limit) if limit else None
