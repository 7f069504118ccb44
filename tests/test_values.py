"""The nouns: what is written to a bundle comes back as it was."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.errors import BundleError
from foveal.values import SCHEMA, Decisions, LeftOut, Manifest, Placed, Preprocess, Split
from pictures import record

NUMBERS = st.floats(0, 255, allow_nan=False)
PREPROCESS = st.builds(
    Preprocess,
    size=st.integers(1, 512),
    resize=st.sampled_from(["crop", "squash", "pad"]),
    crop_share=st.floats(0.1, 1.0),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
    mean=st.tuples(NUMBERS, NUMBERS, NUMBERS),
    std=st.tuples(NUMBERS, NUMBERS, NUMBERS),
    background=st.tuples(*[st.integers(0, 255)] * 3),
)
MANIFESTS = st.builds(
    Manifest,
    task=st.just("classify"),
    classes=st.lists(st.text(), min_size=2, max_size=5, unique=True).map(tuple),
    backbone=st.just("lite0"),
    weights_sha256=st.just("ab" * 32),
    backbone_sha256=st.just("cd" * 32),
    preprocess=PREPROCESS,
    views=st.sampled_from([("plain",), ("plain", "mirror")]),
    temperature=st.floats(0.05, 20),
    set_threshold=st.floats(0, 1),
    provenance=st.dictionaries(st.text(), st.integers() | st.text(), max_size=3),
)


@given(PREPROCESS)
@settings(max_examples=40, deadline=None)
def test_preprocess_round_trip(preprocess):
    assert Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict()))) == preprocess


@given(MANIFESTS)
@settings(max_examples=40, deadline=None)
def test_manifest_round_trip(manifest):
    back = Manifest.from_dict(json.loads(json.dumps(manifest.to_dict())))
    assert back == manifest
    assert isinstance(back.classes, tuple)


def written():
    return Manifest(
        "classify", ("a", "b"), "lite0", "00", "11", Preprocess(), ("plain",), 1.0, 0.5, {"seed": 0}
    ).to_dict()


@pytest.mark.parametrize("schema", [SCHEMA + 1, None, "1", 0])
def test_another_schema_is_refused_with_a_hint(schema):
    with pytest.raises(BundleError, match="schema") as caught:
        Manifest.from_dict({**written(), "schema": schema})
    assert caught.value.hint


@pytest.mark.parametrize(
    "field", sorted(set(written()) - {"schema", "network", "outside", "unknown_threshold", "legend"})
)
def test_a_missing_field_is_named(field):
    values = written()
    del values[field]
    with pytest.raises(BundleError, match=field):
        Manifest.from_dict(values)


@pytest.mark.parametrize("broken", [{"resise": "pad"}, None, [1, 2]])
def test_a_preprocess_edited_by_hand_is_a_bundle_error(broken):
    with pytest.raises(BundleError):
        Manifest.from_dict({**written(), "preprocess": broken})


def test_without_moves_pictures_to_those_left_out():
    placed = tuple(Placed(record(n), "train" if n % 2 else "test", str(n)) for n in range(6))
    split = Split(placed, (LeftOut("/x", "missing", "gone"),), ("a",))
    gone = {record(1).sha256, record(4).sha256}
    less = split.without(gone, "no_time", "late")
    assert [p.record.path for p in less.placed] == [record(n).path for n in (0, 2, 3, 5)]
    assert [(i.path, i.reason, i.sha256) for i in less.left_out[1:]] == [
        (record(n).path, "no_time", record(n).sha256) for n in (1, 4)
    ]
    assert less.left_out[0].reason == "missing"
    assert [p.record.path for p in less.on("test")] == [record(0).path, record(2).path]
    assert split.placed == placed


def test_decisions_keep_value_and_reason():
    decisions = Decisions()
    decisions.record("engine", "openvino", "fastest")
    decisions.record("engine", "torch", "likest")
    assert decisions.made == {"engine": {"value": "torch", "reason": "likest"}}


def test_a_decision_is_made_once_and_written_down_at_once():
    seen = []
    decisions = Decisions({"steps": {"value": 7, "reason": "earlier"}})
    decisions.on_new = lambda: seen.append(dict(decisions.made))
    assert decisions.settle("steps", lambda: pytest.fail("it was decided")) == 7
    assert decisions.settle("engine", lambda: ("torch", "it is here")) == "torch"
    assert seen == [decisions.made]


def test_a_manifest_of_before_networks_is_still_read():
    values = written()
    for name in ("network", "outside", "unknown_threshold"):
        del values[name]
    assert Manifest.from_dict(values) == Manifest.from_dict(written())
