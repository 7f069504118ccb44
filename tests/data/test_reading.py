"""Reading files that are huge, that block, or that change meanwhile: a reason code, within a bounded time."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from foveal.data.audit import audit
from foveal.data.images.decode import REASONS, read_file
from foveal.data.images.reading import Reader
from foveal.errors import UnreadableImage
from pictures import make_folder


def code_of(path, read=read_file):
    with pytest.raises(UnreadableImage) as caught:
        read(str(path))
    assert caught.value.code in REASONS
    return caught.value.code


@pytest.fixture
def linked(tmp_path):
    """A link to a regular file: such a file is read by a thread of its own."""
    (tmp_path / "file.png").write_bytes(b"content")
    link = tmp_path / "link.png"
    link.symlink_to("file.png")
    return link


@pytest.fixture
def stuck():
    """Every descriptor hangs when it is read, until the test ends: a reader of little patience, and the patch."""
    end, reader = threading.Event(), Reader(patience=0.05, least_patience=0.01)
    read = os.read

    def hang(descriptor, count):
        end.wait(60)
        return read(descriptor, count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "read", hang)
        yield reader, patch
    end.set()
    for thread in reader.hanging:
        thread.join(30)


def test_regular_files_and_links_are_read_whole(tmp_path, linked):
    content = os.urandom(3 * Reader().chunk + 7)
    (tmp_path / "file.png").write_bytes(content)
    assert read_file(str(tmp_path / "file.png")) == content
    assert read_file(str(linked)) == content


def test_a_huge_sparse_file_is_refused_before_it_is_read(tmp_path):
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as handle:
        handle.truncate(60 << 30)
    assert code_of(huge) == "too_large"
    (tmp_path / "link.jpg").symlink_to(huge)
    assert code_of(tmp_path / "link.jpg") == "too_large"


def test_memory_that_is_not_there_is_a_reason(tmp_path, monkeypatch, linked):
    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr(os, "read", refuse)
    assert code_of(linked) == code_of(linked.resolve()) == "too_large"


def test_an_audit_goes_on_past_a_huge_file(tmp_path):
    make_folder(tmp_path, {"cat": 2, "dog": 2})
    with (tmp_path / "cat" / "huge.jpg").open("wb") as handle:
        handle.truncate(60 << 30)
    audited = audit(tmp_path)
    assert len(audited.records) == 4
    assert [item.reason for item in audited.excluded] == ["too_large"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_fifos_devices_and_folders_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "link.png").symlink_to("fifo.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    for name in ("fifo.png", "link.png", "zero.png", "folder.png"):
        assert code_of(tmp_path / name) == "unreadable_file", name


@pytest.mark.skipif(not os.path.exists("/proc/self/mountinfo"), reason="Linux only")
def test_files_of_the_kernel_do_not_block(tmp_path):
    """Some of them, such as `/proc/kmsg`, wait for news."""
    for name in ("kmsg", "kcore", "self/mem", "self/pagemap"):
        if os.path.exists(f"/proc/{name}"):
            link = tmp_path / f"{name.replace('/', '-')}.png"
            link.symlink_to(f"/proc/{name}")
            assert code_of(link) in ("empty_file", "unreadable_file", "too_large"), name


def test_what_does_not_answer_is_given_up(linked, stuck):
    reader, _ = stuck
    assert code_of(linked, reader.read) == "no_answer"


def test_only_so_many_reads_hang_at_once(linked, stuck):
    reader, patch = stuck
    for _ in range(2 * reader.most_hanging):
        assert code_of(linked, reader.read) == "no_answer"
    assert len(reader.hanging) == reader.most_hanging
    patch.undo()
    assert reader.read(str(linked.resolve())) == b"content"  # a regular file on a local disk is read all the same


def test_what_arrives_slowly_is_waited_for(linked, monkeypatch):
    """Each chunk takes longer than half the patience, all together take much longer than all of it."""
    linked.resolve().write_bytes(bytes(range(40)))
    read, pause = os.read, threading.Event()

    def slow(descriptor, count):
        pause.wait(0.6)
        return read(descriptor, count)

    monkeypatch.setattr(os, "read", slow)
    assert Reader(patience=1.0, chunk=10).read(str(linked)) == bytes(range(40))


@pytest.mark.parametrize("change", [b"", b"more than before"])
@pytest.mark.parametrize("through_link", [False, True])
def test_a_file_that_changes_while_it_is_read_is_named(linked, monkeypatch, change, through_link):
    path, read = linked.resolve(), os.read

    def change_then_read(descriptor, count):
        path.write_bytes(change)
        os.utime(path, ns=(1, 1))
        return read(descriptor, count)

    monkeypatch.setattr(os, "read", change_then_read)
    assert code_of(linked if through_link else path) == "changed"


def test_a_read_that_hangs_does_not_keep_the_process(linked):
    """As on a network share that is gone: Ctrl-C ends the process though one of its threads never returns."""
    code = (
        "import os, sys, threading; from foveal.data.images.decode import read_file\n"
        "os.read = lambda *_: print('reading', flush=True) or threading.Event().wait(100)\n"
        "read_file(sys.argv[1])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(linked)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout.readline() == b"reading\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) != 0


@pytest.mark.parametrize("name", ["nowhere.png", "file.png/inner.png", "nul\0.png", "x" * 300])
def test_names_without_a_file(linked, name):
    assert code_of(linked.parent / name) in ("missing", "unreadable_file")
