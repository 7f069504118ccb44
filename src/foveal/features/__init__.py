"""Stage 2: a frozen backbone → features, cached on disk."""

from foveal.features.extract import Extractor, FeatureTable

__all__ = ["Extractor", "FeatureTable"]
