"""`compare` and `suspects` on real runs, and corrections on their way back into a training."""

import csv
import json
import shutil

import pytest
from typer.testing import CliRunner

from foveal.cli.main import app
from foveal.config import TrainConfig
from foveal.data.split.split_csv import read_rows
from foveal.errors import DataError, FovealError, UnknownName, UsageError
from foveal.evaluation.compare_runs import compare_runs
from foveal.evaluation.suspects import find_suspects
from foveal.flow import train
from pictures import make_folder

SETTINGS = {"strategy": "frozen", "time": "5m", "test": "subset"}
#: An image of bees among the ants.
WRONG = "ant/900.jpg"


@pytest.fixture(scope="module")
def mislabelled(tmp_path_factory):
    """A folder with a wrong label, and a run on it."""
    folder = make_folder(tmp_path_factory.mktemp("mislabelled") / "data", {"ant": 30, "bee": 30}, seed=3)
    extra = make_folder(tmp_path_factory.mktemp("extra"), {"none": 1, "bee": 1}, seed=7)
    shutil.copy(extra / "bee" / "000.jpg", folder / WRONG)
    run, summary = train(folder, TrainConfig(**SETTINGS), out=str(folder.parent / "run"))
    return folder, run, summary


def output(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_a_wrong_label_is_first_of_the_list(mislabelled):
    folder, run, summary = mislabelled
    found = find_suspects(run)
    first = found.ranked[0]
    assert (first.path, first.label, first.suggested, first.flagged) == (str(folder / WRONG), "ant", "bee", True)
    assert len(found.ranked) == found.images == 61
    assert (found.test_right, found.test_images) == (
        round(summary["test"]["accuracy"] * summary["test"]["n"]),
        summary["test"]["n"],
    )
    assert found.confused[0][:3] == ("ant", "bee", len([s for s in found.ranked if s.label != s.suggested]))


def test_json_and_table(mislabelled, tmp_path):
    folder, run, _ = mislabelled
    shown = json.loads(output("suspects", run, "--top", 5, "--json", "--out", tmp_path / "list.csv"))
    assert shown["schema"] == 1 and len(shown["suspects"]) == 5 and shown["flagged"] >= 1
    with (tmp_path / "list.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["path"] for row in rows] == [s["path"] for s in shown["suspects"]]
    assert str(folder / WRONG) in output("suspects", run)
    output("suspects", run, "--out", tmp_path / "list.csv")  # its own file is replaced
    (tmp_path / "mine.csv").write_text("path,label\n")
    with pytest.raises(UsageError, match=r"mine\.csv"):
        CliRunner().invoke(
            app, ["suspects", str(run), "--out", str(tmp_path / "mine.csv")], catch_exceptions=False
        )


def test_corrections_change_labels_leave_images_out_and_add_some(mislabelled, tmp_path):
    folder, run, _ = mislabelled
    other = make_folder(tmp_path / "new", {"bee": 1}, seed=9) / "bee" / "000.jpg"
    table = tmp_path / "corrections.csv"
    output("suspects", run, "--top", 2, "--out", table)
    with table.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    rows[0]["label"], rows[1]["label"] = rows[0]["suggested"], ""
    with table.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows([*rows, {**rows[0], "path": str(other), "label": "bee"}])
    before = {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    config = TrainConfig(**SETTINGS, corrections=str(tmp_path))  # the folder will do
    corrected, _ = train(folder, config, out=str(tmp_path / "run"))
    placed = {row["path"]: row for row in read_rows(corrected / "split.csv")}
    assert placed[str(folder / WRONG)]["label"] == "bee"
    assert placed[rows[1]["path"]]["split"] == "" and placed[rows[1]["path"]]["note"].startswith("corrections:")
    assert placed[str(other)]["label"] == "bee" and placed[str(other)]["split"]
    assert {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()} == before


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("path,label\n{0},wasp\n", UnknownName),
        ("path,label\n{0},ant\n{0},bee\n", DataError),
        ("name,kind\nx,y\n", DataError),
        (None, DataError),
    ],
)
def test_corrections_that_make_no_sense_are_refused_by_name(mislabelled, tmp_path, text, error):
    folder, _, _ = mislabelled
    table = tmp_path / "table.csv"
    if text is not None:
        table.write_text(text.format(folder / WRONG))
    with pytest.raises(error) as caught:
        train(folder, TrainConfig(**SETTINGS, corrections=str(table)), out=str(tmp_path / "run"))
    assert caught.value.hint
    assert "wasp" in str(caught.value) if error is UnknownName else "table.csv" in str(caught.value)


def test_a_run_compared_with_another_on_the_same_images(mislabelled, tmp_path):
    folder, run, summary = mislabelled
    config = TrainConfig(**{**SETTINGS, "strategy": "frozen-stages"}, split_from=str(run))
    other, second = train(folder, config, out=str(tmp_path / "other"))
    found = json.loads(output("compare", run, other, "--json"))
    assert found["n"] == summary["test"]["n"] and found["not_in_both"] == 0
    assert found["a"]["accuracy"] == pytest.approx(summary["test"]["accuracy"])
    assert found["b"]["accuracy"] == pytest.approx(second["test"]["accuracy"])
    accuracy = found["accuracy"]
    expected = (accuracy["only_b_right"] - accuracy["only_a_right"]) / found["n"]
    assert accuracy["difference"] == pytest.approx(expected)
    assert accuracy["ci95"][0] <= expected <= accuracy["ci95"][1]
    assert found["verdict"] in output("compare", run, other)


def test_a_run_compared_with_itself_shows_no_difference(mislabelled):
    _, run, _ = mislabelled
    found = compare_runs(run, run)
    assert found["better"] is None and found["accuracy"]["mcnemar_p"] == 1
    assert found["accuracy"]["ci95"][0] < 0 < found["accuracy"]["ci95"][1]


def test_runs_that_cannot_be_compared(mislabelled, trained, tmp_path):
    _, run, _ = mislabelled
    with pytest.raises(DataError, match="no test image in common"):
        compare_runs(run, trained[0])
    shutil.copytree(run, tmp_path / "old")
    (tmp_path / "old" / "held_out.safetensors").unlink()
    for check in (lambda: compare_runs(run, tmp_path / "old"), lambda: find_suspects(tmp_path / "old")):
        with pytest.raises(UsageError, match="old"):
            check()
    with pytest.raises(FovealError):
        find_suspects(tmp_path / "nowhere")
