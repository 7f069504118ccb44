"""A small part of `bench/full_disk.py`: a disk that is full from some write on costs no file, and the run goes on."""

from contextlib import contextmanager

import pytest

import full_disk
from foveal.files import cache_dir


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    return full_disk.Subject(tmp_path_factory.mktemp("subject"), ["frozen"], cache_dir())


@pytest.mark.parametrize(
    ("where", "writes", "outcome"),
    [
        ("run", 0, "exit 2"),  # audit.json
        ("run", 3, "exit 2"),  # config.json
        ("run", 8, "exit 2"),  # bundle.json
        ("run", 15, "exit 2"),  # summary.json
        ("cache", 1, "finished"),
    ],
)
def test_nothing_is_lost_on_a_full_disk(subject, tmp_path, where, writes, outcome):
    (tmp_path / "disk").mkdir()
    disk = full_disk.FullDisk(tmp_path / "disk", writes)
    row = full_disk.measure_point(subject, "frozen", where, disk, tmp_path / "point")
    assert (row["full"], row["outcome"], row["wrong"]) == (True, outcome, [])


class TearingDisk(full_disk.FullDisk):
    """It loses half of a file when it is full."""

    @contextmanager
    def entered(self):
        try:
            with super().entered():
                yield self
        finally:
            for file in self.folder.rglob("audit.json"):
                file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_what_is_wrong_is_counted(subject, tmp_path):
    """The checks find what they are made to find."""
    (tmp_path / "disk").mkdir()
    disk = TearingDisk(tmp_path / "disk", 4)
    row = full_disk.measure_point(subject, "frozen", "run", disk, tmp_path / "point")
    assert any("damaged" in wrong for wrong in row["wrong"])
