"""A labelling session that is being served: what the routes share."""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict

from foveal.data.images.decode import decode, quiet, read_file
from foveal.errors import UnreadableImage, UsageError
from foveal.harmless import one_line
from foveal.labelling.reading import Reading
from foveal.labelling.session import Gone, Group, Session
from foveal.serving.label_schemas import (
    Action,
    ClassCount,
    GroupSize,
    Progress,
    Review,
    Shown,
    ShownGroup,
    ShownImage,
)
from foveal.serving.problems import Problem
from foveal.serving.settings import ServeSettings

#: Groups that are listed.
_LISTED = 200
#: Sides of the images that are sent, pixels: in a group, and alone.
SIDES = (224, 960)
#: Bytes of small images that are kept.
_KEPT_BYTES = 64 << 20


class LabelService:
    """See the module.

    Args:
        session: of labels.
        reading: of images, started.
        settings: of the server.

    Attributes:
        is_stopping: no further requests are wanted.
    """

    def __init__(self, session: Session, reading: Reading, settings: ServeSettings) -> None:
        self.session, self.reading, self.settings = session, reading, settings
        self.is_stopping = False
        self._thumbs: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._held, self._lock = 0, threading.Lock()

    @property
    def failure(self) -> BaseException | None:
        """Why it can't be served: nothing can be read, and nothing was."""
        return self.reading.failure if not self.session.catalog.records else None

    def show(self, group: str | None = None, *, done: str | None = None) -> Shown:
        """What the page shows.

        Args:
            group: the one to show; None: the first.
            done: see `Shown`.

        Raises:
            Problem: 409 when the group is not there any more.
        """
        try:
            current = self.session.open(group)
        except Gone as gone:
            raise Problem(409, gone.code, gone.message, hint=gone.hint or "") from None
        return Shown(self._progress(), self._group(current) if current else None, done)

    def act(self, action: Action) -> Shown:
        """Do what a person wants, and show what is next.

        Raises:
            Problem: 409 when its group is gone, 422 when it makes no sense.
        """
        try:
            done, following = self._done(action)
        except Gone as gone:
            raise Problem(409, gone.code, gone.message, hint=gone.hint or "") from None
        except UsageError as error:
            raise Problem(422, "invalid_action", error.message, hint=error.hint or "reload the page") from None
        return self.show(following, done=done)

    def _done(self, action: Action) -> tuple[str | None, str | None]:
        """What to say of it, and the group that is shown next where it is not the first one."""
        session, following = self.session, None
        if action.do == "label":
            session.label(action.label, action.images, action.others)
        elif action.do == "leave_out":
            session.leave_out(action.images)
        elif action.do == "take_back":
            session.take_back(action.images)
        elif action.do == "split":
            following = session.split(action.group)[0]
        elif action.do == "merge":
            following = session.merge(action.group, action.other)
        elif action.do == "put_off":
            session.put_off(action.group)
        elif action.do == "rename":
            session.rename(action.label, action.new)
        else:
            words = session.undo()
            return (f"Undone: {words}" if words else "There is nothing to undo"), None
        return session.undoable, following

    def review(self, label: str) -> Review:
        """Images of a class."""
        images = tuple(self._image(number, selected=False) for number in self.session.review(label))
        return Review(label, images, self.session.counts().get(label, len(images)))

    def jpeg(self, number: int, side: int) -> bytes:
        """An image with sides of at most so many pixels, as a JPEG.

        Raises:
            Problem: 404 when there is no such image, or its file can't be read any more.
        """
        with self._lock:
            if (kept := self._thumbs.get((number, side))) is not None:
                self._thumbs.move_to_end((number, side))
                return kept
        records = self.session.catalog.records
        if not 0 <= number < len(records) or side not in SIDES:
            raise Problem(404, "not_found", "there is no such image", hint="reload the page")
        path = records[number].path
        try:
            with quiet():
                image = decode(read_file(path), path, shrink_to=side, max_pixels=self.reading.max_pixels)
        except UnreadableImage as error:
            raise Problem(404, error.code, error.detail, hint="is the file still there?") from None
        image.thumbnail((side, side))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=82)
        content = buffer.getvalue()
        if side == SIDES[0]:
            self._keep((number, side), content)
        return content

    def _keep(self, key: tuple[int, int], content: bytes) -> None:
        with self._lock:
            if key not in self._thumbs:
                self._thumbs[key] = content
                self._held += len(content)
            while self._held > _KEPT_BYTES:
                self._held -= len(self._thumbs.popitem(last=False)[1])

    def _progress(self) -> Progress:
        session, reading = self.session, self.reading
        images, labelled, left_out = session.label_counts()
        failure = reading.failure
        return Progress(
            folder=one_line(reading.listing.root),
            table=one_line(str(session.table)),
            goal=session.goal,
            files=reading.total,
            read=reading.done,
            refused=len(reading.refused),
            reading=not reading.is_done,
            images=images,
            labelled=labelled,
            left_out=left_out,
            classes=tuple(ClassCount(label, n) for label, n in session.counts().items()),
            groups=tuple(_size(group) for group in session.groups()[:_LISTED]),
            undo=session.undoable,
            failure=None if failure is None else one_line(str(failure)),
        )

    def _group(self, group: Group) -> ShownGroup:
        selected = group.proposal.selected
        images = tuple(self._image(group.items[row], selected=bool(selected[row])) for row in group.proposal.order)
        similar = self.session.similar(group)
        return ShownGroup(_size(group), images, _size(similar) if similar else None)

    def _image(self, number: int, *, selected: bool) -> ShownImage:
        catalog = self.session.catalog
        name = os.path.relpath(catalog.records[number].path, self.reading.listing.root)
        return ShownImage(number, one_line(name), selected, len(catalog.items[number]) - 1)

    def close(self) -> None:
        """Stop reading."""
        self.reading.stop()


def _size(group: Group) -> GroupSize:
    return GroupSize(group.name, len(group.items), group.cover, group.proposal.label)
