"""What is shown next, and what a person's actions do."""

import csv

import numpy as np
import pytest

from foveal.data.sources.listing import DataOptions
from foveal.data.sources.tables import list_table
from foveal.errors import DataError, UsageError
from foveal.labelling import space
from foveal.labelling.catalog import Catalog
from foveal.labelling.reading import FIRST_PART, parts
from foveal.labelling.table import is_label_table
from foveal.values import Entry
from pictures import record
from sessions import everything, features, opened, records, truth


@pytest.fixture
def session(tmp_path):
    made, journal = opened(tmp_path)
    yield made
    journal.close()


def label_all(session):
    """A person who names what the group mostly is, and deselects the rest; the number of actions."""
    actions = 0
    while (group := session.open()) is not None:
        names = [truth(item) for item in group.items]
        label = max(set(names), key=names.count)
        right = [item for item in group.items if truth(item) == label]
        session.label(label, right, set(group.items) - set(right))
        selected = {group.items[row] for row in np.flatnonzero(group.proposal.selected)}
        actions += 1 + len(selected ^ set(right))
    return actions


def test_images_of_one_class_are_labelled_by_few_actions(session):
    assert label_all(session) <= 60 / 4
    assert session.counts() == {"ant": 20, "bee": 20, "cat": 20}


def test_every_image_is_in_one_group(session):
    items = sorted(item for group in session.groups() for item in group.items)
    assert items == list(range(60))


def test_what_is_unlike_everything_labelled_comes_before_what_is_known(session):
    first = session.groups()[0]
    session.label(truth(first.items[0]), first.items)
    known = truth(first.items[0])
    new = [truth(group.items[0]) != known for group in session.groups()]
    assert new[0] and new == sorted(new, reverse=True)


def test_classes_that_have_enough_count_for_less(tmp_path):
    (tmp_path / "few").mkdir()
    (tmp_path / "many").mkdir()
    worth = {}
    for name, goal in (("few", 5), ("many", 500)):
        session, journal = opened(tmp_path / name, goal=goal)
        session.label("ant", [item for item in range(30) if truth(item) == "ant"])
        session.label("bee", [item for item in range(30) if truth(item) == "bee"])
        worth[name] = {g.name: g.proposal.worth for g in session.groups() if g.proposal.label == "ant"}
        journal.close()
    assert worth["few"] and all(worth["few"][name] < worth["many"][name] for name in worth["few"])


def test_a_known_class_is_proposed_and_what_differs_is_not_selected(session):
    for label in ("ant", "bee", "cat"):
        session.label(label, [item for item in range(30) if truth(item) == label])
    odd = next(item for item in range(30, 60) if truth(item) == "bee")
    ants = [item for item in range(30, 60) if truth(item) == "ant"]
    session.label("dog", [59])
    session.undo()
    groups = {item: group.name for group in session.groups() for item in group.items}
    merged = groups[ants[0]]
    if groups[odd] != merged:
        merged = session.merge(merged, groups[odd])
    group = session.open(merged)
    assert group.proposal.label in ("ant", "bee")
    selected = {group.items[row] for row in np.flatnonzero(group.proposal.selected)}
    assert selected == {item for item in group.items if truth(item) == group.proposal.label}


def test_a_label_that_was_not_given_is_not_proposed_again(session):
    session.label("ant", [item for item in range(30) if truth(item) == "ant"])
    session.label("bee", [item for item in range(30) if truth(item) == "bee"])
    item = next(i for i in range(30, 60) if truth(i) == "ant")
    other = next(i for i in range(31, 60) if truth(i) == "ant" and i != item)
    session.label("ant", [other], [item])
    [group] = [group for group in session.groups() if item in group.items]
    assert group.proposal.label != "ant"


def test_splitting_and_merging_keep_all_images(session):
    first, second, *_ = session.groups()
    merged = session.merge(first.name, second.name)
    assert sorted(session.open(merged).items) == sorted([*first.items, *second.items])
    halves = [session.open(name).items for name in session.split(merged)]
    assert all(halves) and sorted([*halves[0], *halves[1]]) == sorted([*first.items, *second.items])
    before = everything(session)
    session.undo()
    session.undo()
    assert sorted(session.open(first.name).items) == sorted(first.items)
    assert before != everything(session)


def test_a_group_that_is_put_off_comes_last(session):
    first = session.groups()[0].name
    session.put_off(first)
    assert session.groups()[-1].name == first


def test_images_that_are_left_out_are_in_no_group_and_not_in_the_table(session):
    session.leave_out([0, 1, 2])
    session.label("ant", [3])
    assert session.label_counts() == (60, 1, 3)
    assert not {0, 1, 2} & {item for group in session.groups() for item in group.items}
    assert len(session.table.read_text().splitlines()) == 2


def test_classes_are_renamed_and_joined(session):
    session.label("ant", [0])
    session.label("Bee", [1])
    session.label("bee", [2])  # the same class, in other letters
    session.rename("ant", "bee")
    assert session.counts() == {"Bee": 3}
    session.rename("Bee", "bee")
    assert session.counts() == {"bee": 3}


@pytest.mark.parametrize("label", ["", "   ", "a" * 101, "a\nb", "\x1b[31m", "ab\u202ecd", "a\u2028b", "\udcff"])
def test_a_label_that_could_not_be_read_is_refused(session, label):
    with pytest.raises(UsageError):
        session.label(label, [0])
    assert session.counts() == {} and session.undoable is None


