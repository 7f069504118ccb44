"""Stage 3: features or pixels, and labels → a model, the best that the time allows."""

from foveal.fit.ladder import Climb, climb
from foveal.fit.routes import choose_route
from foveal.fit.strategies.base import Candidate, Work

__all__ = ["Candidate", "Climb", "Work", "choose_route", "climb"]
