"""Predictions come out of a file as they went in; a format from outside needs no change in the package."""

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from foveal.cli.main import app
from foveal.errors import UsageError
from foveal.files import read_csv
from foveal.inference.classifier import ClassificationPredictor, Prediction
from foveal.inference.outputs.formats import (
    FORMATS,
    check_output,
    choose_format,
    formats_of,
    register_format,
    wrote,
)
from foveal.inference.outputs.output_format import OutputFormat, OutputOptions, text_stream
from foveal.inference.outputs.table_rows import columns

ODD = [
    Prediction("plain.jpg", "a", 0.75, (("a", 0.75), ("b", 0.25)), ("a", "b")),
    Prediction('comma, quote" and\nline\r.jpg', "b", 0.5, (("b", 0.5), ("a", 0.5)), ("b",)),
    Prediction("not-utf8-\udcff.jpg", error="broken: as can be"),
]
TWO = OutputOptions(topk=2)


def table(name):
    return choose_format("classify", name=name, out=Path("some.file"))


@pytest.mark.parametrize("to_file", [False, True])
def test_csv_round_trip(tmp_path, to_file):
    target = tmp_path / "a.csv" if to_file else io.StringIO(newline="")
    assert table("csv").write(ODD, target, TWO) == 3
    text = target.read_bytes().decode(errors="surrogateescape") if to_file else target.getvalue()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(rows[0]) == columns(2)
    assert [r["path"] for r in rows] == [p.path for p in ODD]
    assert rows[0]["label_2"] == "b" and rows[0]["set"] == "a|b" and rows[2]["error"] == "broken: as can be"


def test_json_round_trip():
    stream = io.StringIO()
    assert table("json").write(ODD, stream, TWO) == 3
    predictions = json.loads(stream.getvalue())["predictions"]
    assert [p["path"] for p in predictions] == [p.path for p in ODD]
    assert predictions[0]["topk"][1] == {"label": "b", "probability": 0.25}
    empty = io.StringIO()
    assert table("json").write([], empty, TWO) == 0 and json.loads(empty.getvalue())["predictions"] == []


def test_parquet_round_trip(tmp_path):
    assert table("parquet").write(iter(ODD), tmp_path / "a.parquet", TWO) == 3
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [r["path"] for r in rows[:2]] == [p.path for p in ODD[:2]] and "udcff" in rows[2]["path"]
    assert rows[0]["probability"] == 0.75 and rows[2]["probability"] is None
    assert table("parquet").write(iter([]), tmp_path / "empty.parquet", TWO) == 0
    assert pq.read_table(tmp_path / "empty.parquet").num_rows == 0


def test_a_format_is_chosen_by_name_by_suffix_or_as_the_usual_one(tmp_path):
    assert choose_format("classify").name == "csv" and choose_format("classify", json=True).name == "json"
    assert choose_format("classify", out=tmp_path / "A.PARQUET").name == "parquet"
    assert choose_format("classify", name="JSON", out=tmp_path / "a.csv").name == "json"
    assert choose_format("segment", out=tmp_path / "masks").folder
    assert choose_format("segment", json=True).name == "json"
    for given in (
        {"task": "classify", "out": tmp_path / "a.xml"},
        {"task": "classify", "name": "xml"},
        {"task": "classify", "name": "parquet"},
        {"task": "classify", "name": "parquet", "json": True},
        {"task": "segment"},
        {"task": "no such task"},
    ):
        with pytest.raises(UsageError) as refused:
            choose_format(**given)
        assert refused.value.hint or given["task"] == "no such task"


FORMULA = "=cmd|'calc'!A1"


