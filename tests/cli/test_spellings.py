"""What users of other programs type is understood, or answered in one error that names the option to use."""

import sys

import pytest
import typer
from typer.testing import CliRunner

from foveal.cli.main import app
from foveal.cli.spellings import COMMANDS, LINES, CommandWithAnswers, Instead, Same
from foveal.cli.verbs import command_of
from foveal.errors import UsageError


def answer(*arguments):
    """(message, hint) of the error that these arguments end with."""
    with pytest.raises(UsageError) as caught:
        app([str(a) for a in arguments], standalone_mode=False)
    assert caught.value.exit_code == 2
    return caught.value.message, caught.value.hint


def received(*arguments, name="train"):
    """What a command with some of foveal's options is given."""
    got = {}
    toy = typer.Typer(rich_markup_mode=None)

    def run(
        data: str = typer.Argument(None),
        more: list[str] = typer.Argument(None),
        *,
        backbone: str = "lite0",
        group_by: str = "",
        out: str = "",
        topk: int = 1,
        json: bool = False,
    ):
        got.update(locals())

    toy.command(name=name, cls=CommandWithAnswers)(run)
    toy.callback()(lambda: None)
    done = CliRunner().invoke(toy, [name, *arguments])
    assert done.exit_code == 0, done.output
    return got


TYPED = [
    ("--epochs 10", "--time"),
    ("--lr 0.1", "--time"),
    ("--learning-rate=0.1", "--time"),
    ("--learning_rate 0.1", "--time"),
    ("-lr 0.1", "--time"),
    ("--batch 16", "--memory"),
    ("--batch-size 16", "--memory"),
    ("-b 16", "--memory"),
    ("--imgsz 224", "--backbone"),
    ("--img-size 224", "--backbone"),
    ("--image-size 224", "--backbone"),
    ("--val-split 0.2", "val/"),
    ("--workers 8", "taskset"),
    ("--project runs", "--out"),
    ("--name first", "--out"),
    ("--pretrained", "--from-scratch"),
    ("--weights yolov8n-cls.pt", "--from-scratch"),
    ("--optimizer adamw", "--strategy"),
    ("--patience 5", "--time"),
    ("--conf 0.5", "probability"),
    ("--gpu 0", "--device"),
    ("--gpus 2", "--device"),
    ("epochs=3", "--time"),
    ("--EPOCHS 3", "--time"),
]


@pytest.mark.parametrize(("typed", "use"), TYPED)
def test_a_foreign_option_is_answered_with_what_to_use(typed, use):
    message, hint = answer("train", "data", *typed.split())
    assert typed.split("=")[0].split()[0].lstrip("-").lower().replace("_", "-") in message.lower().replace(
        "_", "-"
    )
    assert use in hint and "--cache" not in message + hint


def test_several_are_answered_at_once():
    message, hint = answer("train", "data", "--epochs", "3", "--batch", "16", "--time", "8s", "--warmup", "2")
    assert all(name in message for name in ("--epochs", "--batch", "--warmup")) and "--memory" in hint


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--data", "pictures"], {"data": "pictures"}),
        (["--data=pictures", "--json"], {"data": "pictures", "json": True}),
        (["data=pictures"], {"data": "pictures"}),
        (["pictures", "--model", "resnet18"], {"data": "pictures", "backbone": "resnet18"}),
        (["pictures", "--group_by", "x"], {"group_by": "x"}),
        (["pictures", "--group-by", "--epochs"], {"group_by": "--epochs"}),
        (["pictures", "--output-dir", "there"], {"out": "there"}),
        (["--", "--epochs"], {"data": "--epochs"}),
    ],
)
def test_what_foveal_has_under_another_name_is_understood(arguments, expected):
    assert expected.items() <= received(*arguments).items()


def test_the_model_comes_first_wherever_it_is_typed():
    got = received("--source", "a.jpg", "--weights", "runs/one", "--top-k", "3", name="predict")
    assert (got["data"], list(got["more"]), got["topk"]) == ("runs/one", ["a.jpg"], 3)


@pytest.mark.parametrize(
    ("typed", "use"),
    [
        ("train data --time 10 min", "--time 10min"),
        ("train --time 1.5 h data", "--time 1.5h"),
        ("train --time=10 Minutes data", "--time 10Minutes"),
        ("train --time 1 h 30 min data", "--time 1h30min"),
        ("train data --max-time 90 s", "--time 90s"),
        ("train data --memory 4 GiB", "--memory 4GiB"),
        ("study --time 10 min", "--time 10min"),
    ],
)
def test_a_unit_apart_from_its_number_is_answered_with_one_word(typed, use):
    assert use in answer(*typed.split())[1]


def test_data_may_be_named_like_a_unit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m").mkdir()
    assert "--epochs" in answer("train", "--time", "10", "m", "--epochs", "3")[0]


def test_an_existing_file_with_an_equals_sign_is_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "epochs=3").mkdir()
    assert received("epochs=3")["data"] == "epochs=3"


def test_an_option_that_nobody_knows_is_no_option():
    done = CliRunner().invoke(app, ["train", "data", "--frobnicate"])
    assert done.exit_code == 2 and "--frobnicate" in done.output


@pytest.mark.parametrize("command", [*COMMANDS, "LR_Find"])
def test_commands_of_other_programs(command):
    message, hint = answer(command, "x")
    assert command in message and "foveal" in hint


def test_data_without_a_command(tmp_path):
    assert "foveal train" in answer(tmp_path)[1] and "foveal train" in answer("sample:clipart")[1]


def test_a_very_long_word_is_no_command():
    assert CliRunner().invoke(app, ["x" * 5000]).exit_code == 2


def test_the_table_never_hides_or_misses_an_option_of_foveal():
    for name, lines in LINES.items():
        own = {p.name.replace("_", "-") for p in command_of(name).params}
        seen = [word for line in lines for word in line.names.split()]
        assert len(seen) == len(set(seen)), name
        for line in lines:
            assert isinstance(line, Same | Instead)
            if isinstance(line, Same) and line.option:
                assert line.option[2:] in own, (name, line)
            elif isinstance(line, Instead):
                assert not set(line.names.split()) & own, (name, line)


@pytest.mark.skipif(sys.platform == "win32", reason="shells of Unix")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_every_shell(shell, monkeypatch):
    monkeypatch.setattr("shellingham.detect_shell", lambda *_: (shell, f"/bin/{shell}"))
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "")
    done = CliRunner().invoke(app, ["--show-completion"], prog_name="foveal")
    assert done.exit_code == 0 and "_FOVEAL_COMPLETE" in done.output


def test_help_as_a_command():
    assert CliRunner().invoke(app, ["help"]).output == CliRunner().invoke(app, ["--help"]).output
    for verb in ("train", "help"):
        shown = CliRunner().invoke(app, ["help", verb])
        assert shown.exit_code == 0 and shown.output == CliRunner().invoke(app, [verb, "--help"]).output
    assert "train" in CliRunner().invoke(app, ["help", "trian"]).output
