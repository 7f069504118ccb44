"""Time budgets: how they are written, and how stages use them."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.clock import Clock, format_duration, parse_duration, seconds_since_process_start
from foveal.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1h2m3s", 3723),
        ("45", 45),
        ("0.5h", 1800),
        (" 10M ", 600),
        ("5min", 300),
        ("10 min", 600),
        ("1h 30 min", 5400),
        ("2 hours", 7200),
        ("1 hour 5 secs", 3605),
        (8, 8),
        (0.5, 0.5),
    ],
)
def test_valid_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "soon",
            "-5s",
            "0",
            "0s",
            "1h30",
            "5d",
            "m",
            "1e3",
            "10ms",
            "nan",
            "inf",
            "10 m x",
            "1 0 m",
            "9" * 400,
        ),
        *(-1, 0, float("nan"), float("inf"), True),
    ],
)
def test_an_invalid_duration_is_a_usage_error_with_a_hint(text):
    with pytest.raises(UsageError) as caught:
        parse_duration(text)
    assert caught.value.hint
    assert repr(str(text).strip().lower()) in str(caught.value)


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
@settings(max_examples=50, deadline=None)
def test_parts_add_up(hours, minutes, seconds):
    total = 3600 * hours + 60 * minutes + seconds
    text = f"{hours}h{minutes}m{seconds}s"
    if total:
        assert parse_duration(text) == total
    else:
        with pytest.raises(UsageError):
            parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.42, "8.4 s"), (0, "0.0 s"), (185, "3 min 05 s"), (7800, "2 h 10 min"), (3599.7, "1 h 00 min")],
)
def test_formatted_durations(seconds, text):
    assert format_duration(seconds) == text


class FakeTime:
    """Stands in for the module `time` in `foveal.clock`; its time moves only when a test moves it."""

    now = 1000.0

    def monotonic(self):
        return self.now

    def clock(self, budget=math.inf):
        return Clock(budget, started_at=self.now)


@pytest.fixture
def fake_time(monkeypatch):
    fake = FakeTime()
    monkeypatch.setattr("foveal.clock.time", fake)
    return fake


def test_left_counts_down_to_zero_and_not_further(fake_time):
    clock = fake_time.clock(60)
    assert clock.left() == 60
    fake_time.now += 25
    assert clock.left() == 35
    assert clock.left(reserve=10) == 25
    fake_time.now += 100
    assert clock.left() == 0
    assert clock.spent() == 125


def test_over_at_a_share_of_the_budget(fake_time):
    clock = fake_time.clock(60)
    fake_time.now += 29
    assert not clock.over(share=0.5)
    fake_time.now += 1
    assert clock.over(share=0.5)
    assert not clock.over()
    fake_time.now += 30
    assert clock.over()


def test_no_budget_never_ends(fake_time):
    clock = fake_time.clock()
    fake_time.now += 1e9
    assert clock.left() == math.inf
    assert not clock.over(share=0.5)


def test_stop_leaves_nothing(fake_time):
    clock = fake_time.clock()
    clock.stop()
    assert clock.left() == 0
    assert clock.over()


def test_laps_add_up_even_if_the_stage_fails(fake_time):
    clock = fake_time.clock()
    with clock.lap("audit"):
        fake_time.now += 2
    with pytest.raises(RuntimeError), clock.lap("audit"):
        fake_time.now += 3
        raise RuntimeError
    assert clock.laps == {"audit": 5}


def test_the_budget_begins_with_the_process(monkeypatch, fake_time):
    monkeypatch.setattr("foveal.clock.seconds_since_process_start", lambda: 7.0)
    clock = Clock.since_process_start(10)
    assert (clock.left(), clock.spent()) == (3, 7)


def test_the_process_started_before_this_test():
    before = seconds_since_process_start()
    assert 0 <= before <= seconds_since_process_start()


def test_without_proc_the_process_counts_as_new(monkeypatch):
    def fail(_):
        raise OSError

    monkeypatch.setattr("foveal.clock.Path.read_text", fail)
    assert seconds_since_process_start() == 0
