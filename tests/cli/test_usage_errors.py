"""What is wrong with a command line is said in foveal's own words and form, with a hint."""

import sys

import pytest

from foveal.cli.main import main


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        ("nonsense", "unknown command 'nonsense'", "known: audit"),
        ("train a b", "unexpected argument: b", "foveal train --help"),
        ("predict", "missing argument RUN", "foveal predict --help"),
        ("train x --seed abc", "invalid value for --seed: it must be a whole number", "foveal train --help"),
        ("predict m x --topk 0", "invalid value for --topk: it must be 1 or more", "foveal predict --help"),
        ("train x --time", "option --time needs a value", "foveal train --help"),
        ("train x --nope", "unknown option --nope", "foveal train --help"),
        ("plan resnet18 --imgsz 128", "--imgsz 128: not channels", "3x224x224"),
        ("plan resnet18 --input 128", "--input 128: not channels", "3x224x224"),
        ("zoo resnet", "unknown architecture 'resnet'", "resnet18"),
        ("train https://a.org/b.zip", "https://a.org/b.zip is a URL", "download it first"),
        ("predict model:mnist https://a.org/b.png", "https://a.org/b.png is a URL", "download it first"),
        ("train x --task detect", "unknown task 'detect'", "auto"),
    ],
)
def test_an_error_has_foveals_form(typed, message, hint, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["foveal", *typed.split()])
    with pytest.raises(SystemExit) as caught:
        main()
    first, second, *rest = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2 and not rest
    assert first.startswith(f"foveal: {message}") and second.startswith("hint: ") and hint in second


@pytest.mark.parametrize(("typed", "code"), [("", 2), ("--version", 0), ("train --help", 0), ("help train", 0)])
def test_help_is_no_error(typed, code, monkeypatch, capsys):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["foveal", *typed.split()])
    with pytest.raises(SystemExit) as caught:
        main()
    shown = capsys.readouterr()
    assert (caught.value.code or 0) == code and "foveal" in shown.out + shown.err and "hint:" not in shown.err
