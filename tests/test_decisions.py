"""Decisions: typed ids, one choice each, and a schema without which they are not read."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal import decisions as ids
from foveal.decisions import SCHEMA, Decision, Decisions
from foveal.errors import BundleError

#: A value of every id, as a strategy or the run decides it.
VALUES = {
    ids.ROUTE: {"name": "pretrained", "preprocess": None},
    ids.NETWORK: {"architecture": "sketch", "text": "conv8-gap-dense2"},
    ids.ENGINE: "openvino-bf16",
    ids.EVALUATION_ENGINE: "torch-fp32",
    ids.DEVICE: {"name": "cpu", "precision": "fp32", "threads": 2},
    ids.NORMALIZATION: {"mean": [33.0, 33.0, 33.0], "std": [78.5, 78.5, 78.5]},
    ids.GEOMETRY: ("squash", "pad"),
    ids.FIT_IMAGES: 5000,
    ids.FEATURE_SIZE: 96,
    ids.BACKBONE: "lite2",
    ids.HFLIP: True,
    ids.FEATURE_SECONDS: 0.0031,
    ids.STRATEGY: "frozen",
    ids.SETTINGS: {"strength": 4.0, "tried": [[1.0, 0.9, 0.3]]},
    ids.REFIT: "--no-refit",
    ids.UNKNOWN: "relative+residual",
    ids.TEST: "cv",
    ids.LEARNING_CURVE: "",
    ids.TAU: 0.5,
    ids.SKIP: "",
    ids.KEEP: False,
    ids.HEAD_STRENGTH: 16.0,
    ids.IMAGE_SIZE: 160,
    ids.SCALE: 0.75,
    ids.TRAINING_IMAGES: "all",
    ids.STEPS: 123,
    ids.LEARNING_RATE: 0.006,
    ids.BATCH_SIZE: 32,
    ids.MEMBERS: 4,
    ids.SOLE_STRATEGY: True,
    ids.FALLBACK: False,
    ids.EPOCH_SECONDS: 1.5,
    ids.STEP_SECONDS: 0.25,
    ids.IMAGE_SECONDS: 0.01,
    ids.PREDICTION_SECONDS: 0.002,
    ids.MEMORY: {
        "micro_batches": 2,
        "checkpoint": False,
        "planned_bytes": 9,
        "room_bytes": 10,
        "fits": True,
        "reason": "it fits",
    },
    ids.ACCUMULATION: [(3, 2), (9, 4)],
    ids.SCHEDULE_CHANGES: [(0, 40, 67)],
    ids.STOPPED_AT: 24,
    ids.RESTARTS: 1,
    ids.PREDICTION_BATCH: 64,
}
BY_KIND = {decision.kind: decision for decision in VALUES}


def unexpected():
    pytest.fail("it had been decided")


def reread(decisions):
    """As another process reads them from config.json."""
    return Decisions.from_dict(json.loads(json.dumps(decisions.to_dict())))


def test_every_id_of_the_module_is_here_and_no_two_share_a_kind():
    declared = {name: value for name, value in vars(ids).items() if isinstance(value, Decision)}
    assert set(declared.values()) == set(VALUES)
    assert len(BY_KIND) == len(declared)


@pytest.mark.parametrize("kind", sorted(BY_KIND))
@pytest.mark.parametrize("subject", ["", "fine-tune", "fine-tune@160px", "scratch-hour-3"])
def test_a_value_comes_back_from_json_as_it_was_with_its_type(kind, subject):
    decision = BY_KIND[kind].of(subject)
    value = VALUES[BY_KIND[kind]]
    decisions = Decisions()
    decisions.record(decision, value, "measured")
    back = reread(decisions)
    assert back.get(decision) == value
    assert type(back.get(decision)) is type(value)
    assert back.reason(decision) == "measured"
    assert back.settle(decision, unexpected) == value


VALID_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), st.tuples(VALID_JSON, st.text()), max_size=6))
def test_reading_what_was_written_is_the_identity(made):
    decisions = Decisions({k: {"value": value, "reason": reason} for k, (value, reason) in made.items()})
    back = reread(decisions)
    assert back.made == decisions.made and list(back.made) == list(decisions.made)
    assert back.to_dict() == decisions.to_dict()


@given(st.text("abcdefghij-_@ 0123456789", max_size=12), st.sampled_from(sorted(BY_KIND)))
def test_subject_and_kind_are_told_apart_in_an_id(subject, kind):
    decisions = Decisions()
    decision = BY_KIND[kind].of(subject)
    decisions.record(decision, VALUES[BY_KIND[kind]], "")
    assert list(reread(decisions).of_kind(BY_KIND[kind])) == [(subject, VALUES[BY_KIND[kind]])]
    assert decision.id == (f"{subject}/{kind}" if subject else kind)


@pytest.mark.parametrize(
    ("decision", "wrong"),
    [
        (ids.HFLIP, 1),
        (ids.HFLIP, "true"),
        (ids.HFLIP, None),
        (ids.STEPS, 1.5),
        (ids.STEPS, -1),
        (ids.STEPS, True),
        (ids.STEPS, "7"),
        (ids.HEAD_STRENGTH, "4"),
        (ids.HEAD_STRENGTH, True),
        (ids.HEAD_STRENGTH, None),
        (ids.STRATEGY, 4),
        (ids.STRATEGY, None),
        (ids.ROUTE, "pretrained"),
        (ids.ROUTE, [["name", "pretrained"]]),
        (ids.SCHEDULE_CHANGES, [[0, 1.5, 2]]),
        (ids.SCHEDULE_CHANGES, [3]),
        (ids.SCHEDULE_CHANGES, None),
    ],
    ids=lambda v: v.kind if isinstance(v, Decision) else repr(v),
)
def test_a_value_of_another_type_is_refused_with_its_id(decision, wrong):
    decision = decision.of("fine-tune")
    decisions = reread(Decisions({decision.id: {"value": wrong, "reason": "by hand"}}))
    for read in (decisions.get, lambda d: decisions.settle(d, unexpected), lambda d: list(decisions.of_kind(d))):
        with pytest.raises(BundleError, match=decision.id) as refused:
            read(decision)
        assert "config.json" in str(refused.value) and refused.value.hint


def test_a_whole_number_will_do_for_a_number():
    back = reread(Decisions({"head_strength": {"value": 4, "reason": ""}}))
    assert type(back.get(ids.HEAD_STRENGTH)) is float


@pytest.mark.parametrize("made", [{"value": 3}, {"reason": "why"}, {}, 3, None, ["value", "reason"]])
def test_a_choice_without_value_or_reason_is_refused(made):
    written = {"decisions_schema": SCHEMA, "decisions": {"steps": made}}
    with pytest.raises(BundleError, match=r"config\.json") as refused:
        Decisions.from_dict(written)
    assert refused.value.hint


@pytest.mark.parametrize("made", [None, [], "steps", 3])
def test_decisions_that_are_no_object_are_refused(made):
    with pytest.raises(BundleError) as refused:
        Decisions.from_dict({"decisions_schema": SCHEMA, "decisions": made})
    assert refused.value.hint


@pytest.mark.parametrize("schema", [SCHEMA + 1, SCHEMA - 1, 0, str(SCHEMA), None])
def test_another_schema_is_refused_and_both_are_named(schema):
    with pytest.raises(BundleError) as refused:
        Decisions.from_dict({"decisions_schema": schema, "decisions": {}})
    assert repr(schema) in str(refused.value) and str(SCHEMA) in str(refused.value)
    assert refused.value.hint


def test_decisions_from_before_there_was_a_schema_are_refused():
    """They were keyed by prose, which nothing here reads."""
    with pytest.raises(BundleError, match="schema") as refused:
        Decisions.from_dict(
            {"decisions": {"climb frozen-stages": {"value": "", "reason": "there is time for it"}}}
        )
    assert refused.value.hint


def test_a_config_without_decisions_is_refused():
    with pytest.raises(BundleError, match=r"config\.json") as refused:
        Decisions.from_dict({"decisions_schema": SCHEMA, "settings": {}})
    assert refused.value.hint


def test_a_choice_is_made_once_and_written_down_before_it_is_acted_on():
    written, decisions = [], Decisions()
    decisions.on_new = lambda: written.append(json.loads(json.dumps(decisions.to_dict())))
    assert decisions.settle(ids.STEPS.of("unet"), lambda: (7, "they fit")) == 7
    assert decisions.settle(ids.STEPS.of("unet"), unexpected) == 7
    assert [w["decisions"] for w in written] == [{"unet/steps": {"value": 7, "reason": "they fit"}}]


def test_a_given_choice_is_obeyed_and_told_from_a_new_one():
    decisions = Decisions({"unet/steps": {"value": 7, "reason": "earlier"}})
    decisions.on_new = unexpected
    assert decisions.settle(ids.STEPS.of("unet"), unexpected) == 7
    decisions.on_new = lambda: None
    decisions.settle(ids.STEPS.of("fcn8s"), lambda: (9, "now"))
    assert decisions.was_given(ids.STEPS.of("unet")) and not decisions.was_given(ids.STEPS.of("fcn8s"))
    assert not decisions.was_given(ids.STEPS)


def test_what_was_recorded_later_counts():
    decisions = Decisions()
    decisions.record(ids.ENGINE, "openvino-bf16", "the fastest")
    decisions.record(ids.ENGINE, "torch-fp32", "the most accurate")
    assert decisions.get(ids.ENGINE) == "torch-fp32" and decisions.reason(ids.ENGINE) == "the most accurate"
    assert len(decisions.made) == 1


def test_what_was_not_decided_has_no_value_and_no_reason():
    decisions = Decisions()
    assert decisions.get(ids.STEPS) is None and decisions.reason(ids.STEPS) == ""
    assert list(decisions.of_kind(ids.STEPS)) == [] and decisions.made == {}


def test_all_choices_of_a_kind_with_their_subjects_in_order():
    decisions = Decisions()
    for subject, seconds in (("fine-tune@96px", 0.1), ("", 0.2), ("cached-trunk@96px", 0.3)):
        decisions.record(ids.IMAGE_SECONDS.of(subject), seconds, "")
        decisions.record(ids.PREDICTION_SECONDS.of(subject), 9.0, "")
    assert list(decisions.of_kind(ids.IMAGE_SECONDS)) == [
        ("fine-tune@96px", 0.1),
        ("", 0.2),
        ("cached-trunk@96px", 0.3),
    ]


def test_a_kind_that_ends_like_another_is_not_taken_for_it():
    decisions = Decisions()
    decisions.record(ids.STEP_SECONDS.of("unet"), 0.5, "")
    assert list(decisions.of_kind(Decision("seconds", float))) == []
    assert math.isclose(dict(decisions.of_kind(ids.STEP_SECONDS))["unet"], 0.5)
