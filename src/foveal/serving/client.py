"""A client of `foveal serve`, with typed answers.

with Client("http://127.0.0.1:8000") as client:
    for answer in client.predict(["a.jpg", "b.jpg"]):
        print(answer.name, answer.label, answer.probability)
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
import msgspec

from foveal.errors import FovealError
from foveal.serving.schemas import ImageAnswer, ImageError, Model, Predictions, ProblemDocument, Stored
from foveal.serving.settings import TOKEN_VARIABLE

T = TypeVar("T")

#: Bytes that a form needs for one image besides its content.
_PART_BYTES = 1024

#: An image: a file by name, or the content of one.
Image = str | os.PathLike[str] | bytes


class ServerError(FovealError):
    """The server refused a request, or did not answer.

    Attributes:
        status: of HTTP; 0 where there was no answer.
        code: stable, as in the problem document.
    """

    def __init__(self, message: str, *, hint: str | None = None, status: int = 0, code: str = "no_answer") -> None:
        super().__init__(message, hint=hint)
        self.status, self.code = status, code


class Client:
    """A connection to a server. Any number of threads may share one.

    Args:
        url: such as `http://127.0.0.1:8000`.
        token: of the server; by default `FOVEAL_TOKEN`.
        timeout: seconds for one request.
        retries: how often a request is sent again that the server was too busy for (503), after the time that it
            asks for.
        transport: of httpx, for tests and special networks.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 60.0,
        retries: int = 5,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        token = os.environ.get(TOKEN_VARIABLE) if token is None else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._retries = retries
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(self, images: Sequence[Image], *, topk: int = 5, map: bool = False) -> list[ImageAnswer]:
        """Predictions in the order of the images, sent in as few requests as the server allows.

        Args:
            images: at least one; an answer has an `error` where an image can't be read.
            topk: how many classes an answer lists.
            map: also draw heat maps.

        Raises:
            OSError: when a file can't be read.
            ServerError: when the server refuses, or does not answer.
        """
        limits, answers = self.model().limits, list[ImageAnswer]()
        query = {"topk": topk, "map": map}
        for group in _groups(images, limits.max_images, limits.max_bytes):
            try:
                found = self._send("POST", "/v1/predict", Predictions, params=query, files=_parts(group))
                answers.extend(found.predictions)
            except ServerError as error:
                if error.status != 422 or len(group) == 1:
                    raise
                answers.extend(self._alone(image, query) for image in group)
        return answers

    def _alone(self, image: tuple[str, bytes], query: Mapping[str, Any]) -> ImageAnswer:
        """One of several images none of which could be read: each has a reason of its own."""
        try:
            return self._send("POST", "/v1/predict", Predictions, params=query, files=_parts([image])).predictions[
                0
            ]
        except ServerError as error:
            if error.status != 422:
                raise
            return ImageAnswer(image[0], error=ImageError(error.code, error.message))

    def model(self) -> Model:
        """What the model is.

        Raises:
            ServerError: when the server does not answer.
        """
        return self._send("GET", "/v1/model", Model)

    def correct(self, image: Image, label: str) -> Stored:
        """Store an image with its right label; needs the token.

        Raises:
            OSError: when the file can't be read.
            ServerError: when the server refuses, or does not answer.
        """
        return self._send(
            "POST", "/v1/corrections", Stored, files=_parts([_named(image, 0)]), data={"label": label}
        )

    def is_ready(self) -> bool:
        """Whether the server is ready for requests."""
        try:
            return self._http.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _send(self, method: str, path: str, answer: type[T], **request: Any) -> T:  # noqa: ANN401
        for attempt in range(self._retries + 1):
            try:
                response = self._http.request(method, path, **request)
            except httpx.TransportError as error:
                raise ServerError(f"{self._http.base_url}: {error}", hint="is the server running?") from None
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE or attempt == self._retries:
                return _read(response, answer)
            time.sleep(float(response.headers.get("Retry-After", 1)) * random.uniform(0.75, 1.25))
        raise AssertionError("the last attempt returns")


def _read(response: httpx.Response, answer: type[T]) -> T:
    if response.is_success:
        return msgspec.json.decode(response.content, type=answer)
    try:
        problem = msgspec.json.decode(response.content, type=ProblemDocument)
    except msgspec.MsgspecError:
        raise ServerError(
            f"{response.url}: {response.status_code} {response.reason_phrase}", status=response.status_code
        ) from None
    raise ServerError(problem.detail, hint=problem.hint, status=problem.status, code=problem.code)


def _named(image: Image, number: int) -> tuple[str, bytes]:
    if isinstance(image, bytes):
        return f"image {number + 1}", image
    return os.path.basename(os.fspath(image)), Path(image).read_bytes()


def _groups(images: Sequence[Image], most: int, most_bytes: int) -> Iterator[list[tuple[str, bytes]]]:
    """Names and contents for one request each, within the limits of the server; read as they are sent."""
    group: list[tuple[str, bytes]] = []
    size = 0
    for number, image in enumerate(images):
        named = _named(image, number)
        more = len(named[1]) + _PART_BYTES
        if group and (len(group) == most or size + more > most_bytes):
            yield group
            group, size = [], 0
        group.append(named)
        size += more
    if group:
        yield group


def _parts(images: Sequence[tuple[str, bytes]]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", image) for image in images]
