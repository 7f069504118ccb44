"""CSV and JSONL files as DATA; a bad one is a DataError that names file and line."""

import json
import os

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data.audit.scan import scan
from foveal.data.sources.list_data import list_data
from foveal.data.sources.listing import DataOptions
from foveal.data.split.split_csv import split_to_csv
from foveal.data.targets.labels import Labels
from foveal.errors import DataError
from foveal.inference.classifier import Prediction
from foveal.inference.outputs.output_format import OutputOptions
from foveal.inference.outputs.table_csv import CSV
from foveal.values import Split, SplitRecord
from pictures import record


def entries(path):
    listing = list_data(path)
    return [(os.path.relpath(e.path, listing.root), e.label, e.split, e.group) for e in listing.entries]


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


ROWS = [("a.jpg", "cat", "train", "7"), ("sub/b.jpg", "dog", "test", None), ("c d.jpg", "cat", None, None)]
TEXT = "path,label,split,group\na.jpg,cat,train,7\nsub/b.jpg,dog,test,\nc d.jpg,cat,,\n"


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace(",", ";"),
        TEXT.replace(",", "\t"),
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("path,label,split", "Path, LABEL ,Split"),
        TEXT.replace("a.jpg,cat", '"a.jpg","cat"'),
        TEXT.replace("\n", ",extra\n"),
        TEXT + "\n\n",
        TEXT.encode("utf-16"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        TEXT.replace("path,label", "file_name,class"),
        TEXT.replace("path,label", "image,Category"),
    ],
    ids=[
        "plain",
        "bom",
        "semicolon",
        "tab",
        "crlf",
        "case",
        "quoted",
        "more columns",
        "blank lines",
        "utf-16",
        "utf-16 be",
        "file_name",
        "image",
    ],
)
def test_csv_in_its_dialects(tmp_path, content):
    assert entries(write(tmp_path, "d.csv", content)) == ROWS


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "json"])
def test_jsonl(tmp_path, suffix):
    lines = [dict(zip(("path", "label", "split", "group"), row, strict=True)) for row in ROWS]
    content = "\n\n".join(json.dumps(line) for line in lines)
    assert entries(write(tmp_path, f"d.{suffix}", content)) == ROWS


def test_labels_may_be_numbers(tmp_path):
    assert entries(write(tmp_path, "d.jsonl", '{"path": "a.jpg", "label": 0}')) == [("a.jpg", "0", None, None)]


@pytest.mark.parametrize(
    ("word", "side"),
    [("train", "train"), ("Training", "train"), ("valid", "val"), ("VALIDATION", "val"), ("test", "test")],
)
def test_words_for_subsets(tmp_path, word, side):
    assert entries(write(tmp_path, "d.csv", f"path,label,split\na,b,{word}\n")) == [("a", "b", side, None)]


