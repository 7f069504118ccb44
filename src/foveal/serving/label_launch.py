"""The start of `foveal label`: journal, images and server."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from foveal.data.sources.listing import Listing
from foveal.serving.settings import ServeSettings


@dataclass(frozen=True)
class Labelling:
    """What is labelled, and where the labels go.

    Attributes:
        listing: the images.
        table: the CSV.
        goal: images that each class should have.
        max_pixels: larger images are left out.
        settings: of the server.
        token: see `create_label_app`.
    """

    listing: Listing
    table: Path
    goal: int
    max_pixels: int
    settings: ServeSettings
    token: str


def serve_labelling(
    labelling: Labelling, listening: socket.socket, on_ready: Callable[[], None] = lambda: None
) -> None:
    """Serve in this process until a signal comes.

    Args:
        labelling: what to serve.
        listening: from `launch.listen`.
        on_ready: called before the first request is answered.

    Raises:
        FovealError: when the CSV can't be used, or no image can be read.
    """
    from foveal.labelling.journal import Journal
    from foveal.labelling.reading import Reading
    from foveal.labelling.session import Session
    from foveal.serving.label_api import create_label_app
    from foveal.serving.label_service import LabelService
    from foveal.serving.server import Server

    with Journal(labelling.table) as journal:
        session = Session(journal, labelling.table, goal=labelling.goal)
        reading = Reading(labelling.listing, session, labelling.max_pixels)
        service = LabelService(session, reading, labelling.settings)
        reading.start()
        on_ready()
        try:
            Server(create_label_app(service, labelling.token), service).run(sockets=[listening])
        finally:
            reading.stop()
        if service.failure is not None:
            raise service.failure
