"""Values: what is written to a bundle is read back as it was."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.errors import BundleError
from foveal.schema import signed
from foveal.values import SCHEMA, Excluded, LabelMap, Manifest, Preprocess, Split, SplitRecord
from pictures import record

NUMBERS = st.floats(0, 255, allow_nan=False)
PREPROCESS = st.builds(
    Preprocess,
    size=st.integers(8, 512),
    resize=st.sampled_from(["crop", "squash", "pad"]),
    crop_share=st.floats(0.1, 1.0),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
    mean=st.tuples(NUMBERS, NUMBERS, NUMBERS),
    std=st.tuples(*[st.floats(1e-3, 255)] * 3),
    background=st.tuples(*[st.integers(0, 255)] * 3),
)
MANIFESTS = st.builds(
    Manifest,
    task=st.just("classify"),
    classes=st.lists(st.text(min_size=1), min_size=2, max_size=5, unique=True).map(tuple),
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
    "field",
    sorted(
        set(written())
        - {
            "schema",
            "sha256",
            "network",
            "outside",
            "unknown_threshold",
            "label_map",
            "measured_before_refit",
            "coverage",
            "unknown",
            "thresholds",
        }
    ),
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


def edited(**changes):
    return signed({**written(), **changes})


def test_what_was_changed_is_refused_and_what_was_signed_is_read():
    assert Manifest.from_dict(edited(temperature=1.5)).temperature == 1.5
    with pytest.raises(BundleError, match="hash"):
        Manifest.from_dict({**written(), "temperature": 1.5})
    without = written()
    del without["sha256"]
    with pytest.raises(BundleError, match="hash") as refused:
        Manifest.from_dict(without)
    assert refused.value.hint


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("temperature", v) for v in (0, -1, NAN, INF, 1e-320, "1", None, True, [1])),
        *(("classes", v) for v in ("ab", ["a", "a"], [], ["a", ""], ["a", 1], None, 5)),
        *(("views", v) for v in ([], ["upside_down"], "plain", None)),
        *(("set_threshold", v) for v in (-0.1, 1.1, NAN, None)),
        *(("unknown_threshold", v) for v in (-0.1, 1.1, NAN)),
        *(("unknown", v) for v in ({}, [], 5, {"score": "residual", "rate": 1.5, "images": 9, "groups": 9})),
        *(("outside", v) for v in (True, 1, "false")),
        *(("backbone", v) for v in (None, 5, "")),
        *(("network", v) for v in ({}, [], 5)),
        *(("label_map", v) for v in ({}, [], 5, {"classes": ["x", "y"], "values": [0, 1]})),
        *(("provenance", v) for v in ([], 5)),
        *(("preprocess", v) for v in (None, [], 5)),
        ("legend", None),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_field_even_when_signed(field, wrong):
    with pytest.raises(BundleError, match=field) as refused:
        Manifest.from_dict(edited(**{field: wrong}), "run/bundle.json")
    assert "bundle.json" in str(refused.value) and refused.value.hint


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("size", v) for v in (0, -1, 2, 100_000, 1.5, "224", True, 10**30)),
        *(("std", v) for v in ([0, 1, 1], [1, 1], [NAN, 1, 1], 1, [1e-30, 1, 1])),
        *(("mean", v) for v in ([327, 127, 127], [-1, 0, 0], [NAN] * 3)),
        *(("resize", v) for v in ("pid", "", None, "fit", "digit")),
        *(("interpolation", v) for v in ("nearest", 3)),
        *(("crop_share", v) for v in (0, 1e-9, 2, NAN)),
        *(("background", v) for v in ([256, 0, 0], [0.5, 0, 0], [0])),
        *(("channels", v) for v in (1, 2, 4, "3")),
        *(("height", v) for v in (-1, 100_000)),
        *(("scale", v) for v in (-1, INF)),
    ],
)
def test_a_preprocess_out_of_range_is_refused_with_its_field(field, wrong):
    preprocess = {**Preprocess().to_dict(), field: wrong}
    with pytest.raises(BundleError, match="preprocess") as refused:
        Manifest.from_dict(edited(preprocess=preprocess))
    assert field in str(refused.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": ("a", "a")},
        {"values": (0, 0)},
        {"values": (0,)},
        {"values": (-1, 2)},
        {"colours": ((0, 0, 0),)},
        {"colours": ((0, 0, 256), (0, 0, 1))},
        {"void": ("255",)},
        {"voyd": ()},
    ],
)
def test_a_label_map_that_is_none_is_refused(wrong):
    with pytest.raises(BundleError, match="label_map"):
        LabelMap.from_dict({"classes": ("road", "car"), "values": (0, 7), **wrong})


def test_a_label_map_comes_back_as_it_was():
    label_map = LabelMap(("road", "car"), (0, 7), ((1, 2, 3), (4, 5, 6)), (255,), ((0, 0, 0),))
    assert LabelMap.from_dict(json.loads(json.dumps(asdict(label_map)))) == label_map


def test_every_view_that_can_be_made_can_be_read():
    from typing import get_args

    from foveal.data.images.render import GEOMETRIES
    from foveal.values import View

    assert set(get_args(View)) == {"plain", "mirror", *GEOMETRIES}


def test_text_that_is_no_unicode_is_refused():
    with pytest.raises(BundleError, match="preprocess"):
        Preprocess.from_dict({**Preprocess().to_dict(), "resize": "\ud800"})
