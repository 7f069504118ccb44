"""What reaches a terminal, closed and full streams, and bars of 80 columns."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_time import ManualClock
from foveal.cli.console import Terminal, harmless
from foveal.cli.status import RunStatus
from pictures import draw, encoded

EVIL = "\x1b[31mred\x1b]0;title\x07\x1b]52;c;eA==\x07\x9b2J\u202egpj.exe\r\x7f\udc9b"
RUN = """
import sys
from foveal.cli.console import Terminal
from foveal.clock import Clock
with Terminal(clock=Clock(3600)) as terminal:
    terminal.begin(None, {})
    with terminal.stage("features", 300) as bar:
        bar(100)
        bar(100)
    terminal.best("frozen", 0.923, (0.9, 0.94))
    terminal.say("a message of many words " * 10)
    with terminal.stage("cross-validation", 10, unit="folds") as bar:
        bar(3)
    terminal.end({}) if "end" in sys.argv else sys.exit("an error")
"""
FOVEAL = [sys.executable, "-m", "foveal"]
BARS = """
import sys
from foveal.cli.console import Terminal
terminal = Terminal(quiet="quiet" in sys.argv)
with terminal.stage("features of \\x1b]0;x\\x07 [red]", 3) as bar:
    bar(1)
    bar.tell(loss=0.123, learning_rate=0.0001, step=7)
    with terminal.stage("a stage inside") as inner:
        inner(2000)
        inner.total(5000)
        inner(3000)
    bar(2)
with terminal.stage("nothing to count"):
    pass
terminal.say("a message")
"""


def in_terminal(command, **environment):
    """What a program shows on a terminal of 80 columns, and its exit code."""
    screen, line = pty.openpty()
    fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    known = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
    known |= {"TERM": "xterm-256color", **environment}
    with subprocess.Popen(command, stdin=line, stdout=line, stderr=line, env=known) as process:
        os.close(line)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal says that nobody writes any more
            while part := os.read(screen, 65536):
                shown += part
        os.close(screen)
    return shown.decode(errors="replace"), process.returncode


def lines_of(shown):
    """The lines as they were drawn, without commands to the terminal."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown))


def left_over(shown):
    """What is on the screen at the end: a carriage return followed by erasing clears a line."""
    return [line.rsplit("\x1b[2K", 1)[-1] for line in shown.split("\n")]


def on_screen(shown):
    """The lines that stay, where the cursor was moved up and lines were erased."""
    rows, row = [""], 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\n|\r|[^\x1b\r\n]+", shown):
        if part == "\n":
            row += 1
            rows.extend([""] * (row + 1 - len(rows)))
        elif part.startswith("\x1b"):
            row -= int(part[2:-1] or 1) if part.endswith("A") else 0
            rows[row] = "" if part == "\x1b[2K" else rows[row]
        elif part != "\r":
            rows[row] += part
    return rows


