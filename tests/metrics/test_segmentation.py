import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score

from foveal.metrics.segmentation import (
    VOID,
    block_bootstrap,
    boundary_counts,
    boundary_f1,
    confusion,
    iou,
    mean_boundary_f1,
    miou,
    pixel_accuracy,
)

K = 4
SHAPE = (9, 13)
MASKS = arrays(np.uint8, SHAPE, elements=st.integers(0, K - 1))
TRUTHS = arrays(np.uint8, SHAPE, elements=st.sampled_from([*range(K), VOID]))


def regions(seed: int, shape=(60, 80), classes=K) -> np.ndarray:
    """A map of a few smooth regions."""
    noise = np.random.default_rng(seed).standard_normal((classes, *shape))
    return np.stack([ndimage.gaussian_filter(n, 6) for n in noise]).argmax(axis=0).astype(np.uint8)


@given(MASKS, TRUTHS)
def test_the_counts_are_those_of_scikit_learn(prediction, truth):
    known = truth != VOID
    counts = confusion(prediction, truth, K)
    assert counts.sum() == known.sum()
    if not known.any():
        assert math.isnan(miou(counts)) and math.isnan(pixel_accuracy(counts))
        return
    assert (counts == confusion_matrix(truth[known], prediction[known], labels=range(K))).all()
    assert pixel_accuracy(counts) == pytest.approx(accuracy_score(truth[known], prediction[known]))
    present = np.union1d(truth[known], prediction[known])
    expected = jaccard_score(truth[known], prediction[known], labels=present, average=None)
    assert np.allclose(iou(counts)[present], expected)
    assert np.isnan(np.delete(iou(counts), present)).all()
    assert miou(counts) == pytest.approx(expected.mean())


@given(MASKS, TRUTHS, MASKS)
def test_what_is_answered_in_void_counts_nowhere(prediction, truth, other):
    changed = np.where(truth == VOID, other, prediction)
    assert (confusion(prediction, truth, K) == confusion(changed, truth, K)).all()
    assert (boundary_counts(prediction, truth, K) == boundary_counts(changed, truth, K)).all()


@given(MASKS, MASKS)
def test_counts_of_parts_add_up(prediction, truth):
    whole = confusion(prediction, truth, K)
    assert (whole == confusion(prediction[:4], truth[:4], K) + confusion(prediction[4:], truth[4:], K)).all()


@given(MASKS, MASKS)
def test_truth_and_answer_may_change_places(one, other):
    assert np.array_equal(iou(confusion(one, other, K)), iou(confusion(other, one, K)), equal_nan=True)
    there, back = boundary_counts(one, other, K), boundary_counts(other, one, K)
    assert (there == back[:, [2, 3, 0, 1]]).all()


def test_a_value_that_is_no_class_and_another_shape_are_refused():
    zeros = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="3"):
        confusion(np.full_like(zeros, 3), zeros, 3)
    with pytest.raises(ValueError, match="2, 2"):
        confusion(zeros[:1], zeros, 3)


@pytest.mark.parametrize("near", [0.0, 0.02, 0.04, 0.05])
@pytest.mark.parametrize("seed", range(4))
def test_boundaries_are_near_as_the_distance_transform_has_it(seed, near):
    prediction, truth = regions(seed), regions(seed + 1)
    truth[20:30, 30:50] = VOID
    prediction[5:9, 5:9] = 2
    radius = max(1.0, near * math.hypot(*truth.shape))
    answered = np.where(truth == VOID, VOID, prediction)

    def border(mask, c):
        # Grown with void left out of "another class": erosion of (c or void), seen from c.
        cross = ndimage.generate_binary_structure(2, 1)
        inside = ndimage.binary_erosion((mask == c) | (mask == VOID), cross, border_value=1)
        return (mask == c) & ~inside

    found = boundary_counts(prediction, truth, K, near)
    for c in range(K):
        ours, theirs = border(answered, c), border(truth, c)
        expected = [
            int((ndimage.distance_transform_edt(~theirs)[ours] <= radius).sum()) if theirs.any() else 0,
            int(ours.sum()),
            int((ndimage.distance_transform_edt(~ours)[theirs] <= radius).sum()) if ours.any() else 0,
            int(theirs.sum()),
        ]
        assert found[c].tolist() == expected


