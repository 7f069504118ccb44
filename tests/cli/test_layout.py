"""Text fits 80 columns, or what the terminal has."""

import pytest
from typer.testing import CliRunner

from foveal.cli.layout import columns, hanging
from foveal.cli.main import app


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize(
    "arguments",
    [
        ["zoo"],
        ["zoo", "googlenet"],
        ["study"],
        ["plan", "resnet50", "--input", "3x32x32"],
        ["plan", "conv8k3-relu-gap-dense5", "--input", "3x32x32", "--memory", "1MiB", "--remedies"],
    ],
)
def test_no_line_is_longer_than_the_terminal(arguments, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    lines = CliRunner().invoke(app, arguments).stdout.splitlines()
    floor = 80 if arguments[0] != "study" else width  # tables of numbers are not made narrower
    assert lines and max(map(len, lines)) <= max(floor, width)


def test_without_a_terminal_there_are_80_columns(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("os.get_terminal_size", lambda *_: (_ for _ in ()).throw(OSError()))
    assert columns() == 80


def test_long_words_stay_whole():
    path = "/a/very-long/path" * 10
    assert hanging("where  ", f"in {path}", 40) == ["where  in", f"       {path}"]


def test_the_zoo_wraps_its_last_column_and_cuts_nothing(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = CliRunner().invoke(app, ["zoo"])
    assert "…" not in done.stdout and all(len(line) <= 80 for line in done.stdout.splitlines())


def test_the_values_of_doctor_stand_in_one_column(monkeypatch):
    lines = CliRunner().invoke(app, ["doctor"]).stdout.splitlines()
    assert any(line.startswith("scikit-learn  ") for line in lines)
    assert all(line[12:14] == "  " and line[14] != " " for line in lines)
