"""Settings: one definition gives the option, the checks, the estimator's parameter and the page."""

import inspect
from dataclasses import dataclass, fields
from typing import Annotated

import pytest
import typer
from sklearn.base import clone
from typer.testing import CliRunner

import docs
from foveal import ImageClassifier, Segmenter
from foveal.cli.audit import audit
from foveal.cli.options import option, takes_settings
from foveal.cli.train import train
from foveal.config import (
    ClassifySettings,
    SegmentSettings,
    TrainConfig,
    TrainSettings,
    setting,
    settings_of,
    with_settings_documented,
)
from foveal.errors import UnknownName, UsageError

NAMES = [f.name for f in fields(TrainConfig)]


def positive(value):
    if value <= 0:
        raise UsageError(f"invalid sharpness {value}", hint="give a positive number")


@dataclass(kw_only=True, eq=False)
class Extra(TrainSettings):
    """The one definition of a new setting."""

    sharpness: float = setting(1.5, help="How much images are sharpened.", metavar="FACTOR", check=positive)


@dataclass(kw_only=True)
class ExtraConfig(Extra, TrainConfig):
    """All settings, and the new one."""


@with_settings_documented
@dataclass(kw_only=True, eq=False)
class ExtraClassifier(Extra, ImageClassifier):
    """Args:
    {settings}
    """


def call(command, *arguments):
    app = typer.Typer(rich_markup_mode=None)
    app.command()(command)
    return CliRunner().invoke(app, [*map(str, arguments)])


def command_of(owner, received):
    @takes_settings(owner, before={"seed": "out"})
    def command(
        *, out: Annotated[str, typer.Option()] = "", last: Annotated[bool, typer.Option()] = False, **all_
    ):
        received.update(all_)

    return command


def test_a_new_setting_is_one_definition():
    received = {}
    done = call(command_of(ExtraConfig, received), "--sharpness", "2.5")
    assert done.exit_code == 0 and received["sharpness"] == 2.5
    shown = call(command_of(ExtraConfig, received), "--help").output
    assert "--sharpness FACTOR" in shown and "How much images are sharpened." in shown

    config = ExtraConfig(**received)
    assert config.to_dict()["sharpness"] == 2.5 and ExtraConfig.from_dict(config.to_dict()) == config
    with pytest.raises(UsageError, match="-1"):
        ExtraConfig(sharpness=-1.0)

    model = clone(ExtraClassifier(sharpness=3.0))
    assert model.get_params()["sharpness"] == 3.0 and model.set_params(sharpness=4.0).sharpness == 4.0
    assert inspect.signature(ExtraClassifier).parameters["sharpness"].default == 1.5
    assert "sharpness: How much images are sharpened." in ExtraClassifier.__doc__

    assert "`sharpness`" in docs.settings_page(ExtraConfig) and "`--sharpness FACTOR`" in docs.settings_page(
        ExtraConfig
    )


def test_the_real_command_estimators_and_page_come_from_the_definitions():
    options = inspect.signature(train).parameters
    assert [n for n in options if n in NAMES] == list(settings_of(TrainConfig)) and set(NAMES) <= set(options)
    assert all(options[f.name].default == f.default for f in fields(TrainConfig))
    for estimator, own in ((ImageClassifier, ClassifySettings), (Segmenter, SegmentSettings)):
        parameters = inspect.signature(estimator).parameters
        assert set(parameters) == {f.name for f in fields(own)} | {"out", "verbose"}
        assert all(parameters[f.name].default == f.default for f in fields(own))
        assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
        assert all(f"{name}: " in estimator.__doc__ for name in parameters) and "{" not in estimator.__doc__
    assert all(f"`{name}`" in docs.settings_page(TrainConfig) for name in NAMES)


def test_audit_shares_the_settings_that_say_how_data_are_read():
    options = inspect.signature(audit).parameters
    shared = [n for n in options if n in NAMES]
    assert shared == [
        *(
            "task",
            "classes",
            "void",
            "group_by",
            "label_from",
            "corrections",
            "split_from",
            "test",
            "seed",
            "max_pixels",
        )
    ]
    for name in shared:
        field = next(f for f in fields(TrainConfig) if f.name == name)
        assert options[name].default == field.default


def test_help_lists_own_options_where_they_are_asked_for():
    shown = call(command_of(TrainConfig, {}), "--help").output
    places = [
        shown.index(f"--{name}") for name in ("task", "time", "out", "seed", "from-scratch", "cache", "last")
    ]
    assert places == sorted(places)


def test_an_option_alone():
    received = []

    def command(task: Annotated[str, option("task")] = TrainConfig.task):
        received.append(task)

    assert call(command).exit_code == call(command, "--task", "segment").exit_code == 0
    assert received == ["auto", "segment"]


def test_config_json_round_trip():
    config = TrainConfig(
        time="90s",
        seed=3,
        group_by="^(a)",
        memory="2GiB",
        test=False,
        classes="names.txt",
        void="sky",
        cache=False,
    )
    assert TrainConfig.from_dict({**config.to_dict(), "versions": {}, "decisions": {}}) == config
    assert set(config.to_dict()) == set(NAMES)
    assert TrainConfig.from_dict({}) == TrainConfig()
    assert config.budget == 90


@pytest.mark.parametrize(
    "values",
    [
        {"time": "soon"},
        {"seed": -1},
        {"seed": 2**32},
        {"memory": "much"},
        {"max_pixels": 0},
        {"group_by": "("},
        {"strategy": "frozen", "from_scratch": "lenet5"},
        {"split_from": "run", "test": False},
    ],
)
def test_invalid_values_are_usage_errors_with_a_hint(values):
    with pytest.raises(UsageError) as caught:
        TrainConfig(**values)
    assert caught.value.hint


def test_a_mistyped_choice_is_corrected():
    with pytest.raises(UnknownName) as caught:
        TrainConfig(augment="stong")
    assert caught.value.near == "strong"
