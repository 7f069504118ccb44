"""What is wrong with the images of a data set, before anything is trained."""

from foveal.data.audit.core import Audit, audit

__all__ = ["Audit", "audit"]
