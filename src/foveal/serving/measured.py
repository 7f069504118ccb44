"""What a server counts, for Prometheus."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from foveal.metrics.calibration import SCORE_BOUNDS
from foveal.serving.schemas import ImageAnswer
from foveal.serving.settings import SHARED_COUNTS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Seconds.
_TIMES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BATCHES = (1, 2, 4, 8, 16, 32)
#: Paths that are counted by name; a client makes up others.
_ROUTES = (
    "/v1/predict",
    "/v1/model",
    "/v1/run",
    "/v1/drift",
    "/v1/corrections",
    "/metrics",
    "/healthz",
    "/readyz",
)


class Measured:
    """Counters, one set for each app."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self._requests = Counter(
            "foveal_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "foveal_request_seconds",
            "Seconds of a request by route.",
            ["route"],
            buckets=_TIMES,
            registry=registry,
        )
        self._images = Counter(
            "foveal_images",
            "Images by what came of them: known, unknown, unreadable.",
            ["outcome"],
            registry=registry,
        )
        self._scores = Histogram(
            "foveal_score", "Probability of the predicted class.", buckets=SCORE_BOUNDS, registry=registry
        )
        self._batches = Histogram("foveal_batch_images", "Images of a batch.", buckets=_BATCHES, registry=registry)
        self._waiting = Gauge(
            "foveal_images_waiting",
            "Images that were accepted and not answered.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._ready = Gauge(
            "foveal_ready", "Workers that are ready.", multiprocess_mode="livesum", registry=registry
        )
        self._drift = Gauge(
            "foveal_drift_alarm",
            "1 while the scores of the last window differ from those at training time.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._corrections = Counter("foveal_corrections", "Corrections that were stored.", registry=registry)

    def response(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        route = path if path in _ROUTES else "other"
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answer(self, answer: ImageAnswer) -> None:
        """Count an image."""
        outcome = "unreadable" if answer.error is not None else "unknown" if answer.unknown else "known"
        self._images.labels(outcome).inc()
        if answer.probability is not None:
            self._scores.observe(answer.probability)

    def batch(self, images: int) -> None:
        """Count a batch."""
        self._batches.observe(images)

    def correction(self) -> None:
        """Count a correction."""
        self._corrections.inc()

    def text(self, *, waiting: int, ready: bool, drift: bool) -> bytes:
        """In the text format of Prometheus; with several workers the sum over all of them."""
        self._waiting.set(waiting)
        self._ready.set(ready)
        self._drift.set(drift)
        if SHARED_COUNTS not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
