"""Progress in the output of a notebook's cell."""

import pytest

from fake_time import FakeTime, ManualClock
from foveal.cli.notebook_display import NotebookDisplay, drawing_in_notebook


@pytest.fixture
def drawn():
    return []


def test_a_run_is_drawn_a_few_times_a_second_and_erased_at_its_end(drawn, monkeypatch):
    FakeTime(monkeypatch, per_call=0.05)
    progress = NotebookDisplay(ManualClock(600), drawn.append)
    progress.begin(None, {})
    progress.best("frozen", 0.923, None)
    with progress.stage("features of <b>", 300) as bar:
        for _ in range(30):
            bar(10)
            bar.tell(loss=0.5, step=3)
    with progress.stage("fit", 1, unit="") as bar:
        bar(1)
    progress.end({})
    assert 5 < len(drawn) < 40 and drawn[-1] == ""
    page = "".join(drawn)
    assert 'max="300"' in page and "images/s" in page and "loss 0.5" in page and "frozen 92.3 %" in page
    assert "10 min 00 s" in page and "<b>" not in page


def test_there_is_no_notebook_here():
    assert drawing_in_notebook() is None
