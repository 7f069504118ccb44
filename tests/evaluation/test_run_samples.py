"""The images with which a notebook shows a fitted estimator."""

import shutil

import numpy as np

from foveal import load
from foveal.data.split.held_out import FILE_NAME, HeldOut, read_held_out
from foveal.data.split.split_csv import read_rows
from foveal.evaluation.estimator_page import estimator_html
from foveal.evaluation.run_samples import Sample, samples_of

CLASSES = ("ant", "bee", "cat")


def test_test_images_of_every_class_come_in_turn(trained):
    shown = samples_of(trained[0], CLASSES)
    assert len(shown) == 12 and all(s.image.startswith("data:image/jpeg") for s in shown)
    right = [s.label for s in shown if s.prediction == s.label]
    assert len(right) >= 8 and set(right[:3]) == set(CLASSES)


def test_the_most_confident_mistakes_come_first(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    held_out = read_held_out(run, CLASSES)
    labels = {row["sha256"]: row["label"] for row in read_rows(run / "split.csv")}
    confidence = np.linspace(0.5, 0.9, len(held_out.test))
    for name, row, p in zip(held_out.test.sha256, held_out.test.probabilities, confidence, strict=True):
        row[:] = 0
        row[(CLASSES.index(labels[name]) + 1) % 3] = p
    (run / FILE_NAME).write_bytes(HeldOut(held_out.test, held_out.out_of_fold).to_bytes())
    shown = samples_of(run, CLASSES)
    assert [round(s.probability, 4) for s in shown[:4]] == np.round(confidence[::-1][:4], 4).tolist()
    assert all(s.prediction != s.label for s in shown)


def test_what_is_shown_of_a_loaded_run_is_text_never_markup(trained):
    assert "predicted as" in load(trained[0])._repr_html_() or "✓" in load(trained[0])._repr_html_()
    page = estimator_html(trained[1], ("<b>80 %</b>", "sure"), "/run", [Sample("data:", "<i>", "<u>", 0.9)])
    assert "<b>80" not in page and "<i>" not in page and "<u>" not in page and "&lt;u&gt;" in page