def test_formulas_are_text_in_csv_and_themselves_elsewhere(tmp_path):
    found = [Prediction("=1+1.jpg", FORMULA, 0.5, ((FORMULA, 0.5),), (FORMULA,)), Prediction("a", "-1", 1.0)]
    for name in ("csv", "json", "parquet"):
        table(name).write(found, tmp_path / f"a.{name}", OutputOptions())
    with (tmp_path / "a.csv").open(newline="") as handle:
        rows = list(csv.reader(handle))
    assert not any(cell.startswith("=") for row in rows for cell in row)
    assert rows[1][0] == "./=1+1.jpg" and rows[2][1] == "-1"  # the same file; a number is no formula
    assert json.loads((tmp_path / "a.json").read_text())["predictions"][0]["label"] == FORMULA
    assert pq.read_table(tmp_path / "a.parquet").to_pylist()[0]["label"] == FORMULA
    with (tmp_path / "a.csv").open(newline="") as handle:
        assert read_csv(handle)[0]["label"] == FORMULA


@pytest.mark.parametrize("name", ["csv", "json", "parquet"])
@pytest.mark.parametrize("topk", [1, 2, 7])
def test_our_tables_are_known_again_and_others_are_not(tmp_path, name, topk):
    target = tmp_path / "table"
    table(name).write(ODD, target, OutputOptions(topk=topk))
    assert wrote(target)
    check_output(table("csv"), target)  # of another format, but ours


@pytest.mark.parametrize(
    "content",
    [
        b"path,label,probability\n1.jpg,a,0.5\n",
        b'{"images": []}',
        b"PAR1 and no more",
        b"\x89PNG\r\n\x1a\n",
        b"[]",
    ],
)
def test_tables_of_others_are_refused(tmp_path, content):
    target = tmp_path / "table.csv"
    target.write_bytes(content)
    for name in ("csv", "json", "parquet"):
        with pytest.raises(UsageError):
            check_output(table(name), target)
    assert target.read_bytes() == content


@pytest.mark.parametrize("name", ["csv", "json", "parquet"])
def test_rows_before_a_failure_are_kept(tmp_path, name):
    def failing():
        yield from ODD
        raise OSError(28, "No space left on device")

    told = []
    with pytest.raises(OSError):
        table(name).write(failing(), tmp_path / "a.table", OutputOptions(topk=2, on_partial=told.append))
    assert told == [tmp_path / "a.partial.table"] == list(tmp_path.iterdir())
    if name == "csv":
        assert told[0].read_text(errors="replace").startswith("path,label") and b"broken" in told[0].read_bytes()


@pytest.fixture
def lines():
    """A format that writes `PATH is LABEL`, known for one test."""

    def write(predictions, target, options):
        rows = [f"{Path(p.path).name} is {p.label} of {len(p.topk)}\n" for p in predictions]
        with text_stream(target) as stream:
            stream.writelines(rows)
        return len(rows)

    register_format(OutputFormat("lines", write, suffixes=(".lines",)))
    yield choose_format("classify", name="lines")
    del FORMATS["classify", "lines"]


def test_a_format_from_outside_by_the_command_line_and_in_python(lines, trained, photos, tmp_path):
    files = [str(f) for f in sorted((photos / "ant").iterdir())[:3]]
    expected = [f"{Path(p.path).name} is {p.label} of 2" for p in predicted(trained, files)]
    to_stdout = CliRunner().invoke(app, ["predict", str(trained[0]), *files, "--topk", "2", "--format", "lines"])
    assert to_stdout.exit_code == 0 and to_stdout.stdout.splitlines() == expected
    target = tmp_path / "predictions.lines"
    done = CliRunner().invoke(app, ["predict", str(trained[0]), *files, "--topk", "2", "--out", str(target)])
    assert done.exit_code == 0 and done.stdout == "" and target.read_text().splitlines() == expected
    stream = io.StringIO()
    assert lines.write(predicted(trained, files), stream, OutputOptions()) == 3
    assert stream.getvalue().splitlines() == expected
    assert lines in formats_of("classify") and lines not in formats_of("segment")


def predicted(trained, files):
    return ClassificationPredictor.load(trained[0]).stream(files, topk=2)
