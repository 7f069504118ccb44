"""Several labels for each image: what tables may say, how the target encodes it, splits and folds by stratification."""

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from foveal.data.sources.list_data import list_data
from foveal.data.sources.listing import DataOptions
from foveal.data.split.assign import assign, make_split
from foveal.data.split.split_csv import read_split, split_to_csv
from foveal.data.targets.label_sets import LabelSets
from foveal.data.targets.label_text import is_list, labels_in, read_labels, text_of
from foveal.data.targets.registry import target_of
from foveal.data.targets.stratification import iterative_stratification
from foveal.errors import DataError
from foveal.metrics.calibration import HeldOutLogits
from foveal.metrics.multi_label import sigmoid
from foveal.values import SplitRecord
from pictures import record

NAMES = ("ant", "bee", "cat", "dog")
SETS = st.lists(st.lists(st.sampled_from(NAMES), max_size=4), min_size=1, max_size=40)


def records(rows, **given):
    return [record(i, text_of(row), **given) for i, row in enumerate(rows)]


def placed(rows, groups=None):
    groups = groups or [str(i) for i in range(len(rows))]
    return [SplitRecord(r, "train", g) for r, g in zip(records(rows), groups, strict=True)]


# What a table says.


@given(st.lists(st.text(min_size=1).filter(lambda t: t.strip()), max_size=5))
@settings(max_examples=40)
def test_the_text_of_labels_holds_each_of_them_once(names):
    text = text_of(names)
    assert list(labels_in(text)) == sorted(set(names)) and text == text_of(labels_in(text))
    assert read_labels(text) == text_of(n.strip() for n in names) and is_list(text)


@pytest.mark.parametrize(
    ("value", "separator", "labels"),
    [
        (["dog", "cat"], None, ["cat", "dog"]),
        ([], None, []),
        ([3, 1.5], None, ["1.5", "3"]),
        ('["dog", "cat"]', None, ["cat", "dog"]),
        ("['dog', 'it\\'s']", None, ["dog", "it's"]),
        ("[]", "|", []),
        (" cat | dog ", "|", ["cat", "dog"]),
        ("cat", ";", ["cat"]),
    ],
)
def test_labels_are_lists_or_have_a_separator(value, separator, labels):
    assert list(labels_in(read_labels(value, separator))) == labels


