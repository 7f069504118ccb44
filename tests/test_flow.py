"""A run as a whole: what it leaves behind, and what it never does."""

import csv
import hashlib
import json
import os
from contextlib import contextmanager

import pytest

from foveal.cli.train import summary_lines
from foveal.clock import Clock
from foveal.config import TrainConfig
from foveal.errors import DataError, FovealError, UnknownName, UsageError
from foveal.flow import resume, train
from foveal.inference.bundle import load_bundle
from foveal.progress import Progress
from foveal.tasks import find_task

RUN = {
    *(
        "model",
        "measured",
        "MODEL_CARD.md",
        "report.html",
        "config.json",
        "split.csv",
        "fingerprints.safetensors",
        "held_out.safetensors",
        "audit.json",
        "log.jsonl",
    ),
    "summary.json",
}
SUMMARY = {
    "schema": set(),
    "version": set(),
    "task": set(),
    "status": set(),
    "engine": set(),
    "test_looks": set(),
    "model": set(),
    "data": {"images", "classes", "used", "excluded", "not_learned"},
    "split": {"train", "val", "test"},
    "strategy": {"name", "reason", "candidates"},
    "test": {
        *(
            "n",
            "accuracy",
            "accuracy_ci95",
            "balanced_accuracy",
            "macro_f1",
            "log_loss",
            "ece",
            "per_class",
            "sets",
        ),
    },
    "time": {"total_s", "budget_s", "audit_s", "features_s", "fit_s", "evaluate_s", "report_s"},
    "refit": {"done", "images", "seconds", "reason"},
    "unknown": {
        "score",
        "reason",
        "false_alarm_rate",
        "images",
        "groups",
        "groups_needed",
        "test",
        "trial",
        "refused",
    },
    "sets": {"coverage", "threshold", "images", "groups", "at_least", "groups_needed"},
    "memory": {"budget_bytes", "planned_bytes", "allocator_peak_bytes", "peak_rss_bytes"},
}


def tree(root):
    """Content and time of every file below a folder."""
    return {
        str(f.relative_to(root)): (hashlib.sha256(f.read_bytes()).hexdigest(), f.stat().st_mtime_ns)
        for f in sorted(root.rglob("*"))
        if f.is_file()
    }


