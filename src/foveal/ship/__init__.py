"""Stage 5: bundle, predict."""

from foveal.ship.bundle import Bundle, load_bundle, save_bundle
from foveal.ship.make import make_bundle
from foveal.ship.predictor import Prediction, Predictor, find_pictures

__all__ = ["Bundle", "Prediction", "Predictor", "find_pictures", "load_bundle", "make_bundle", "save_bundle"]
