"""Stage 1: pictures on disk → records, findings, split, arrays."""

from foveal.data.audit import Audit, audit
from foveal.data.scan import Reading
from foveal.data.split import make_split

__all__ = ["Audit", "Reading", "audit", "make_split"]
