"""Shared by all tests: own cache and state folders, small disks, and folders of small pictures."""

import subprocess
import tempfile
from pathlib import Path

import pytest

import browsing
import pictures
from foveal.machine import share_cores

share_cores()


def pytest_collection_modifyitems(items):
    """Files that are marked `slow` come first."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory):
    """Nothing is read from or written to the user's folders; lite0 is converted once a session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOVEAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("FOVEAL_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    """An empty cache folder for one test."""
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "own-cache"))
    return tmp_path / "own-cache"


@pytest.fixture
def fresh_state(tmp_path, monkeypatch):
    """An empty state folder for one test."""
    monkeypatch.setenv("FOVEAL_STATE", str(tmp_path / "own-state"))
    return tmp_path / "own-state"


@pytest.fixture(scope="session")
def make_folder():
    """`make_folder(tmp_path, {"cat": 5, "dog": 3})` writes class folders of small distinct pictures."""
    return pictures.make_folder


@pytest.fixture(scope="session")
def draw():
    """`draw(seed, size)`: one picture."""
    return pictures.draw


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Three classes of 40 small pictures: the colour tells the class."""
    return pictures.make_folder(tmp_path_factory.mktemp("photos"), {"ant": 40, "bee": 40, "cat": 40})


@pytest.fixture(scope="session")
def trained(photos, tmp_path_factory):
    """(run folder, summary) of one training on `photos`, shared by all tests that only look."""
    from foveal.config import TrainConfig
    from foveal.flow import train

    return train(photos, TrainConfig(test="subset"), out=str(tmp_path_factory.mktemp("runs") / "run"))


@pytest.fixture(scope="module")
def browser():
    """A real browser. Of a module, since its event loop would disturb others."""
    yield from browsing.launched()


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """The source of axe-core."""
    return browsing.axe_source(tmp_path_factory.mktemp("axe"))


@pytest.fixture
def open_folder():
    """A folder that every user may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of three megabytes; None where mounting is not allowed."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    yield folder if mounted else None
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)