@pytest.mark.parametrize("images", [[], [60], [-1], [0, 10**6]])
def test_images_that_are_not_there_are_refused(session, images):
    with pytest.raises(UsageError):
        session.label("ant", images)
    assert session.counts() == {}


def test_a_review_begins_with_what_the_others_speak_against(session):
    for label in ("ant", "bee"):
        session.label(label, [item for item in range(60) if truth(item) == label])
    wrong = next(item for item in range(60) if truth(item) == "bee")
    session.label("ant", [wrong])
    assert session.review("ant")[0] == wrong


def test_the_table_is_data_for_a_training_whatever_names_and_labels_are(tmp_path):
    names = ["=cmd|' /C calc'!A0.jpg", "@sum.jpg", " a b .jpg", 'x,y"z.jpg', "\udcff.jpg", "-1.jpg", "+a\tb.jpg"]
    given = [record(n, path=f"{tmp_path}/{name}") for n, name in enumerate(names)]
    session, journal = opened(tmp_path, 0)
    session.add(given, features(len(given)))
    labels = ["=1+1", "@x", "ant", "-ant", "+ant", "'quoted", "ant, bee"]
    for number, label in enumerate(labels):
        session.label(label, [number])
    journal.close()
    listing = list_table(str(session.table), DataOptions())
    assert {(e.path, e.label) for e in listing.entries} == {
        (r.path, label) for r, label in zip(given, labels, strict=True)
    }
    with session.table.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        cells = [cell for row in list(csv.reader(lines))[1:] for cell in row[:2]]
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r"]
    assert is_label_table(session.table)


def test_near_duplicates_are_shown_once_and_all_get_the_label(tmp_path):
    images = records(30)
    twin = record("twin", phash=images[3].phash, thumb=images[3].thumb)
    copy = record(4, path="/p/a/copy.jpg")
    session, journal = opened(tmp_path, 0)
    session.add([*images, twin, copy], np.concatenate([features(30), features(30)[3:5]]))
    assert session.label_counts()[0] == 30
    session.label("ant", [3, 4])
    journal.close()
    listing = list_table(str(session.table), DataOptions())
    assert {e.path for e in listing.entries} == {images[3].path, images[4].path, twin.path, copy.path}


def test_a_near_duplicate_that_is_read_later_has_the_label_already(tmp_path):
    images = records(30)
    session, journal = opened(tmp_path, 0)
    session.add(images, features(30))
    session.label("ant", [3])
    twin = record("twin", phash=images[3].phash, thumb=images[3].thumb)
    session.add([twin], features(30)[3:4])
    journal.close()
    assert twin.path in session.table.read_text()


def test_nothing_is_joined_through_a_third_image():
    first, second, third = (record(n, phash=0) for n in range(3))
    base = np.random.default_rng(0).integers(0, 256, 768).astype(np.float32)
    drift = np.random.default_rng(1).normal(0, 12, 768)
    thumbs = [np.clip(base + k * drift, 0, 255).astype(np.uint8).tobytes() for k in (0, 1, 2)]
    chain = [record(n, phash=0, thumb=thumb) for n, thumb in zip(range(3), thumbs, strict=True)]
    assert {first.sha256, second.sha256, third.sha256} == {r.sha256 for r in chain}
    items = Catalog().extended(chain, features(3)).items
    assert items == {0: [0, 1], 2: [2]}


def test_images_read_later_join_the_groups_and_the_open_one_stays(tmp_path):
    session, journal = opened(tmp_path, 0)
    session.add(records(60)[:20], features(60)[:20])
    group = session.open()
    session.add(records(60)[20:], features(60)[20:])
    assert session.open(group.name).items == group.items
    assert sorted(item for g in session.groups() for item in g.items) == list(range(60))
    journal.close()


def test_groups_are_small_enough_to_be_seen():
    points = space.points_of(np.ones((500, 8), dtype=np.float32))
    found = space.clusters(points)
    assert max(map(len, found)) <= space.MOST_IN_GROUP
    assert sorted(np.concatenate(found).tolist()) == list(range(500))


def test_probabilities_are_about_as_often_right_as_they_say():
    rows = features(900, spread=1.6)
    points = space.points_of(rows)
    names = [truth(n) for n in range(900)]
    classes, p = space.probabilities(points[150:], points[:150], names[:150])
    right = np.mean([classes[k] == name for k, name in zip(p.argmax(axis=1), names[150:], strict=True)])
    assert right > 0.6 and abs(p.max(axis=1).mean() - right) < 0.12


def test_a_sample_is_read_first():
    entries = [Entry(f"/p/{n:05}.jpg", None) for n in range(1000)]
    made = list(parts(entries))
    assert (
        len(made[0]) == FIRST_PART and sorted((e for part in made for e in part), key=lambda e: e.path) == entries
    )
    assert list(parts(entries[::-1])) == made


def test_a_folder_without_images_is_refused(tmp_path):
    from foveal.data.sources.unlabelled import list_unlabelled

    (tmp_path / "a.txt").write_text("text")
    for given in (tmp_path, tmp_path / "a.txt", tmp_path / "missing", "https://example.org/a"):
        with pytest.raises(DataError):
            list_unlabelled(str(given))
