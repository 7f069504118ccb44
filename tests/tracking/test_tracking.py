"""Figures of a run in TensorBoard's and MLflow's own files, read by their own readers."""

import os

import pytest

from foveal.clock import Clock
from foveal.config import TrainConfig
from foveal.errors import UnknownName, UsageError
from foveal.flow import train
from foveal.progress import Progress
from foveal.tracking import Tracked, find_trackers


def short_run(progress):
    """What a run reports: losses of one training, two candidates, the result."""
    with progress.stage("training", 10) as bar:
        bar(1)
        bar.tell(step=4, loss=0.5, lr=0.01)
        bar.tell(step=8, loss=0.25, lr=0.001)
    progress.scored("frozen", 0.8)
    progress.scored("fine-tune", 0.9)
    progress.end({"test": {"n": 20, "accuracy": 0.85, "per_class": {}, "sure": True}})


def scalars(folder):
    """name → [(step, value)], as TensorBoard reads them."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {n: [(e.step, pytest.approx(e.value)) for e in events.Scalars(n)] for n in events.Tags()["scalars"]}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    with Tracked(Progress(), find_trackers(["tensorboard"])) as progress:
        progress.begin(tmp_path, {"time": "8s"})
        short_run(progress)
    found = scalars(tmp_path / "logs")
    assert found["training/loss"] == [(4, 0.5), (8, 0.25)] and found["training/lr"] == [(4, 0.01), (8, 0.001)]
    assert found["validation/frozen"] == [(0, 0.8)] and found["validation/fine-tune"] == [(1, 0.9)]
    assert found["test/accuracy"] == [(0, 0.85)] and found["test/n"] == [(0, 20)]
    assert not {"test/per_class", "test/sure"} & set(found)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_whole_run(photos, tmp_path):
    pytest.importorskip("tensorboard")
    with Tracked(Progress(), find_trackers(["tensorboard"])) as progress:
        run, summary = train(
            photos,
            TrainConfig(strategy="frozen", test="subset"),
            out=str(tmp_path / "run"),
            clock=Clock(),
            progress=progress,
        )
    found = scalars(run / "logs")
    assert found["test/accuracy"] == [(0, summary["test"]["accuracy"])] and "validation/frozen" in found


@pytest.mark.filterwarnings("ignore")  # MLflow's own
@pytest.mark.parametrize("configured", [False, True])
def test_mlflow(tmp_path, monkeypatch, configured):
    mlflow = pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    address = (tmp_path / ("elsewhere" if configured else "run/logs/mlflow")).as_uri()
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address if configured else "")
    (tmp_path / "run").mkdir()
    with Tracked(Progress(), find_trackers(["mlflow"])) as progress:
        progress.begin(tmp_path / "run", {"time": "8s"})
        short_run(progress)
    client = mlflow.MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name("foveal")
    (stored,) = client.search_runs([experiment.experiment_id])
    assert stored.info.status == "FINISHED" and stored.data.params["time"] == "8s"
    assert stored.data.metrics["training/loss"] == 0.25 and stored.data.metrics["test/accuracy"] == 0.85
    assert (tmp_path / "run" / "logs").exists() != configured


class Failing:
    closed = None

    def scalar(self, name, value, step):
        raise OSError("no space left")

    def close(self, *, finished):
        self.closed = finished


class Listening(Progress):
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def test_a_tracker_that_fails_costs_the_log_and_not_the_run():
    heard, broken = Listening(), Failing()
    with Tracked(heard, {"broken": lambda *_: broken}) as progress:
        progress.begin(None, {})
        short_run(progress)
    assert len(heard.said) == 1 and "broken" in heard.said[0] and "space" in heard.said[0]


def test_one_that_cannot_be_opened_stops_the_run_before_it_starts():
    def refuse(*_):
        raise ConnectionError("nobody answers")

    with pytest.raises(UsageError, match="nobody answers"), Tracked(Progress(), {"far": refuse}) as progress:
        progress.begin(None, {})


def test_names_in_one_option_or_several(monkeypatch):
    monkeypatch.setattr("foveal.tracking.find_spec", lambda _: True)
    assert list(find_trackers(["MLflow,tensorboard", "mlflow"])) == ["mlflow", "tensorboard"]
    with pytest.raises(UnknownName):
        find_trackers(["wandb"])


def test_a_missing_package_is_named_with_its_extra_before_anything_is_written(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("foveal.tracking.find_spec", lambda _: None)
    from foveal.cli.main import app

    with pytest.raises(UsageError) as caught:
        app(["train", str(photos), "--out", str(tmp_path / "run"), "--log", "mlflow"], standalone_mode=False)
    assert "foveal[mlflow]" in caught.value.hint and not os.path.exists(tmp_path / "run")
