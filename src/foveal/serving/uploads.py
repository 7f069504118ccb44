"""The body of a request as images in memory, within the limits on bytes, time and number.

Nothing is written to disk, and a client's file name is only ever shown: no path is made of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from foveal.harmless import one_line
from foveal.serving.problems import Problem, closing
from foveal.serving.settings import ServeSettings

if TYPE_CHECKING:
    from starlette.requests import Request

#: Characters of a name that are kept.
_LONGEST_NAME = 200
#: Bytes of one text field of a form, such as a label.
_LONGEST_FIELD = 4096
#: Bytes that are parsed at once.
_PIECE = 1 << 18
#: Text fields of a form.
_MOST_FIELDS = 8


@dataclass(frozen=True)
class Upload:
    """One image of a request.

    Attributes:
        name: what the client calls it, harmless to show; `image N` without a name.
        content: the encoded image.
    """

    name: str
    content: bytes


@dataclass(frozen=True)
class Form:
    """A body: its images, and the text fields of a form by name."""

    images: list[Upload]
    fields: Mapping[str, str] = field(default_factory=dict)


class Uploads:
    """Reads bodies, all of them together within `upload_memory`."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._max_bytes, self._all = settings.max_bytes_n, settings.upload_memory_n
        self.held = 0  # bytes of all bodies that are in memory

    @asynccontextmanager
    async def form(self, request: Request) -> AsyncIterator[Form]:
        """The body of a request; its memory counts until the block ends.

        Raises:
            Problem: 400 for a malformed form, 408, 413, 415, 422 for a body without an image, 503.
        """
        held = [0]
        try:
            async with asyncio.timeout(self._settings.seconds("body_timeout")):
                form = await self._read(request, held)
        except TimeoutError:
            raise closing(
                Problem(408, "body_too_slow", "the body did not arrive in time", hint="send smaller images")
            ) from None
        else:
            yield form
        finally:
            self.held -= held[0]

    async def _read(self, request: Request, held: list[int]) -> Form:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._check_length(request)
        chunks = self._limited(request, held)
        if kind == "multipart/form-data":
            return await self._multipart(request, await _joined(chunks))
        if kind and not kind.startswith("image/") and kind != "application/octet-stream":
            raise closing(
                Problem(
                    415,
                    "media_type",
                    "the body is neither a form nor an image",
                    hint="send multipart/form-data with fields named file, or one image as image/… or "
                    "application/octet-stream",
                )
            )
        content = await _joined(chunks)
        if not content:
            raise no_image()
        return Form([Upload("image 1", content)])

    def _check_length(self, request: Request) -> None:
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._max_bytes:
            raise self._too_large()

    def _too_large(self) -> Problem:
        most = self._max_bytes
        return closing(
            Problem(413, "body_too_large", f"more than {most} bytes", hint="send fewer or smaller images at once")
        )

    async def _limited(self, request: Request, held: list[int]) -> AsyncGenerator[bytes, None]:
        async for chunk in request.stream():
            held[0] += len(chunk)
            self.held += len(chunk)
            if held[0] > self._max_bytes:
                raise self._too_large()
            if self.held > self._all:
                raise closing(
                    Problem(
                        503,
                        "uploads_full",
                        "too many bodies at once",
                        hint="try again",
                        headers={"Retry-After": "1"},
                    )
                )
            yield chunk

    async def _multipart(self, request: Request, body: bytes) -> Form:
        """A form whose body is in memory already, so that nothing interrupts its parser."""
        from starlette.datastructures import UploadFile
        from starlette.formparsers import MultiPartException, MultiPartParser

        class InMemory(MultiPartParser):
            spool_max_size = self._max_bytes + 1  # nothing is written to disk

        most = self._settings.max_images
        parser = InMemory(
            request.headers, _pieces(body), max_files=most, max_fields=_MOST_FIELDS, max_part_size=_LONGEST_FIELD
        )
        try:
            form = await parser.parse()
        except (MultiPartException, KeyError, ValueError, IndexError, AttributeError) as error:
            if isinstance(error, MultiPartException) and "Too many files" in error.message:
                raise self._too_many() from None
            raise _malformed() from None
        images: list[Upload] = []
        fields: dict[str, str] = {}
        try:
            for name, value in form.multi_items():
                if not isinstance(value, UploadFile):
                    fields[name] = value
                elif name == "file":
                    images.append(Upload(shown_name(value.filename, len(images)), await value.read()))
                else:
                    raise Problem(
                        422, "unknown_field", "a file in a field that is not named file", hint="use the name file"
                    )
        finally:
            for file in getattr(parser, "_files_to_close_on_error", ()):  # also those that never ended
                file.close()
        if not images:
            raise no_image()
        return Form(images, fields)

    def _too_many(self) -> Problem:
        most = self._settings.max_images
        return Problem(413, "too_many_images", f"more than {most} images", hint="send several requests")


async def _joined(chunks: AsyncGenerator[bytes, None]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def _pieces(body: bytes) -> AsyncGenerator[bytes, None]:
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


def _malformed() -> Problem:
    return Problem(
        400,
        "malformed_form",
        "the body is not a multipart/form-data form as RFC 7578 defines it",
        hint="let an HTTP library write it, such as curl -F file=@image.jpg",
    )


def no_image() -> Problem:
    """The refusal of a request without an image."""
    return Problem(
        422,
        "no_image",
        "the request holds no image",
        hint="send an image as the body, or a form with fields named file",
    )


def shown_name(name: str | None, number: int) -> str:
    """A client's file name to show: its last part, on one line, not too long."""
    last = (name or "").replace("\\", "/").rpartition("/")[2].strip()
    return one_line(last[:_LONGEST_NAME]) if last else f"image {number + 1}"