@given(st.text() | st.text(alphabet=EVIL))
def test_nothing_that_is_printed_commands_a_terminal(text):
    shown = harmless(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n"]
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert harmless(shown) == shown and (shown == text or "\\" in shown)


def test_names_for_people_stay_as_they_are():
    name = "Käfer – 甲虫 👩‍🔬 ‘a’.jpg"
    assert harmless(name) == name
    assert harmless("\x1b\udcff\u202e") == "\\x1b\\xff\\u202e"


def test_names_on_a_terminal_are_harmless_and_whole_in_a_pipe(trained, tmp_path):
    image = tmp_path / "a\x1b]0;x\x07\u202e.png"
    image.write_bytes(encoded(draw(1)))
    shown, code = in_terminal([*FOVEAL, "predict", str(trained[0]), str(image), str(tmp_path / "b\x1b]0;y\x07")])
    assert code == 1 and "\x1b" not in shown and "\\x1b]0;x\\x07\\u202e.png" in shown
    piped = subprocess.run([*FOVEAL, "predict", trained[0], str(image)], capture_output=True, check=True).stdout
    assert os.fsencode(image) in piped


@pytest.mark.parametrize(
    ("redirections", "code", "unbuffered"),
    [
        (">&-", 2, ""),
        (">&-", 2, "1"),
        (">/dev/full", 2, ""),
        (">/dev/full", 2, "1"),
        ("2>&-", 1, ""),
        ("2>/dev/full", 1, ""),  # stderr has no buffer in any case
        (">&- 2>&-", 2, ""),
        (">/dev/full 2>/dev/full", 2, ""),
    ],
)
def test_closed_and_full_streams(trained, tmp_path, redirections, code, unbuffered):
    """Where stderr says what was lost, both images are missing: they make rows, too, and start no engine."""
    if "2>" in redirections:  # otherwise the exit code alone tells, and missing images alone end with 2
        (tmp_path / "a.png").write_bytes(encoded(draw(1)))
    command = f'"{sys.executable}" -m foveal predict "{trained[0]}" a.png b.png {redirections}'
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == code and "Traceback" not in done.stderr
    if not redirections.startswith(">"):
        assert len(done.stdout.splitlines()) == 3  # and no message among the data
    elif "2>" not in redirections:
        assert "stdout" in done.stderr


@pytest.mark.parametrize("verb", ["--help", "--version", "doctor"])
@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
def test_other_commands_whose_output_is_lost(verb, where):
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m foveal {verb} {where}'], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "stdout" in done.stderr and "Traceback" not in done.stderr


def test_training_without_stderr(photos, tmp_path):
    command = f'"{sys.executable}" -m foveal train "{photos}" --strategy frozen --out run --json 2>&-'
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("{")
    assert (tmp_path / "run" / "summary.json").exists()


def test_bars_fit_the_terminal_and_leave_nothing_behind():
    shown, code = in_terminal([sys.executable, "-c", BARS])
    assert code == 0 and "\x1b]" not in shown
    lines = lines_of(shown)
    assert max(len(line) for line in lines) <= 80
    assert any("3/3" in line for line in lines) and any("5000/5000" in line for line in lines)
    assert "/?" not in shown
    assert [line.strip() for line in lines if "message" in line] == ["a message"]
    assert not [line for line in left_over(shown)[-2:] if "stage" in line or "features" in line]


@pytest.mark.parametrize("how", ["end", "error"])
def test_a_run_is_shown_with_its_speed_the_time_left_and_the_best_so_far(how):
    shown, code = in_terminal([sys.executable, "-c", RUN, how])
    lines = lines_of(shown)
    assert code == (how == "error") and max(len(line) for line in lines) <= 80
    assert any("200/300" in line and "images/s" in line for line in lines)
    assert any("3/10 folds" in line and "images" not in line for line in lines)
    assert any("left of 1 h" in line and "frozen 92.3 % (90.0–94.0 %)" in line for line in lines)
    message = [line for line in lines if "message of" in line]
    assert len(message) >= 3 and all(
        set(line.split()) <= {"a", "message", "of", "many", "words"} for line in message
    )
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")  # the cursor is there again
    assert not [line for line in on_screen(shown) if "left of" in line or "folds" in line]


def test_without_a_terminal_only_messages_are_printed():
    done = subprocess.run([sys.executable, "-c", RUN, "end"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "a message of many words " * 10 + "\n")


@given(st.integers(20, 100), st.none() | st.floats(0, 1), st.booleans(), st.floats(0, 1e5))
def test_the_line_on_a_run_fits_and_always_says_the_time(width, score, known, spent):
    clock = ManualClock(3600, now=spent)
    status = RunStatus(clock)
    status.best("a-strategy", score, (0.1, 0.2) if known else None)
    line = status.line(width)
    assert line.startswith(RunStatus(clock).line(0)) and (len(line) <= width or line == RunStatus(clock).line(0))
    if score is not None and width == 100:
        assert f"{100 * score:.1f} %" in line


def test_no_colour_no_cursor_and_no_bars_where_they_are_not_wanted():
    shown, _ = in_terminal([sys.executable, "-c", BARS], NO_COLOR="1")
    assert "features" in shown and not re.search(r"\x1b\[[0-9;]*[349]\d(;[0-9;]*)?m", shown)
    for command, environment in (([BARS], {"TERM": "dumb"}), ([BARS, "quiet"], {})):
        shown, _ = in_terminal([sys.executable, "-c", *command], **environment)
        assert shown.split() == ([] if "quiet" in command else ["a", "message"])
    done = subprocess.run([sys.executable, "-c", BARS], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "a message\n")


def test_quiet_says_nothing(capsys):
    Terminal(quiet=True).say("a message")
    Terminal().say("another")
    assert capsys.readouterr().err == "another\n"


def test_help_is_80_columns_wide_and_whole():
    shown, code = in_terminal([*FOVEAL, "--help"])
    assert code == 0 and max(len(line) for line in lines_of(shown)) <= 80
    assert not re.search(r"\w\.\.\.", shown)