@given(MASKS)
def test_the_truth_itself_is_perfect(truth):
    counts = boundary_counts(truth, truth, K)
    scores = boundary_f1(counts)
    assert np.isin(scores[~np.isnan(scores)], 1.0).all()
    assert (np.isnan(scores) == (counts[:, 3] == 0)).all()
    assert iou(confusion(truth, truth, K))[np.unique(truth)].tolist() == [1.0] * len(np.unique(truth))


@given(TRUTHS, MASKS, st.floats(0, 0.2), st.floats(0, 0.2))
def test_more_tolerance_never_finds_less(truth, prediction, one, other):
    less, more = sorted((one, other))
    assert (boundary_counts(prediction, truth, K, less) <= boundary_counts(prediction, truth, K, more)).all()


def test_the_boundary_tells_apart_what_the_area_hides():
    """A bar moved by three pixels: most of its area is right, its boundary is not."""
    truth = np.zeros((100, 100), np.uint8)
    truth[:, 30:60] = 1
    moved = np.roll(truth, 3, axis=1)
    assert miou(confusion(moved, truth, 2)) > 0.8
    assert mean_boundary_f1(boundary_counts(moved, truth, 2)) == 0.0
    assert mean_boundary_f1(boundary_counts(moved, truth, 2, near=0.03)) == 1.0


def test_with_one_pixel_of_tolerance_and_no_neighbours_it_is_the_common_f1():
    """Stripes four apart: near is the same pixel, or one beside it."""
    truth, prediction = np.zeros((8, 40), np.uint8), np.zeros((8, 40), np.uint8)
    truth[:, [4, 12, 20, 28]] = 1
    prediction[:, [4, 12, 36]] = 1
    row = slice(0, 1)
    expected = f1_score(truth[row].ravel(), prediction[row].ravel())
    assert boundary_f1(boundary_counts(prediction, truth, 2))[1] == pytest.approx(expected)


def test_a_class_that_is_missed_scores_nothing_and_one_that_never_occurs_is_not_counted():
    truth, prediction = np.zeros((6, 6), np.uint8), np.zeros((6, 6), np.uint8)
    truth[2:4, 2:4] = 1
    assert boundary_f1(boundary_counts(prediction, truth, 3))[1] == 0.0
    assert np.isnan(boundary_f1(boundary_counts(prediction, truth, 3))[2])
    assert mean_boundary_f1(boundary_counts(prediction, truth, 3)) == 0.0


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.stack([confusion(regions(seed + i), regions(seed + i // 5), K) for i in range(n)])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_the_interval_holds_the_figure(seed):
    counts = pictures(12)
    low, high = block_bootstrap(counts, np.arange(12), seed=seed)
    assert low <= miou(counts.sum(axis=0)) <= high


def test_copies_of_a_frame_say_no_more_than_the_frame():
    counts = pictures(12)
    once = block_bootstrap(counts, np.arange(12))
    tenfold, blocks = np.repeat(counts, 10, axis=0), np.repeat(np.arange(12), 10)
    assert block_bootstrap(tenfold, blocks) == pytest.approx(once)
    alone = block_bootstrap(tenfold, np.arange(120))
    assert alone[1] - alone[0] < 0.6 * (once[1] - once[0])


def test_the_interval_is_that_of_scipy():
    from scipy.stats import bootstrap

    counts = pictures(20)

    def figure(index):
        return miou(counts[index].sum(axis=0))

    expected = bootstrap(
        (np.arange(20),), figure, vectorized=False, n_resamples=4000, method="percentile", random_state=1
    ).confidence_interval
    assert block_bootstrap(counts, np.arange(20), rounds=4000) == pytest.approx(tuple(expected), abs=0.004)


def test_one_block_alone_has_no_interval():
    assert block_bootstrap(pictures(3), np.zeros(3, np.int64)) is None


def test_boundaries_are_resampled_alike():
    counts = np.stack([boundary_counts(regions(i), regions(i // 2), K) for i in range(6)])
    low, high = block_bootstrap(counts, np.arange(6), mean_boundary_f1)
    assert 0 <= low <= mean_boundary_f1(counts.sum(axis=0)) <= high <= 1
