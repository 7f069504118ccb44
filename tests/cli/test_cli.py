"""The command line as scripts use it: exit codes, stdout, stderr."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from foveal.cli.main import main
from foveal.cli.verbs import NAMES, function_of


def foveal(*arguments, **kwargs):
    command = [sys.executable, "-m", "foveal", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


@pytest.fixture
def call(monkeypatch, capsys):
    """`call("audit", …)` in this process: (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["foveal", *map(str, arguments)])
        handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)}
        try:
            with pytest.raises(SystemExit) as caught:
                main()
        finally:
            for s, handler in handlers.items():
                signal.signal(s, handler)
        shown = capsys.readouterr()
        return int(caught.value.code or 0), shown.out, shown.err

    return run


def test_help_lists_commands_under_their_headings(call):
    code, out, _ = call("--help")
    assert code == 0
    assert out.index("Your pictures") < out.index("train") < out.index("This machine") < out.index("doctor")


def test_every_command_has_help(call):
    for name in NAMES:
        code, out, _ = call(name, "--help")
        assert code == 0 and function_of(name).__doc__.split(".")[0][:30] in " ".join(out.split())


def test_version(call):
    assert call("--version")[1].startswith("foveal 0.")


@pytest.mark.parametrize(
    ("arguments", "quoted"),
    [
        (("train", "nowhere/at/all"), "nowhere/at/all"),
        (("train", "x", "--resume", "y"), "--resume"),
        (("train",), "--replay"),
        (("train", "x", "--time", "soon"), "'soon'"),
        (("train", "x", "--group-by", "("), "--group-by"),
        (("train", "x", "--task", "segmnt"), "'segment'"),
        (("train", "sample:clipat"), "'clipart'"),
        (("predict", "nowhere", "x.jpg"), "nowhere"),
        (("predict", "x", "y", "--precision", "f64"), "f64"),
        (("predict", "model:mnist", "y", "--format", "parquet"), "--out"),
        (("evaluate", "nowhere"), "nowhere"),
        (("evaluate", "nowhere", "--include-seen"), "--include-seen"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_hint(call, arguments, quoted):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert quoted in err and "hint:" in err
    assert "Traceback" not in err


def test_a_mistyped_command_is_corrected(call):
    code, out, err = call("trian", "x")
    assert (code, out) == (2, "") and "'train'" in err


def test_an_internal_error_ends_with_3_and_says_how_to_report_it(call, monkeypatch):
    monkeypatch.setattr("foveal.machine.memory_limit", lambda: 1 / 0)
    code, out, err = call("doctor")
    assert (code, out) == (3, "") and "ZeroDivisionError" in err and "hint:" in err and "foveal doctor" in err


def test_audit_ends_with_1_if_there_are_findings_and_prints_one_json_object(call, tmp_path, make_folder):
    folder = make_folder(tmp_path, {"ant": 25, "bee": 25})
    assert call("audit", folder)[0] == 0
    (folder / "bee" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    code, out, _ = call("audit", folder, "--json")
    found = json.loads(out)
    assert code == 1 and found["schema"] == 1 and not found["clean"]
    assert [x["path"].endswith("broken.jpg") for x in found["left_out"]] == [True]
    code, out, _ = call("audit", folder)
    assert code == 1 and "broken.jpg" in out


def test_audit_takes_the_settings_of_a_training_and_says_what_it_would_do(call, tmp_path, make_folder):
    folder = make_folder(tmp_path / "two", {"ant": 25, "bee": 25})
    plain, seeded, without = (
        json.loads(call("audit", folder, *options, "--json")[1]) for options in ((), ("--seed", 9), ("--no-test",))
    )
    assert plain["used"] == sum(plain["split"].values()) == 50 and plain["refused"] is None
    assert seeded["split"] != plain["split"] and without["split"]["test"] == 0
    assert "for testing" in call("audit", folder)[1]
    one = make_folder(tmp_path / "one", {"ant": 25})
    code, out, _ = call("audit", one)
    assert code == 1 and "refused" in out and "ant" in out
    assert call("train", one, "--out", tmp_path / "run")[0] == 2


def test_train_json_prints_the_summary_and_nothing_else(call, photos, tmp_path):
    code, out, _ = call("train", photos, "--out", tmp_path / "run", "--json", "--time", "9h")
    assert code == 0
    found = json.loads(out)
    stored = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert found.pop("run") == str(tmp_path / "run") and found == stored


def test_train_prints_a_summary_for_people(call, photos, tmp_path):
    code, out, _ = call("train", photos, "--out", tmp_path / "run", "--time", "1h")
    assert code == 0
    assert [head for line in out.splitlines() if (head := line[:9].strip())] == [
        "result",
        "model",
        "data",
        "time",
        "report",
        "next",
    ]
    assert out.rstrip().endswith(f"foveal predict {tmp_path / 'run'} IMAGES")


@pytest.mark.parametrize(("options", "more"), [((), None), (("--time", "10m"), 600), (("--time", "90s"), 90)])
def test_a_resumed_run_has_more_time_only_if_it_is_given(call, trained, tmp_path, options, more):
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    before = json.loads((run / "summary.json").read_text())["time"]
    (run / "summary.json").unlink()
    code, out, _ = call("train", "--resume", run, *options, "--json")
    after = json.loads(out)["time"]
    assert code == 0
    if more is None:
        assert after["budget_s"] == before["budget_s"]
    else:  # the seconds that were used, and these
        assert more < after["budget_s"] < more + after["total_s"]


def test_predict_in_every_form(call, photos, trained, tmp_path):
    run = trained[0]
    (tmp_path / "bad.png").write_bytes(b"no picture")
    code, out, _ = call("predict", run, photos / "ant", tmp_path / "bad.png", "--topk", "2")
    lines = out.splitlines()
    assert code == 1 and len(lines) == 42
    assert lines[0] == "path,label,probability,label_2,probability_2,set,unknown,p_value,error"
    assert "not_a_picture" in lines[-1]
    code, out, _ = call("predict", run, f"{photos}/bee/*.png", "--json")
    answers = json.loads(out)["predictions"]
    assert code == 0 and len(answers) == 13
    assert set(answers[0]) == {"path", "label", "probability", "topk", "set", "unknown", "p_value", "error"}
    for kind in ("csv", "parquet", "json"):
        code, out, _ = call("predict", run, photos / "cat", "--out", tmp_path / f"a.{kind}")
        assert (code, out) == (0, "") and (tmp_path / f"a.{kind}").stat().st_size > 100
    assert call("predict", run, photos / "cat", "--out", tmp_path / "a.txt")[0] == 2


def test_evaluate_gives_the_same_metrics_and_counts_the_evaluation(call, photos, trained):
    first = json.loads(call("evaluate", trained[0], "--json")[1])
    assert first["test"]["accuracy"] == trained[1]["test"]["accuracy"]
    assert first["test"]["n"] == trained[1]["test"]["n"]
    second = json.loads(call("evaluate", trained[0], "--json")[1])
    assert second["test_looks"] == first["test_looks"] + 1 > 1
    measured = trained[0] / "measured"
    assert json.loads(call("evaluate", measured, photos, "--json")[1])["test"] == first["test"]
    assert "accuracy" in call("evaluate", trained[0])[1]


def test_evaluate_says_what_it_leaves_out(call, photos, trained):
    split = trained[1]["split"]
    seen = split["train"] + split["val"]
    code, _, err = call("evaluate", trained[0] / "measured", photos)
    assert code == 0 and f"{split['test']} of 120 images" in err and f"{seen} seen_in_training" in err
    code, _, err = call("evaluate", trained[0], photos)  # the delivered model has learned from all of them
    assert code == 2 and "120 seen_in_training" in err and "hint:" in err
    found = json.loads(call("evaluate", trained[0], photos, "--include-seen", "--json")[1])
    assert (found["test"]["n"], found["seen"], found["left_out"]) == (120, 120, [])
    assert [f["code"] for f in found["findings"]] == ["seen_counted"]


def test_doctor_describes_the_machine(call):
    found = json.loads(call("doctor", "--json")[1])
    assert found["cores"] >= 1 and "openvino-fp32" in found["engines"] and found["versions"]["foveal"]
    assert "processor" in call("doctor")[1]


def test_a_closed_pipe_is_not_an_error(photos, trained):
    command = f"{sys.executable} -m foveal predict {trained[0]} {photos} {photos} {photos} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("path,") and done.stderr == ""


def started(arguments, run, until):
    """A training in its own process, once its log shows the stage `until`."""
    command = [sys.executable, "-m", "foveal", "train", *map(str, arguments), "--out", str(run), "--no-cache"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if (run / "log.jsonl").exists() and f'"{until}"' in (run / "log.jsonl").read_text():
            break
        time.sleep(0.05)
        assert process.poll() is None, process.stderr.read()
    return process


def test_ctrl_c_once_finishes_with_the_best_model(tmp_path, make_folder):
    folder = make_folder(tmp_path / "data", {"ant": 150, "bee": 150, "cat": 150})
    process = started([folder], tmp_path / "run", "features")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert 0 < summary["data"]["used"] <= 450


@pytest.mark.parametrize(("signals", "code"), [((signal.SIGINT, signal.SIGINT), 130), ((signal.SIGTERM,), 143)])
def test_ctrl_c_twice_and_sigterm_exit(tmp_path, make_folder, signals, code):
    folder = make_folder(tmp_path / "data", {"ant": 150, "bee": 150})
    process = started([folder], tmp_path / "run", "features")
    for number in signals:
        process.send_signal(number)
        if number == signal.SIGINT:  # two at once could reach the process as one
            process.stderr.readline()
    _, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert not (tmp_path / "run" / "summary.json").exists()


def test_no_bars_without_a_terminal(photos, trained):
    done = foveal("predict", trained[0], photos / "ant", env={**os.environ, "TERM": "xterm-256color"})
    assert done.returncode == 0 and done.stderr == "" and "\x1b" not in done.stdout
