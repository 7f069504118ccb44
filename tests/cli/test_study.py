"""`foveal study`."""

import json

import pytest
from typer.testing import CliRunner

from foveal.cli.main import app
from foveal.errors import UnknownName, UsageError
from foveal.studies import NAMES


def ask(*arguments):
    return CliRunner().invoke(app, ["study", *arguments], catch_exceptions=False)


def test_the_list_names_all_ten():
    rows = json.loads(ask("--json").stdout)["studies"]
    assert [r["name"] for r in rows] == list(NAMES) and len(rows) == 10
    assert all(set(r) == {"name", "claim", "verdict"} and r["claim"] for r in rows)
    assert all(name in ask().stdout for name in NAMES)


def test_bad_input():
    with pytest.raises(UnknownName) as caught:
        ask("inovations")
    assert "innovations" in caught.value.hint
    for wrong in (("--more", "3"), ("all", "--seeds", "3")):
        with pytest.raises(UsageError):
            ask(*wrong)


def test_no_time_is_no_verdict(tmp_path):
    done = ask("cnn-vs-dense", "--time", "0.001s", "--out", str(tmp_path / "none"), "--json")
    content = json.loads(done.stdout)
    assert content["schema"] == 1 and content["verdict"] == "undecided" and content["rows"] == []