HOSTILE = [
    "cat",
    {"cat": 1},
    7,
    True,
    [None],
    [["cat"]],
    [True],
    [""],
    "[cat, dog]",
    '["cat"',
    "[1, {}]",
    "[" * 5000 + "]" * 5000,
    "[__import__('os')]",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_anything_else_is_refused(value):
    with pytest.raises(ValueError, match=r"."):
        read_labels(value)


def test_no_value_is_not_an_empty_list():
    assert read_labels(None) == read_labels("") == "" and read_labels([]) == "[]"
    with pytest.raises(ValueError, match=r"."):
        read_labels("cat||dog", "|")


def listed(folder, name, text, **options):
    (folder / name).write_text(text)
    return list_data(folder / name, DataOptions(**options))


def lines(*rows):
    return "\n".join(json.dumps(row) for row in rows)


def test_lists_make_a_table_one_of_several_labels(tmp_path):
    rows = lines(
        {"path": "a.jpg", "label": ["cat"]}, {"path": "b.jpg", "label": []}, {"path": "c.jpg", "label": None}
    )
    listing = listed(tmp_path, "data.jsonl", rows)
    assert listing.task == "multi-label" and [labels_in(e.label) for e in listing.entries] == [("cat",), ()]
    assert [(x.reason, x.path[-5:]) for x in listing.excluded] == [("no_label", "c.jpg")]
    assert listing.declared_classes == {"cat"}
    assert listed(tmp_path, "one.jsonl", lines({"path": "a.jpg", "label": "cat"})).task == "classify"


def test_a_csv_holds_lists_or_names_with_a_separator(tmp_path):
    text = 'path,labels,split,group\na.jpg,"[""cat"", ""dog""]",train,7\nb.jpg,[],test,\n'
    lists = listed(tmp_path, "lists.csv", text)
    assert [(labels_in(e.label), e.split, e.group) for e in lists.entries] == [
        (("cat", "dog"), "train", "7"),
        ((), "test", None),
    ]
    joined = listed(tmp_path, "joined.csv", "path,label\na.jpg,cat|dog\nb.jpg,[]\n", label_separator="|")
    assert [e.label for e in joined.entries] == [e.label for e in lists.entries]
    assert listed(tmp_path, "joined.csv", "path,label\na.jpg,cat|dog\n").task == "classify"


@pytest.mark.parametrize("value", [v for v in HOSTILE if not isinstance(v, str)])
def test_a_bad_row_names_file_and_line(tmp_path, value):
    rows = lines({"path": "a.jpg", "label": ["cat"]}, {"path": "b.jpg", "label": value})
    with pytest.raises(DataError, match=r"data\.jsonl:2:") as refused:
        listed(tmp_path, "data.jsonl", rows)
    assert refused.value.hint


def test_a_task_that_the_data_does_not_hold_is_refused(tmp_path, make_folder):
    rows = lines({"path": "a.jpg", "label": ["cat"]})
    with pytest.raises(DataError, match=r"data\.jsonl:1:"):
        listed(tmp_path, "data.jsonl", rows, task="classify")
    folder = make_folder(tmp_path / "folders", {"cat": 1, "dog": 1})
    with pytest.raises(DataError) as refused:
        list_data(folder, DataOptions(task="multi-label"))
    assert refused.value.hint == LabelSets.layout


# The target.


@given(SETS)
@settings(max_examples=30, deadline=None)
def test_encoding_says_of_each_label_whether_an_image_has_it(rows):
    encoded = LabelSets().encode(placed(rows), NAMES)
    assert encoded.shape == (len(rows), 4)
    assert [{NAMES[k] for k in np.flatnonzero(row)} for row in encoded] == [set(row) for row in rows]
    known = LabelSets().encode(placed(rows), NAMES[:2])
    assert (known == encoded[:, :2]).all()
    counts = LabelSets().class_counts(records(rows))
    assert counts == {name: n for name, n in zip(NAMES, encoded.sum(axis=0).tolist(), strict=True) if n}


def test_it_survives_json_and_the_table_of_a_split(tmp_path):
    assert isinstance(target_of(json.loads(json.dumps(LabelSets().to_dict()))), LabelSets)
    split = make_split(records([["ant"], ["ant", 'b"|,'], []] * 10), [], target=LabelSets())
    (tmp_path / "split.csv").write_text(split_to_csv(split, LabelSets()))
    again = read_split(tmp_path / "split.csv", LabelSets())
    assert again.classes == split.classes == ("ant", 'b"|,')
    assert [p.record.label for p in again.placed] == [p.record.label for p in split.placed]
    assert list_data(tmp_path / "split.csv").task == "multi-label"  # it is a table to train from


def test_loss_and_score_are_those_of_torch_and_scikit_learn():
    from sklearn.metrics import average_precision_score

    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (50, 3)).astype(np.float32)
    targets = generator.integers(0, 2, (50, 3))
    target, tensors = LabelSets(), (torch.from_numpy(logits), torch.from_numpy(targets))
    expected = functional.binary_cross_entropy_with_logits(tensors[0], tensors[1].float())
    assert target.loss()(*tensors).item() == pytest.approx(expected.item(), rel=1e-6)
    flat = (torch.zeros(5, 3), torch.ones(5, 3))
    assert target.loss()(*flat).item() == pytest.approx(target.initial_loss("abc"))
    with pytest.raises(ValueError, match=r"."):
        target.loss(dice=1.0)
    tallies = target.tally(target.predict(logits), targets, "abc")
    assert target.score(tallies) == pytest.approx(average_precision_score(targets, logits))
    low, high = target.interval(tallies)
    assert 0 <= low < target.score(tallies) < high <= 1
    assert math.isnan(target.score(tallies[:0])) and target.interval(tallies[:0]) is None
    assert np.allclose(LabelSets.probabilities(logits, 2.0), torch.sigmoid(tensors[0] / 2).numpy(), atol=1e-6)


def test_calibration_finds_temperature_and_thresholds():
    generator = np.random.default_rng(1)
    true = generator.normal(-1, 2, (4000, 2)).astype(np.float32)
    targets = (generator.random((4000, 2)) < sigmoid(true)).astype(np.int64)
    found = LabelSets().calibrate([HeldOutLogits(true * 3, targets, ["g"] * 4000)], coverage=0.95)
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert len(found.thresholds) == 2 and all(0.25 < t < 0.5 for t in found.thresholds)
    assert 0 < found.validation["map"] < 1
    none = LabelSets().calibrate([HeldOutLogits(true[:0], targets[:0], [])], coverage=0.95)
    assert none.thresholds == (0.5, 0.5) and none.validation["n"] == 0


