"""The command line in the hands of scripts: odd names, terminals, wrong words, broken readers."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys

import pytest

from foveal.cli.main import main

FOVEAL = [sys.executable, "-m", "foveal"]


@pytest.fixture
def invoke(monkeypatch, capfdbinary):
    """`invoke("predict", …)` in this process: (exit code, stdout, stderr), both as bytes."""
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["foveal", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        shown = capfdbinary.readouterr()
        return int(caught.value.code or 0), shown.out, shown.err

    return run


def loaded_by(*arguments):
    """The modules that a command line imports, and its exit code."""
    code = (
        "import sys, atexit; atexit.register(lambda: print('MODULES', *sys.modules, file=sys.stderr));"
        "from foveal.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return set(done.stderr.partition("MODULES ")[2].split()), done.returncode


def test_help_imports_no_library_that_computes():
    loaded, code = loaded_by("train", "--help")
    assert code == 0 and "typer" in loaded
    assert not loaded & {"torch", "numpy", "PIL", "rich", "openvino", "sklearn"}


def test_audit_imports_neither_torch_nor_an_engine(tmp_path, make_folder):
    loaded, code = loaded_by("audit", make_folder(tmp_path, {"ant": 3, "bee": 3}))
    assert code == 1 and "PIL" in loaded  # classes under 20 pictures
    assert not loaded & {"torch", "timm", "openvino", "sklearn", "matplotlib"}


@pytest.mark.parametrize("form", ["xml", "CSV2"])
def test_a_format_that_is_none_is_refused(invoke, photos, trained, form):
    code, out, err = invoke("predict", trained[0], photos / "ant" / "000.jpg", "--format", form)
    assert (code, out) == (2, b"") and b"hint:" in err


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_glob_that_matches_nothing_prints_nothing_on_stdout(invoke, trained, tmp_path, options):
    code, out, err = invoke("predict", trained[0], f"{tmp_path}/*.webp", *options)
    assert (code, out) == (2, b"") and b"*.webp" in err


def test_a_bundle_that_is_none_is_bad_input_not_a_fault_of_ours(invoke, tmp_path):
    for content in ("[]", '"text"', '{"schema": 1}', "\udcff"):
        (tmp_path / "bundle.json").write_text(content, errors="surrogateescape")
        (tmp_path / "weights.safetensors").write_bytes(b"")
        code, out, err = invoke("predict", tmp_path, "x.jpg")
        assert (code, out) == (2, b""), (content, err)


def test_a_name_that_is_not_utf8_comes_out_as_it_went_in(invoke, photos, trained, tmp_path):
    odd = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    with open(odd, "wb") as handle:
        handle.write((photos / "ant" / "000.jpg").read_bytes())
    code, out, _ = invoke("predict", trained[0], tmp_path)
    assert code == 0 and out.splitlines()[1].startswith(odd + b",")
    code, out, _ = invoke("predict", trained[0], tmp_path, "--json")
    assert code == 0 and os.fsencode(json.loads(out)["predictions"][0]["path"]) == odd
    target = tmp_path / "answers.csv"
    assert invoke("predict", trained[0], os.fsdecode(odd), "--out", target)[:2] == (0, b"")
    assert target.read_bytes().splitlines()[1].startswith(odd + b",")


def test_more_classes_asked_for_than_there_are(invoke, photos, trained):
    code, out, _ = invoke("predict", trained[0], photos / "ant" / "000.jpg", "--topk", "9")
    header, row = (line.split(b",") for line in out.splitlines())
    assert code == 0 and len(header) == len(row) and b"label_3" in header and b"label_4" not in header
    assert invoke("predict", trained[0], "x.jpg", "--topk", "0")[0] == 2


def test_a_full_folder_stays_as_it_is(invoke, photos, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    before = (tmp_path / "mine.txt").stat()
    code, out, err = invoke("train", photos, "--out", tmp_path)
    assert (code, out) == (2, b"") and os.fsencode(tmp_path) in err and b"hint:" in err
    assert [f.name for f in tmp_path.iterdir()] == ["mine.txt"] and (tmp_path / "mine.txt").stat() == before
    assert invoke("train", photos, "--out", tmp_path / "mine.txt")[0] == 2
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "quoted"),
    [
        (("--time", "0s"), "0s"),
        (("--max-pixels", "0"), "--max-pixels"),
        (("--seed", "-1"), "-1"),
        (("--seed", str(2**32)), str(2**32)),
        (("--memory", "much"), "much"),
        (("--augment", "stong"), "'strong'"),
        (("--backbone", "lite00"), "'lite0'"),
        (("--strategy", "frozn"), "'frozen'"),
        (("--split-from", "nowhere"), "no such run folder"),
        (("--split-from", "x", "--no-test"), "--split-from"),
        (("--from-scratch", "lenet5", "--strategy", "frozen"), "--from-scratch"),
    ],
)
def test_invalid_settings(invoke, photos, tmp_path, options, quoted):
    code, out, err = invoke("train", photos, "--out", tmp_path / "run", *options)
    assert (code, out) == (2, b"") and quoted in err.decode() and b"hint:" in err and b"Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_evaluate_on_pictures_of_another_kind(invoke, trained, tmp_path, make_folder):
    code, _, err = invoke("evaluate", trained[0], make_folder(tmp_path / "a", {"ants": 3, "dog": 3}))
    assert code == 2 and b"did you mean 'ant'" in err
    folder = make_folder(tmp_path / "b", {"ant": 4, "dog": 3}, seed=6)
    (folder / "ant" / "bad.jpg").write_bytes(b"bad")
    code, out, _ = invoke("evaluate", trained[0], folder, "--json")
    found = json.loads(out)
    assert code == 0 and found["test"]["n"] == 4
    assert sorted(x["reason"] for x in found["left_out"]) == ["not_a_picture", *["unknown_label"] * 3]


def test_a_terminal_gets_bars_and_no_colours_when_it_wants_none(photos, trained):
    screen, line = pty.openpty()
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "120"}
    command = [*FOVEAL, "predict", str(trained[0]), str(photos / "ant")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=line, env=environment) as process:
        os.close(line)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal says that nobody writes any more
            while part := os.read(screen, 65536):
                shown += part
        os.close(screen)
        out = process.stdout.read()
    assert process.returncode == 0 and len(out.splitlines()) == 41  # the answers are on stdout, bars or not
    assert b"predict" in shown and re.search(rb"\b40\b", shown)
    assert re.search(rb"\x1b\[[0-9;]*[349]\d(;[0-9;]*)?m", shown) is None