def rows(run):
    with (run / "split.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_run_folder_is_as_promised(trained):
    run, summary = trained
    assert {f.name for f in run.iterdir()} == RUN
    assert {f.name for f in (run / "model").iterdir()} == {"weights.safetensors", "bundle.json"}
    stored = json.loads((run / "summary.json").read_text())
    for key, inner in SUMMARY.items():
        assert key in stored, key
        assert inner <= set(stored[key] if isinstance(stored[key], dict) else ()), key
    assert stored["status"] == "done" and stored["test"]["n"] == summary["split"]["test"] > 5
    assert stored["test"]["accuracy"] > 0.8  # the colour gives the class away
    low, high = stored["test"]["accuracy_ci95"]
    assert low <= stored["test"]["accuracy"] <= high
    page = (run / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    config = json.loads((run / "config.json").read_text())
    assert config["decisions_schema"] == 2
    decisions = config["decisions"]
    assert {"route", "engine", "strategy", "settings"} <= set(decisions)
    assert all("value" in d and d["reason"] for name, d in decisions.items() if not name.endswith("/skip"))


def test_every_file_is_used_or_named_with_a_reason(photos, trained):
    named = {row["path"]: row for row in rows(trained[0])}
    assert set(named) == {str(f) for f in photos.rglob("*.*")}
    assert all(row["split"] or row["note"] for row in named.values())


def test_the_data_stay_untouched_and_a_second_run_is_the_same(photos, trained, tmp_path):
    before = tree(photos)
    run, summary = train(photos, out=str(tmp_path / "again"))
    assert tree(photos) == before
    weights = "model/weights.safetensors"
    assert (run / weights).read_bytes() == (trained[0] / weights).read_bytes()
    assert summary["test"]["accuracy"] == trained[1]["test"]["accuracy"]
    assert summary["test_looks"] > trained[1]["test_looks"]
    assert (run / "split.csv").read_bytes() == (trained[0] / "split.csv").read_bytes()


def test_an_earlier_split_is_kept(photos, trained, tmp_path, make_folder):
    more = make_folder(tmp_path / "more", {"ant": 12, "bee": 12, "cat": 12}, seed=9)
    for file in photos.rglob("*.*"):
        os.link(file, more / file.parent.name / f"old-{file.name}")
    run, _ = train(more, TrainConfig(split_from=str(trained[0]), seed=5), out=str(tmp_path / "run"))
    old = {row["sha256"]: row["split"] for row in rows(trained[0]) if row["split"]}
    new = {row["sha256"]: row["split"] for row in rows(run) if row["split"]}
    assert {k: new[k] for k in old} == old
    assert len(new) > len(old)


def test_given_subsets_are_kept_and_the_missing_one_is_made(tmp_path, make_folder):
    make_folder(tmp_path / "data" / "train", {"ant": 30, "bee": 30})
    make_folder(tmp_path / "data" / "test", {"ant": 8, "bee": 8}, seed=3)
    run, summary = train(tmp_path / "data", out=str(tmp_path / "run"))
    subsets = {row["path"]: row["split"] for row in rows(run)}
    assert all(subset == "test" for path, subset in subsets.items() if "/data/test/" in path)
    assert {subset for path, subset in subsets.items() if "/data/train/" in path} == {"train", "val"}
    assert summary["test"]["n"] == 16


def test_without_a_test_subset_all_is_trained_on_and_no_figure_is_given(photos, trained, tmp_path):
    run, summary = train(photos, TrainConfig(test=False), out=str(tmp_path / "run"))
    moved = {"test": "train"}
    assert {r["path"]: r["split"] for r in rows(run)} == {
        r["path"]: moved.get(r["split"], r["split"]) for r in rows(trained[0])
    }
    assert summary["test"]["n"] == 0 and summary["test"]["accuracy"] is None and summary["test_looks"] == 0
    assert not any("%" in line for line in summary_lines(run, summary) if line.startswith("result"))
    assert "foveal evaluate RUN DATA" in (run / "report.html").read_text()
    evaluate = find_task("classify").evaluate
    assert evaluate(run, photos, include_seen=True)["test"]["n"] == 120
    with pytest.raises(DataError, match="seen_in_training") as caught:
        evaluate(run, photos)
    assert "--include-seen" in caught.value.hint
    with pytest.raises(DataError) as caught:
        evaluate(run)
    assert str(run) in str(caught.value) and caught.value.hint


def test_a_budget_that_is_gone_says_so_and_names_what_was_not_read(photos, tmp_path):
    with pytest.raises(DataError) as caught:
        train(photos, out=str(tmp_path / "run"), clock=Clock(budget=1e-9))
    assert "--time" in caught.value.hint
    assert "no_time" in (tmp_path / "run" / "audit.json").read_text()


def test_a_full_folder_is_not_written_into(photos, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError) as caught:
        train(photos, out=str(tmp_path))
    assert str(tmp_path) in str(caught.value) and "--out" in caught.value.hint
    assert [f.name for f in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("config", "meant"), [(TrainConfig(backbone="lite00"), "lite0"), (TrainConfig(strategy="frozn"), "frozen")]
)
def test_a_misspelt_name_is_answered_with_the_nearest(photos, tmp_path, config, meant):
    with pytest.raises(UnknownName) as caught:
        train(photos, config, out=str(tmp_path / "run"))
    assert meant in caught.value.hint


def test_one_class_is_refused_with_a_hint(tmp_path, make_folder):
    make_folder(tmp_path / "data", {"ant": 6})
    with pytest.raises(DataError, match="ant") as caught:
        train(tmp_path / "data", out=str(tmp_path / "run"))
    assert caught.value.hint


def test_no_data_leaves_no_run_folder(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        train(tmp_path / "nowhere", out=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError):
        train(tmp_path / "nowhere", out=str(tmp_path / "mine"))
    assert list((tmp_path / "mine").iterdir()) == []  # the user's own folder stays


class Heard(Progress):
    """Keeps the names of stages and the messages, in order."""

    def __init__(self):
        self.events = []

    @contextmanager
    def stage(self, name, total=0, **about):
        self.events.append(name)
        with super().stage(name, total, **about) as bar:
            yield bar

    def say(self, text):
        self.events.append(text)


def test_findings_are_said_before_training_and_classes_that_are_not_learned_at_the_end(tmp_path, make_folder):
    make_folder(tmp_path / "data" / "train", {"ant": 8, "bee": 8})
    make_folder(tmp_path / "data" / "test", {"ant": 3, "bee": 3, "cow": 3}, seed=3)
    heard = Heard()
    settings = TrainConfig(strategy="frozen")
    run, summary = train(tmp_path / "data", settings, out=str(tmp_path / "run"), progress=heard)
    (said,) = [i for i, text in enumerate(heard.events) if "cow (3)" in text and text.startswith("error")]
    assert said < heard.events.index("evaluate") and "features" not in heard.events[:said]
    assert summary["data"]["not_learned"] == ["cow"] and summary["data"]["classes"] == ["ant", "bee"]
    assert "cow" in next(line for line in summary_lines(run, summary) if line.startswith("data"))
    assert "cow (3)" in (run / "report.html").read_text()
    (run / "summary.json").unlink()
    assert resume(str(run))[1]["data"]["not_learned"] == ["cow"]


def test_a_default_folder_is_removed_where_data_are_refused(make_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = make_folder(tmp_path / "one", {"ant": 4})
    with pytest.raises(FovealError):
        train(folder)
    assert not list((tmp_path / "runs").iterdir())
    with pytest.raises(FovealError):
        train(folder, out="asked-for")
    assert (tmp_path / "asked-for" / "audit.json").is_file()
    with pytest.raises(FovealError, match="nothing was trained in this run") as caught:
        load_bundle(tmp_path / "asked-for")
    assert "foveal train" in caught.value.hint


def test_folders_that_do_not_exist_are_named_without_the_words_of_the_system(photos, tmp_path):
    with pytest.raises(FovealError, match=r"nowhere: no such file or folder$"):
        load_bundle(tmp_path / "nowhere")
    with pytest.raises(FovealError, match=r"nowhere: no such run folder$"):
        train(photos, TrainConfig(split_from=str(tmp_path / "nowhere")), out=str(tmp_path / "run"))
    (tmp_path / "photos.zip").touch()
    with pytest.raises(FovealError, match=r"photos.zip is a file"):
        train(photos, out=str(tmp_path / "photos.zip"))