# Folds and subsets.


@given(
    st.lists(st.tuples(st.lists(st.sampled_from(NAMES), max_size=3), st.integers(0, 15)), min_size=1, max_size=40)
)
@settings(max_examples=50, deadline=None)
def test_folds_keep_groups_whole(rows):
    groups = [str(g) for _, g in rows]
    members = placed([names for names, _ in rows], groups)
    folds = LabelSets().folds(members, 0)
    assert (folds is None) == (len(set(groups)) < 2)
    if folds is not None:
        assert folds.max() == min(5, len(set(groups))) - 1 and len(set(zip(groups, folds, strict=True))) == len(
            set(groups)
        )
        assert (folds == LabelSets().folds(members, 0)).all()


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_each_part_has_its_share_of_each_label(seed, parts):
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 3, 200)
    counts = generator.binomial(sizes[:, None], [[0.5, 0.2, 0.05, 0.3]])
    part = iterative_stratification(counts, sizes, [1.0] * parts)
    spread = np.array([counts[part == k].sum(axis=0) for k in range(parts)])
    # The rarest label is dealt out first, so that its parts differ by one group; later ones follow closely.
    assert (np.ptp(spread, axis=0)[counts.sum(axis=0).argmin()] <= 2) and (np.ptp(spread, axis=0) <= 6).all()
    assert np.ptp([sizes[part == k].sum() for k in range(parts)]) <= 6


def test_subsets_have_their_shares_of_rare_labels_whatever_the_seed():
    generator = np.random.default_rng(0)
    rows = [
        [n for n, p in zip(NAMES, (0.6, 0.3, 0.04, 0.1), strict=True) if generator.random() < p]
        for _ in range(400)
    ]
    for seed in range(3):
        out, _ = assign(records(rows), [], target=LabelSets(), seed=seed)
        for name in NAMES:
            counts = Counter(p.subset for p in out if name in labels_in(p.record.label))
            total = counts.total()
            assert abs(counts["test"] - 0.15 * total) <= 2 and abs(counts["val"] - 0.15 * total) <= 2
        assert abs(Counter(p.subset for p in out)["train"] - 280) <= 4


def test_the_split_follows_from_the_content_alone_and_keeps_what_is_alike_together():
    rows = [["ant"], ["bee", "ant"], [], ["cat"]] * 15
    first = records(rows)
    near = [(0, 1), (1, 7)]
    subsets = {p.record.sha256: p.subset for p in assign(first, near, target=LabelSets())[0]}
    assert len({subsets[first[i].sha256] for i in (0, 1, 7)}) == 1
    order = np.random.default_rng(0).permutation(len(first)).tolist()
    moved = [replace(first[i], path=f"/elsewhere/{n}") for n, i in enumerate(order)]
    near_moved = [(order.index(a), order.index(b)) for a, b in near]
    again = {p.record.sha256: p.subset for p in assign(moved, near_moved, target=LabelSets())[0]}
    assert again == subsets
    more = [*first, *(record(1000 + i, text_of(["ant"])) for i in range(20))]
    kept = {p.record.sha256: p.subset for p in assign(more, near, target=LabelSets(), previous=subsets)[0]}
    assert subsets.items() <= kept.items() and set(Counter(kept.values())) == {"train", "val", "test"}


def test_a_label_has_to_be_learnable():
    with pytest.raises(DataError):
        make_split(records([["ant"]] * 20), [], target=LabelSets())
    with pytest.raises(DataError):
        make_split(records([[]] * 20), [], target=LabelSets())
    assert make_split(records([["ant"], []] * 10), [], target=LabelSets()).classes == ("ant",)


def test_findings_name_labels_that_are_rare_or_everywhere():
    found = {
        f.code: f.count for f in LabelSets().findings(records([["ant"], ["ant", "bee"]]), {"ant", "bee", "cow"})
    }
    assert found == {"empty_classes": 1, "few_pictures": 2, "label_everywhere": 1}
    assert [f.code for f in LabelSets().findings(records([["ant"]] * 30 + [[]]), {"ant"})] == ["no_labels"]
