"""Stage 1: pictures on disk → records, findings, split, arrays."""

from foveal.data.audit import Audit, audit
from foveal.data.dataset import read_dataset, reopen_dataset
from foveal.data.listing import Wanted
from foveal.data.scan import Reading
from foveal.data.sources import list_data
from foveal.data.split import make_split

__all__ = ["Audit", "Reading", "Wanted", "audit", "list_data", "make_split", "read_dataset", "reopen_dataset"]
