"""Values: what is written to a bundle is read back as it was."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.errors import BundleError
from foveal.values import SCHEMA, Excluded, LabelMap, Manifest, Preprocess, Split, SplitRecord
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
    "field", sorted(set(written()) - {"schema", "network", "outside", "unknown_threshold", "label_map"})
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


def test_without_moves_images_to_the_excluded():
    placed = tuple(SplitRecord(record(n), "train" if n % 2 else "test", str(n)) for n in range(6))
    split = Split(placed, (Excluded("/x", "missing", "gone"),), ("a",))
    gone = {record(1).sha256, record(4).sha256}
    less = split.without(gone, "no_time", "late")
    assert [p.record.path for p in less.placed] == [record(n).path for n in (0, 2, 3, 5)]
    assert [(i.path, i.reason, i.sha256) for i in less.excluded[1:]] == [
        (record(n).path, "no_time", record(n).sha256) for n in (1, 4)
    ]
    assert less.excluded[0].reason == "missing"
    assert [p.record.path for p in less.subset("test")] == [record(0).path, record(2).path]
    assert split.placed == placed


def test_a_manifest_from_before_networks_is_still_read():
    values = written()
    for name in ("network", "outside", "unknown_threshold", "label_map"):
        del values[name]
    assert Manifest.from_dict(values) == Manifest.from_dict(written())


def test_a_label_map_under_its_earlier_key_is_still_read():
    label_map = LabelMap(("road", "car"), (0, 7), ((1, 2, 3), (4, 5, 6)), (255,), ((0, 0, 0),))
    values = json.loads(json.dumps({**written(), "legend": asdict(label_map)}))
    del values["label_map"]
    assert Manifest.from_dict(values).label_map == label_map
