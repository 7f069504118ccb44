"""A study's folder: written row by row, resumable, bounded by time."""

import json
import time
from dataclasses import replace

import pytest

from foveal.clock import Clock
from foveal.errors import BundleError, UsageError
from foveal.studies.framework import SUPPORTED, UNDECIDED, Arm
from foveal.studies.framework.runner import default_seeds, refresh, run_study
from studies.toy import toy


def test_a_folder_is_complete(tmp_path):
    path, content = run_study(toy(), out=str(tmp_path / "toy"), command="foveal study toy")
    kept = json.loads((path / "study.json").read_text())
    assert kept["schema"] == 1 and kept["verdict"] == SUPPORTED == content["verdict"]
    assert len(kept["rows"]) == 10 and kept["analysis"]["n"] == 5 and kept["looks"] == [5]
    assert kept["sizes"]["b"] == {"parameters": 1010, "macs": 7}
    assert {"cpu", "cores"} <= set(kept["machine"]) and "torch" in kept["versions"]
    assert kept["command"] == "foveal study toy"
    assert (path / "study.html").read_text().count("<svg") == 2


def test_more_seeds_are_added_and_count_as_an_analysis(tmp_path):
    out = str(tmp_path / "toy")
    _, first = run_study(toy(), out=out)
    _, second = run_study(toy(), out=out, more=3)
    assert second["rows"][:10] == first["rows"] and len(second["rows"]) == 16
    assert second["looks"] == [5, 8] and second["analysis"]["confidence"] == 0.975
    _, third = run_study(toy(), out=out)
    assert third["looks"] == [5, 8] and third["rows"] == second["rows"]


def test_an_interrupted_study_resumes_to_the_same_result(tmp_path):
    out = tmp_path / "toy"
    with pytest.raises(KeyboardInterrupt):
        run_study(toy(fail_at=2), out=str(out))
    assert len(json.loads((out / "study.json").read_text())["rows"]) == 4
    _, resumed = run_study(toy(), out=str(out))
    _, whole = run_study(toy(), out=str(tmp_path / "whole"))

    def bare(content):
        return sorted((r["arm"], r["seed"], r["measures"]["accuracy"]) for r in content["rows"])

    assert bare(resumed) == bare(whole) and resumed["analysis"]["contrasts"] == whole["analysis"]["contrasts"]
    assert resumed["looks"] == [5]


def test_no_run_starts_that_would_exceed_the_time(tmp_path):
    def slow(arm, seed, setting):
        time.sleep(0.05)
        return {"accuracy": 0.5}

    study, out = toy(run=slow), str(tmp_path / "toy")
    _, content = run_study(study, out=out, clock=Clock(0.18), seeds=50)
    assert 2 <= len(content["rows"]) < 8 and content["seeds"] == 50
    _, content = run_study(study, out=out, clock=Clock(0))
    assert len(content["rows"]) < 8
    _, nothing = run_study(study, out=str(tmp_path / "none"), clock=Clock(0))
    assert nothing["verdict"] == UNDECIDED and nothing["analysis"]["n"] == 0 and nothing["looks"] == []


def test_arms_take_turns_to_be_first(tmp_path):
    _, content = run_study(toy(), out=str(tmp_path / "toy"), seeds=3)
    assert [(r["arm"], r["seed"]) for r in content["rows"]] == [
        ("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2),
    ]  # fmt: skip


def test_folders_of_other_studies_are_refused(tmp_path):
    out = str(tmp_path / "toy")
    run_study(toy(), out=out, seeds=1)
    with pytest.raises(UsageError, match="'toy'"):
        run_study(toy(name="other"), out=out)
    with pytest.raises(UsageError, match=out):
        run_study(toy(), out=out, data="elsewhere")
    with pytest.raises(UsageError, match=out):
        run_study(toy(arms=(*toy().arms, Arm("c", ""))), out=out)
    file = tmp_path / "toy" / "study.json"
    known = json.loads(file.read_text())
    file.write_text(json.dumps({**known, "machine": {"cpu": "some other processor"}}))
    with pytest.raises(UsageError, match="some other processor"):
        run_study(toy(), out=out)
    file.write_text("{")
    with pytest.raises(BundleError, match=str(file)):
        run_study(toy(), out=out)
    with pytest.raises(UsageError, match=str(tmp_path)):
        run_study(toy(), out=str(tmp_path))
    with pytest.raises(UsageError, match=str(file)):
        run_study(toy(), out=str(file))


def test_a_value_that_is_not_finite_is_an_error(tmp_path):
    with pytest.raises(ArithmeticError, match="toy, a, seed 0: accuracy"):
        run_study(toy(run=lambda *_: {"accuracy": float("nan")}), out=str(tmp_path / "toy"))


def test_seeds_follow_from_the_measured_spread():
    assert default_seeds(toy(), {}) == 5
    wide, wider = (default_seeds(toy(), {"sd": {"better": sd}}) for sd in (0.02, 0.04))
    assert 5 < wide < wider
    assert default_seeds(replace(toy(), contrasts=()), {}) == 1


def test_refreshing_changes_words_but_no_measurement(tmp_path):
    path, before = run_study(toy(), out=str(tmp_path / "toy"))
    after = refresh(toy(claim="b beats a"), path)
    assert after["claim"] == "b beats a"
    assert json.loads((path / "study.json").read_text()) == json.loads(json.dumps(after))
    assert after | {"claim": before["claim"]} == before
