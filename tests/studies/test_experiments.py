"""Parts of single studies, on tiny inputs."""

import csv

import numpy as np
import pytest
import torch

from foveal.errors import DataError
from foveal.models.resolve import resolve
from foveal.planner.scenario import Scenario
from foveal.studies.experiments import cost, dense_to_conv, out_of_memory, transfer
from foveal.studies.experiments.support.digits import DigitSet
from foveal.studies.experiments.support.profiling import peak_of, step_peak
from foveal.studies.experiments.support.scenes import scenes
from foveal.studies.framework import Setting


def test_a_peak_counts_what_is_there_at_once():
    held = torch.zeros(1000)

    def work():
        first = torch.zeros(5000)
        del first
        torch.zeros(3000)

    assert peak_of(work, [held, held]) == 4 * (1000 + 5000)


def test_the_notebooks_sum():
    assert sum((9 * c + 1) * f for c, f in cost.LAYERS) == 903_400
    checks = {c.name: c for c in cost.notebook_checks(903_400, 526e6, 1.5e9, 9e6)}
    assert not checks["sum"].holds and not checks["times the batch"].holds
    assert checks["two neighbours"].holds


def test_accumulating_lowers_a_step():
    sketch, images = "conv8-relu-conv8-relu-gap-dense3", torch.randn(16, 1, 16, 16)
    peaks = [
        step_peak(
            resolve(sketch).build((1, 16, 16)), images, torch.zeros(16, dtype=torch.long),
            Scenario(input=(1, 16, 16), batch=16 // parts, accumulate=parts, optimizer="adamw"),
        )
        for parts in (1, 4)
    ]  # fmt: skip
    assert peaks[1] < 0.5 * peaks[0]


def test_remedies_change_what_they_say():
    setting = Setting("sample:mnist", share=0.01)
    assert out_of_memory.scenario_of(out_of_memory.REMEDIES["smaller images"], setting).input == (1, 20, 20)
    image = torch.zeros(1, 1, 28, 28)
    image[..., 14, 14] = 1
    shifted = out_of_memory.shifted(image, 0, 1)
    assert shifted.sum() == 1
    assert max(abs(int(p) - 14) for p in shifted[0, 0].nonzero()[0]) <= out_of_memory.REACH


def test_one_by_one_is_right_after_an_average_only():
    torch.manual_seed(0)
    images = torch.randn(4, 1, 28, 28)
    for arm, exact in (("averaged", True), ("flattened", False)):
        network = resolve(dense_to_conv.SKETCHES[arm]).build((1, 28, 28)).eval()
        with torch.no_grad():
            off = (dense_to_conv.logits_with_1x1(network, images) - network(images)).abs().max()
        assert (off < 1e-5) == exact


def test_training_sets_are_nested_and_apart_from_the_test_set(tmp_path):
    by_class = {c: [f"/{c}/{i}.png" for i in range(110)] for c in "ab"}
    tables = {}
    for count in (5, 100):
        path = transfer.write_table(by_class, count, 3, Setting("x"), tmp_path / f"{count}.csv")
        with path.open() as file:
            tables[count] = {(r["path"], r["split"]) for r in csv.DictReader(file)}
    tested = {p for p, split in tables[100] if split == "test"}
    assert len(tested) == 20 and not tested & {p for p, split in tables[100] if split == "train"}
    assert tables[5] < tables[100] and len(tables[5]) == 2 * 15


def test_too_few_images_are_refused(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    with pytest.raises(DataError, match="'a'"):
        transfer.paths_by_class(str(tmp_path))


def test_scenes_hold_what_their_masks_say():
    ink = np.zeros((4, 1, 28, 28), dtype=np.uint8)
    ink[:, :, 8:20, 8:20] = 255
    digits = DigitSet(ink, np.array([0, 1, 0, 1]))
    images, masks = scenes(digits, 3, size=96, digits=(0, 1), rng=np.random.default_rng(0))
    assert {i.shape for i in images} == {(3, 96, 96)} and {m.shape for m in masks} == {(96, 96)}
    for image, mask in zip(images, masks, strict=True):
        assert set(np.unique(mask)) <= {0, 1, 2} and mask.any()
        assert image[:, mask > 0].mean() > image[:, mask == 0].mean() + 40
