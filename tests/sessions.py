"""Labelling sessions on points that stand for images: no file, no network."""

import numpy as np

import pictures
from foveal.labelling.journal import Journal
from foveal.labelling.session import Session

CLASSES = ("ant", "bee", "cat")


def features(count, *, spread=0.3, seed=0):
    """Features of images that lie around one direction for each class in turn, `(count, 16)`."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(len(CLASSES), 16))
    rows = centres[np.arange(count) % len(CLASSES)] + spread * generator.normal(size=(count, 16))
    return rows.astype(np.float32)


def records(count):
    """Records whose true class is that of `truth`."""
    return [pictures.record(n) for n in range(count)]


def truth(number):
    return CLASSES[number % len(CLASSES)]


def opened(folder, count=60, *, goal=5):
    """A session on `count` images, and its journal."""
    folder.mkdir(exist_ok=True)
    table = folder / "labels.csv"
    journal = Journal(table)
    session = Session(journal, table, goal=goal)
    session.add(records(count), features(count))
    return session, journal


def everything(session):
    """All that a person could notice: labels, groups, what is left, and what would be undone."""
    catalog = session.catalog
    groups = [(g.name, sorted(g.items), g.proposal.label, g.proposal.order) for g in session.groups()]
    labels = {name: sorted(session.review(name)) for name in (*session.counts(), "")}
    return len(catalog.items), session.counts(), labels, groups, session.undoable