def test_paths_start_at_the_files_folder(tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    path = write(tmp_path / "lists", "d.csv", f"path,label\n../p/a.jpg,x\n{tmp_path}/abs.jpg,y\n")
    monkeypatch.chdir(tmp_path / "lists")
    assert [e.path for e in list_data("d.csv").entries] == [str(tmp_path / "p/a.jpg"), str(tmp_path / "abs.jpg")]
    assert [e.path for e in list_data(path).entries] == [str(tmp_path / "p/a.jpg"), str(tmp_path / "abs.jpg")]


def test_rows_without_a_label_are_named(tmp_path):
    listing = list_data(write(tmp_path, "d.csv", "path,label\na.jpg,\nb.jpg,x\nc.jpg\n"))
    assert [(os.path.basename(i.path), i.reason) for i in listing.excluded] == [
        ("a.jpg", "no_label"),
        ("c.jpg", "no_label"),
    ]
    assert len(listing.entries) == 1


def test_names_that_are_not_utf8_come_through(tmp_path):
    listing = list_data(write(tmp_path, "d.csv", b"path,label\ncaf\xe9.jpg,th\xe9\n"))
    assert os.fsencode(listing.entries[0].path).endswith(b"caf\xe9.jpg")
    assert os.fsencode(listing.entries[0].label) == b"th\xe9"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("d.csv", "name,label\na,b\n", "'path'"),
        ("d.csv", "path,kind\na,b\n", "'label'"),
        ("d.csv", "file,image,label\na,b,c\n", "path"),
        ("d.csv", "path,class,category\na,b,c\n", "label"),
        ("d.csv", "", "'path'"),
        ("d.csv", "path,label\n", "d.csv"),
        ("d.csv", "path,label\na.jpg,x\n,x\n", ":3: "),
        ("d.csv", "path,label,split\na.jpg,x,sometimes\n", ":2: "),
        ("d.csv", 'path,label\n"' + "x" * 200_000, "d.csv"),
        ("d.csv", '"' + "x" * 200_000, "d.csv"),
        ("d.zip", b"PK\x03\x04" + bytes(100), "d.zip"),
        ("d.parquet", b"PAR1" + bytes(100), "d.parquet"),
        ("d.jsonl", '{"path": "a.jpg", "label": "x"}\n{"path": "b.jpg", "label": ["x", "y"]}', ":1: "),
        ("d.jsonl", '{"path": "a.jpg", "label": {"x": 1}}', ":1: "),
        ("photo.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 20, "photo.jpg"),
        ("d.jsonl", '{"path": "a.jpg", "label": "x"}\n{"path": ', ":2: "),
        ("d.jsonl", '["a.jpg", "x"]', ":1: "),
        ("d.jsonl", '{"path": "a.jpg"}', ":1: "),
        ("d.jsonl", '{"path": null, "label": "x"}', ":1: "),
        ("d.json", '[{"path": "a.jpg", "label": "x"}]', ":1: "),
        ("d.jsonl", "[" * 100_000, "d.jsonl"),
    ],
)
def test_bad_tables_are_data_errors_that_name_the_file(tmp_path, name, content, words):
    path = write(tmp_path, name, content)
    with pytest.raises(DataError) as caught:
        list_data(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert caught.value.hint


def test_a_table_that_can_not_be_opened(tmp_path, monkeypatch):
    path = write(tmp_path, "d.csv", TEXT)

    def locked(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", locked)
    with pytest.raises(DataError, match="Permission denied"):
        list_data(path)


NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=12
).filter(lambda n: n == n.strip() and n not in (".", "..") and not n.startswith("\ufeff"))


@given(st.lists(NAMES, min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_any_name_survives_jsonl_as_people_write_it(tmp_path_factory, names):
    """Also with `ensure_ascii=False`, where U+2028 and U+0085 stand raw: they end no line of JSONL."""
    lines = [json.dumps({"path": n, "label": "x"}, ensure_ascii=False) for n in names]
    path = write(tmp_path_factory.mktemp("t"), "d.jsonl", "\n".join(lines))
    assert [os.path.relpath(e.path, path.parent) for e in list_data(path).entries] == names


@pytest.mark.parametrize("row", ['{"path": "\\ud800.jpg", "label": "x"}', '{"path": "a.jpg", "label": "\\ud800"}'])
def test_half_a_surrogate_is_said_never_a_traceback(tmp_path, row):
    """JSON can spell names that no file can have and no table can hold."""
    path = write(tmp_path, "d.jsonl", row + '\n{"path": "b.jpg", "label": "y"}\n')
    try:
        listing = list_data(path)
    except DataError as error:
        assert str(path) in str(error)
        return
    _, left_out = scan(listing.entries, listing.target)
    for item in (*left_out, *listing.excluded):
        assert (item.path + str(item.label)).encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP"])
def test_one_image_is_no_data_set(tmp_path, draw, form):
    path = tmp_path / "photo.jpg"
    draw(1).save(path, form)
    with pytest.raises(DataError, match=form) as caught:
        list_data(path)
    assert len(str(caught.value)) < 200 + len(str(path))
    assert "folder" in caught.value.hint


def test_parquet(tmp_path):
    columns = {name: [row[i] for row in ROWS] for i, name in enumerate(("file_name", "label", "split", "group"))}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "d.parquet")
    assert entries(tmp_path / "d.parquet") == ROWS


def test_several_labels_in_parquet(tmp_path):
    columns = {"path": ["a.jpg", "b.jpg"], "label": [["x"], ["y", "x"]]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "d.parquet")
    assert entries(tmp_path / "d.parquet") == [("a.jpg", '["x"]', None, None), ("b.jpg", '["x", "y"]', None, None)]
    with pytest.raises(DataError, match=":1: "):
        list_data(tmp_path / "d.parquet", DataOptions(task="classify"))


def test_the_metadata_of_an_image_folder(tmp_path):
    """As Hugging Face has it: `file_name` and `label`, relative to the folder."""
    write(tmp_path, "metadata.csv", "file_name,label\na.jpg,cat\nb.jpg,dog\n")
    assert entries(tmp_path) == [("a.jpg", "cat", None, None), ("b.jpg", "dog", None, None)]


def test_metadata_without_labels_leaves_the_folders(tmp_path):
    write(tmp_path, "metadata.jsonl", '{"file_name": "cat/a.jpg", "text": "a cat"}')
    for name in ("cat/a.jpg", "dog/b.jpg"):
        (tmp_path / name).parent.mkdir()
        write(tmp_path, name, b"x")
    assert [label for _, label, _, _ in entries(tmp_path)] == ["cat", "dog"]


#: Names that a spreadsheet would run, or that a table could change, and the apostrophes that mark them.
ODD = st.text(alphabet="'=+-@\t\r\n＝, ;\"a1.|é\udcff", min_size=1, max_size=6).filter(lambda text: text.strip())


@given(st.lists(st.tuples(ODD, ODD), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_a_split_is_a_table_with_the_names_that_were_written(tmp_path_factory, names):
    placed = [
        SplitRecord(record(i, label, path=f"/p/{i}{name}"), "train", f"g{label}", "")
        for i, (name, label) in enumerate(names)
    ]
    text = split_to_csv(Split(tuple(placed), (), ()), Labels())
    table = write(tmp_path_factory.mktemp("t"), "split.csv", text.encode("utf-8", "surrogateescape"))
    found = [(e.path, e.label, e.split, e.group) for e in list_data(table).entries]
    assert found == [(p.record.path, p.record.label, p.subset, p.group) for p in placed]


@given(st.lists(st.tuples(ODD, ODD), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_predictions_are_a_table_with_the_names_that_were_written(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("t")
    predictions = [
        Prediction(f"{name}{i}.jpg", label, 0.5, ((label, 0.5),)) for i, (name, label) in enumerate(names)
    ]
    CSV.write(predictions, folder / "p.csv", OutputOptions(topk=1))
    found = entries(folder / "p.csv")
    assert [(os.path.basename(path), label) for path, label, *_ in found] == [
        (f"{name}{i}.jpg", label) for i, (name, label) in enumerate(names)
    ]


def test_an_apostrophe_in_a_table_of_the_users_stays(tmp_path):
    assert entries(write(tmp_path, "d.csv", "path,label\n'=a.jpg,'-cat\n"))[0][:2] == ("'=a.jpg", "'-cat")
