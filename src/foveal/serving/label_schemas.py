"""The JSON between the page of `foveal label` and its server."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

_Images = Annotated[tuple[int, ...], Meta(max_length=20_000)]
_Text = Annotated[str, Meta(max_length=1000)]


class Action(Struct, frozen=True, forbid_unknown_fields=True):
    """What a person does.

    Attributes:
        do: `label`, `leave_out` and `take_back` are about `images`; `split`, `merge` and `put_off` about `group`;
            `rename` about `label`.
        images: numbers of images.
        others: of `label`: images that were shown with them and do not have it.
        label: of `label`: the label; of `rename`: the class.
        new: of `rename`: its new name.
        group: name of a group.
        other: of `merge`: the group to merge with.
    """

    do: Literal["label", "leave_out", "take_back", "split", "merge", "put_off", "rename", "undo"]
    images: _Images = ()
    others: _Images = ()
    label: _Text = ""
    new: _Text = ""
    group: _Text = ""
    other: _Text = ""


class ShownImage(Struct, frozen=True):
    """An image of a group.

    Attributes:
        image: its number.
        name: its path below the folder, harmless to show.
        selected: whether it seems to belong to the rest of the group.
        copies: how many near-duplicates get its label as well.
    """

    image: int
    name: str
    selected: bool
    copies: int = 0


class GroupSize(Struct, frozen=True):
    """A group in a list.

    Attributes:
        name: for actions.
        images: how many.
        cover: the image that is most like all of them.
        proposal: the label that it seems to have.
    """

    name: str
    images: int
    cover: int
    proposal: str | None


class ShownGroup(Struct, frozen=True):
    """A group as it is labelled.

    Attributes:
        group: its name, size and proposal.
        images: those that look out of place first.
        similar: the group that is most like it.
    """

    group: GroupSize
    images: tuple[ShownImage, ...]
    similar: GroupSize | None


class ClassCount(Struct, frozen=True):
    """A class with the number of its images."""

    label: str
    images: int


class Progress(Struct, frozen=True):
    """How far it is.

    Attributes:
        folder, table: the images, and the CSV that is written.
        goal: images that each class should have.
        files, read, refused: files in the folder; those that were read; those that can't be.
        reading: whether some are still to be read.
        images, labelled, left_out: images that are shown, near-duplicates once; those of them with a label; those that
            take no part.
        classes: in the order in which they were named.
        groups: what is left, what is most worth labelling first.
        undo: what would be taken back.
        failure: why no more images are read.
    """

    folder: str
    table: str
    goal: int
    files: int
    read: int
    refused: int
    reading: bool
    images: int
    labelled: int
    left_out: int
    classes: tuple[ClassCount, ...]
    groups: tuple[GroupSize, ...]
    undo: str | None
    failure: str | None = None


class Shown(Struct, frozen=True):
    """What the page shows after each request.

    Attributes:
        progress: how far it is.
        current: the group to label; None: there is none, or not yet.
        done: what was taken back, where something was.
    """

    progress: Progress
    current: ShownGroup | None
    done: str | None = None


class Review(Struct, frozen=True):
    """Images of one class, those that the others speak against first."""

    label: str
    images: tuple[ShownImage, ...]
    total: int
