"""`predict` and `evaluate` on tar shards: the answers for the same images as files."""

import csv
import io
import json
import sys
import tarfile
from pathlib import Path

import pytest

from foveal.cli.main import main


@pytest.fixture
def call(monkeypatch, capsys):
    """`call("predict", …)` in this process: (exit code, stdout)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["foveal", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0), capsys.readouterr().out

    return run


def test_answers_are_those_for_the_files(trained, photos, tmp_path, call):
    run, _ = trained
    files = sorted(Path(photos).rglob("*.*"))[::12]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for file in files:
            archive.add(file, f"{file.parent.name}/{file.name}")
    code, as_files = call("predict", run, *files)
    assert code == 0
    code, as_shard = call("predict", run, tmp_path / "a.tar")
    assert code == 0
    rows = [list(csv.DictReader(io.StringIO(text))) for text in (as_files, as_shard)]
    assert [r.pop("path") for r in rows[1]] == [f"{tmp_path}/a.tar/{f.parent.name}/{f.name}" for f in files]
    assert [r.pop("path") for r in rows[0]] == list(map(str, files))
    assert rows[0] == rows[1]

    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "b.tar").write_bytes(content[: content.rindex(b"ustar") + 1000])
    code, cut = call("predict", run, tmp_path / "cut")
    assert code == 1
    last = list(csv.DictReader(io.StringIO(cut)))[-1]
    assert last["path"].endswith(f"b.tar/{files[-1].parent.name}/{files[-1].name}")
    assert last["error"].startswith("truncated")

    code, out = call("evaluate", run, tmp_path / "cut", "--include-seen", "--json")
    found = json.loads(out)
    assert found["test"]["n"] == len(files) - 1
    assert [x["reason"] for x in found["left_out"]] == ["truncated"]
