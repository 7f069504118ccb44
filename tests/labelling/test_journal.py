"""Whatever a person did, a killed process goes on where it was."""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foveal.errors import DataError, UsageError
from foveal.labelling.journal import Journal
from foveal.labelling.session import Gone, Session
from foveal.labelling.state import History, Patch
from sessions import everything, features, opened, records

KEYS = st.sampled_from([f"{n:016x}" for n in range(8)])
LABELS = st.sampled_from(["", "ant", "bee", "=1+1", "Ärger"])
PATCHES = st.builds(
    Patch,
    words=st.sampled_from(["", "said"]),
    labels=st.dictionaries(KEYS, st.none() | LABELS),
    groups=st.dictionaries(KEYS, st.none() | st.sampled_from(["g1", "h2", "rest"])),
    denied=st.dictionaries(KEYS, st.none() | st.lists(LABELS, min_size=1).map(tuple)),
    later=st.dictionaries(st.sampled_from(["g1", "h2"]), st.none() | st.integers(1, 9)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(PATCHES, max_size=5), PATCHES)
def test_undo_takes_back_exactly_the_last_thing_a_person_did(before, last):
    history = History()
    for patch in before:
        history.do(patch)
    expected = json.loads(json.dumps(vars(history.state)))
    history.do(Patch("last", last.labels, last.groups, last.denied, last.later))
    assert history.undo()
    assert json.loads(json.dumps(vars(history.state))) == expected


@settings(max_examples=40, deadline=None)
@given(PATCHES)
def test_a_patch_survives_json(patch):
    assert Patch.from_dict(json.loads(json.dumps(patch.to_dict()))) == patch


#: What a person does, by the number of a group and of a label or class.
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["accept", "part", "leave_out", "split", "merge", "put_off", "rename", "take_back", "undo"]
        ),
        st.integers(0, 5),
        st.sampled_from(["ant", "bee", "cat", "dog"]),
    ),
    max_size=12,
)


def perform(session, action, number, label):
    groups = session.groups()
    group = groups[number % len(groups)] if groups else None
    try:
        if action == "undo":
            session.undo()
        elif action == "rename":
            session.rename(label, f"{label}-{number}")
        elif action == "take_back":
            session.take_back(session.review(label)[:number])
        elif group is None:
            return
        elif action == "accept":
            session.label(label, group.items)
        elif action == "part":
            session.label(label, group.items[: number + 1], group.items[number + 1 :])
        elif action == "leave_out":
            session.leave_out(group.items[:number])
        elif action == "merge":
            session.merge(group.name, groups[0].name)
        else:
            getattr(session, action)(group.name)
    except UsageError:
        pass


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS, st.integers(0, 200))
def test_a_session_goes_on_where_it_was_after_a_kill(actions, torn):
    with tempfile.TemporaryDirectory() as folder:
        session, journal = opened(Path(folder, "first"))
        for action in actions:
            perform(session, *action)
        killed = Path(folder, "killed")
        killed.mkdir()
        for name in ("labels.csv", "labels.csv.journal"):
            shutil.copy(Path(folder, "first", name), killed)
        with (killed / "labels.csv.journal").open("ab") as stream:  # an action that was being written
            stream.write(b'{"do": "ant: 3 images", "labels": [["ant", ["0123456789abcdef"'[:torn])
        again, other = opened(killed)
        assert everything(again) == everything(session)
        assert again.table.read_bytes() == session.table.read_bytes()
        for _ in range(3):
            assert again.undo() == session.undo()
        assert again.counts() == session.counts()
        journal.close()
        other.close()


def test_the_table_follows_when_the_process_was_killed_before_it_was_written(tmp_path):
    session, journal = opened(tmp_path)
    before = session.table.read_bytes()
    session.label("ant", session.groups()[0].items)
    after = session.table.read_bytes()
    journal.close()
    session.table.write_bytes(before)
    again, journal = opened(tmp_path)
    journal.close()
    assert again.table.read_bytes() == after != before


def test_labels_that_were_edited_in_the_table_hold_and_can_be_undone(tmp_path):
    session, journal = opened(tmp_path)
    session.label("ant", session.groups()[0].items)
    counts = session.counts()
    journal.close()
    lines = session.table.read_text().splitlines(keepends=True)
    session.table.write_text(lines[0] + lines[1].replace(",ant,", ",wasp,") + "".join(lines[3:]))
    again, journal = opened(tmp_path)
    assert again.counts() == {"ant": counts["ant"] - 2, "wasp": 1}
    again.undo()
    assert again.counts() == counts
    journal.close()


def test_without_the_journal_labels_come_from_the_table(tmp_path):
    session, journal = opened(tmp_path)
    session.label("ant", session.groups()[0].items)
    counts = session.counts()
    journal.close()
    journal.path.unlink()
    again, journal = opened(tmp_path)
    assert again.counts() == counts
    journal.close()


def test_rows_of_images_that_were_not_read_yet_stay_in_the_table(tmp_path):
    session, journal = opened(tmp_path)
    session.label("ant", [item for group in session.groups() for item in group.items])
    rows = session.table.read_text()
    journal.close()
    journal = Journal(session.table)
    again = Session(journal, session.table, goal=5)
    again.add(records(60)[:20], features(60)[:20])
    again.label("bee", [0])
    journal.close()
    expected = rows.replace("/p/a/0.jpg,ant", "/p/a/0.jpg,bee")
    assert again.table.read_text() == expected


def test_two_processes_do_not_write_one_table(tmp_path):
    _, journal = opened(tmp_path)
    with pytest.raises(UsageError, match="another"):
        Journal(tmp_path / "labels.csv")
    journal.close()
    Journal(tmp_path / "labels.csv").close()


@pytest.mark.parametrize(
    "content",
    [
        b"my own notes\n",
        b"my own notes",
        b'{"foveal": "labels", "schema": 99}\n',
        b'{"foveal": "labels", "schema": 1}\n{"do": "x", "labels": [["ant", 5]]}\n',
        b'{"foveal": "labels", "schema": 1}\nno json\n{"do": "x"}\n',
    ],
)
def test_a_file_that_is_no_journal_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "labels.csv.journal"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"labels\.csv\.journal"):
        Journal(tmp_path / "labels.csv")
    assert path.read_bytes() == content


def test_a_group_that_is_gone_is_said_to_be(tmp_path):
    session, journal = opened(tmp_path)
    for action in (session.split, session.put_off, session.open):
        with pytest.raises(Gone):
            action("g999")
    journal.close()


@pytest.mark.skipif(sys.platform == "win32", reason="locks of Unix")
def test_a_process_that_waits_while_another_ends_excludes_the_next(tmp_path):
    import fcntl

    table = tmp_path / "labels.csv"
    journal = Journal(table)
    with (tmp_path / ".labels.csv.lock").open("r+b") as waiting:
        journal.close()
        fcntl.flock(waiting, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(UsageError):
            Journal(table)
    Journal(table).close()
