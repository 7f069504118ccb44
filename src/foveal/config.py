"""Settings of a run. Each is defined once, by one field of the classes below.

The options of `foveal train` and `foveal audit`, the checks of `TrainConfig`, `config.json`, the parameters of
`ImageClassifier` and `Segmenter` with their docstrings, and `docs/settings.md` are all derived from these fields.
To add a setting, add a field to the class whose users need it:

    TrainSettings               the command line and every estimator
    ├── SegmentSettings         the command line and `Segmenter`
    ├── ClassifySettings        the command line and `ImageClassifier`
    └── TrainConfig             the command line only, besides all of these
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, TypeVar

from foveal.clock import parse_duration
from foveal.devices import AUTO, check_device
from foveal.errors import UsageError, known_name
from foveal.machine import bytes_of
from foveal.memory_budget import MemoryBudget

#: Images with more pixels are refused before they are decoded: decompression bombs, or maps that should be tiled.
MAX_PIXELS = 100_000_000
#: `--backbone auto`: the one that ships first, and then others that are on this machine.
AUTO_BACKBONE = "auto"
#: The run folder, which `foveal train` and the estimators take beside the settings of the run itself.
OUT_HELP = "The run folder; by default runs/NAME-DATE-TIME."

#: Of `test`.
TESTS = ("auto", "subset", "cv", "none")

_KEY = "setting"
T = TypeVar("T")
C = TypeVar("C", bound=type)


@dataclass(frozen=True)
class Setting:
    """Everything about a setting that its name, type and default do not say.

    Attributes:
        help: what it does, in one or two sentences.
        cli_help: what holds on the command line only, appended there.
        metavar: how help shows the value; None: its type.
        choices: the allowed values; empty: any that passes `check`.
        check: raises `UsageError` for an invalid value; not called for None.
        after: the setting that help lists it behind, where that is not the field before; empty: listed first.
        former: values of earlier versions, and those that stand for them now.
    """

    help: str
    cli_help: str = ""
    metavar: str | None = None
    choices: Sequence[str] = ()
    check: Callable[[Any], object] | None = None
    after: str | None = None
    former: Mapping[Any, Any] = field(default_factory=dict)

    @property
    def full_help(self) -> str:
        """What it does, with its choices."""
        return f"{self.help} One of {', '.join(self.choices)}." if self.choices else self.help

    def checked(self, name: str, value: Any) -> Any:  # noqa: ANN401
        """One value, a choice as it is spelt in `choices`.

        Raises:
            UsageError: when it is not allowed.
        """
        if isinstance(value, bool):
            value = self.former.get(value, value)
        if self.choices:
            value = known_name(f"value for {option_name(name)}:", str(value), self.choices)
        if self.check is not None and value is not None:
            self.check(value)
        return value


def setting(
    default: T,
    *,
    help: str,
    cli_help: str = "",
    metavar: str | None = None,
    choices: Sequence[str] = (),
    check: Callable[[Any], object] | None = None,
    after: str | None = None,
    former: Mapping[Any, Any] | None = None,
) -> T:
    """A dataclass field that is a setting of a run; see `Setting` for the arguments."""
    about = Setting(help, cli_help, metavar, choices, check, after, former or {})
    return field(default=default, metadata={_KEY: about})


def settings_of(owner: type) -> dict[str, Setting]:
    """The settings that a dataclass takes, by name, in the order in which help lists them."""
    defined = {f.name: f.metadata[_KEY] for f in fields(owner) if f.init and _KEY in f.metadata}
    order = [name for name, about in defined.items() if about.after is None]
    for name, about in defined.items():
        if about.after is not None:
            order.insert(order.index(about.after) + 1 if about.after else 0, name)
    return {name: defined[name] for name in order}


def default_of(owner: type, name: str) -> Any:  # noqa: ANN401
    """The default of a setting."""
    default = next(f.default for f in fields(owner) if f.name == name)
    assert default is not MISSING
    return default


def option_name(name: str) -> str:
    """How the command line spells a setting: `--group-by`."""
    return f"--{name.replace('_', '-')}"


def with_settings_documented(owner: C) -> C:
    """Class decorator: replaces `{settings}` in the docstring with a line on each setting that the class takes."""
    if owner.__doc__:  # absent under `python -OO`
        lines = [f"{name}: {about.full_help}" for name, about in settings_of(owner).items()]
        wrapped = (textwrap.wrap(line, 105, subsequent_indent="    ") for line in lines)
        owner.__doc__ = owner.__doc__.replace(
            "{settings}", "\n        ".join(line for entry in wrapped for line in entry)
        )
    return owner


def compile_group_by(pattern: str) -> re.Pattern[str]:
    """The compiled pattern.

    Raises:
        UsageError: when it is not a valid regular expression.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(
            f"--group-by {pattern!r}: invalid regular expression: {error}",
            hint="for example --group-by '^[^/]+/(\\d+)_' groups by the number before the first underscore",
        ) from None


def compile_label_from(pattern: str) -> re.Pattern[str]:
    """The compiled pattern.

    Raises:
        UsageError: when it is not a valid regular expression with one group.
    """
    hint = "for example --label-from '([^/]+)\\.\\d+\\.jpg$' for cat.001.jpg"
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--label-from {pattern!r}: invalid regular expression: {error}", hint=hint) from None
    if compiled.groups != 1:
        raise UsageError(f"--label-from {pattern!r}: {compiled.groups} groups, needs one", hint=hint)
    return compiled


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise UsageError(f"invalid seed {seed}", hint="the seed must be an integer in [0, 4294967295]")


def _check_coverage(value: float) -> None:
    if not 0.5 <= value <= 0.999:
        raise UsageError(f"coverage is {value}", hint="give a share from 0.5 to 0.999, such as 0.95")


def _check_unknown_rate(value: float) -> None:
    if not 0.001 <= value <= 0.5:
        raise UsageError(f"unknown rate is {value}", hint="give a share from 0.001 to 0.5, such as 0.05")


def _check_label_separator(text: str) -> None:
    if not text.strip():
        raise UsageError(f"invalid --label-separator {text!r}", hint="give a character such as '|'")


def _check_max_pixels(count: int) -> None:
    if count < 1:
        raise UsageError(f"invalid --max-pixels {count}", hint="give a positive number of pixels")


@dataclass(kw_only=True, eq=False)
class TrainSettings:
    """The settings that the command line and every estimator take."""

    time: str | float = setting(
        "10m",
        help="Time budget of the whole run: 90s, 10m, 2h, or seconds.",
        cli_help="With --resume: the budget of what remains, instead of the time left.",
        metavar="DURATION",
        check=parse_duration,
    )
    seed: int = setting(
        0, help="Seed of the split and of every random number.", metavar="INTEGER", check=_check_seed
    )
    backbone: str = setting(
        AUTO_BACKBONE,
        help="The pretrained network: lite0, lite1, lite2, or a timm model whose weights are on this machine. "
        "auto begins with lite0 and tries the others that are here.",
        metavar="NAME",
    )
    strategy: str | None = setting(
        None,
        help="Use only this strategy: frozen, frozen-stages, cached-trunk, fine-tune, scratch-seconds, …",
        metavar="NAME",
    )
    augment: str = setting(
        "auto",
        help="How strongly training images are augmented.",
        metavar="STRENGTH",
        choices=("auto", "none", "light", "strong"),
    )
    device: str = setting(
        AUTO,
        help="Where networks are trained and run: auto (a GPU if there is one), cpu, cuda, cuda:1 or mps. "
        "Tested on CPUs only.",
        metavar="DEVICE",
        check=check_device,
    )
    group_by: str | None = setting(
        None,
        help="Regular expression on paths relative to DATA. Images for which it captures the same text stay in "
        "one subset.",
        metavar="REGEX",
        check=compile_group_by,
    )
    label_from: str | None = setting(
        None,
        help="Regular expression on paths relative to DATA whose one group is the label, for labels in file names.",
        metavar="REGEX",
        check=compile_label_from,
    )
    test: str | bool = setting(
        "auto",
        help="What the figures are measured on: subset, a test subset that is held out; cv, every image in its turn, "
        "by linear heads that did not learn from it (cross-validation); auto, cv where there are few images of a class "
        "and it is cheap; none, nothing is held out. False stands for none.",
        cli_help="Use --no-test, which is --test none, when the test images are elsewhere: `foveal evaluate RUN DATA`.",
        metavar="METHOD",
        choices=TESTS,
        former={True: "subset", False: "none"},
    )
    refit: bool = setting(
        True,
        help="After the test subset was measured, fit the model once more on all images, also those of the "
        "validation and test subsets. Linear heads only; the measured model is kept beside the new one.",
    )


@dataclass(kw_only=True, eq=False)
class SegmentSettings(TrainSettings):
    """The settings that the command line and `Segmenter` take."""

    classes: str | None = setting(
        None,
        help="File with the class names of the masks; by default classes.txt or .csv beside them.",
        metavar="FILE",
    )
    void: str | None = setting(None, help="Class name or mask value to ignore (ignore_index).", metavar="CLASS")


@dataclass(kw_only=True, eq=False)
class ClassifySettings(TrainSettings):
    """The settings that the command line and `ImageClassifier` take."""

    from_scratch: str | None = setting(
        None,
        help="Train this network from fresh weights: a zoo, timm or torchvision name (torchvision:NAME), a sketch such "
        "as conv32-relu-gap-dense10, package.module:function, or the architecture of a run.",
        metavar="MODEL",
        after="strategy",
    )
    corrections: str | None = setting(
        None,
        help="Table with path,label of images whose label is to be another, as `suspects` writes it; a row without a "
        "label leaves its image out, and images that are not in DATA are added.",
        metavar="FILE",
        after="label_from",
    )
    imbalance: str = setting(
        "auto",
        help="What to do about classes of very different sizes: auto, adjust the logits of linear heads towards the "
        "rare ones, as far as balanced accuracy rises in cross-validation; none, nothing.",
        metavar="HOW",
        choices=("auto", "none"),
        after="refit",
    )
    label_separator: str | None = setting(
        None,
        help="A table has several labels for an image in one cell, with this between them, such as '|'. "
        "Lists in JSON lines need no separator.",
        metavar="TEXT",
        check=_check_label_separator,
        after="label_from",
    )
    coverage: float = setting(
        0.95,
        help="The share of new images whose prediction set is to hold the true class.",
        metavar="SHARE",
        check=_check_coverage,
        after="imbalance",
    )
    unknown_rate: float = setting(
        0.05,
        help="The share of false alarms: of new images like the training images, those that are called unknown.",
        metavar="SHARE",
        check=_check_unknown_rate,
        after="coverage",
    )


@dataclass(kw_only=True)
class TrainConfig(SegmentSettings, ClassifySettings):
    """All settings of `foveal train`, checked when they are given. Not to be changed afterwards.

    Raises:
        UsageError: at an invalid value.
    """

    task: str = setting(
        "auto",
        help="classify (one label per image), multi-label (any number of labels per image), segment (one class per "
        "pixel), or auto: detected from the data.",
        metavar="TASK",
        after="",
    )
    memory: str | None = setting(
        None,
        help="Memory limit of the whole process: 1500MiB, 4GiB. By default what the machine has.",
        metavar="SIZE",
        check=bytes_of,
        after="augment",
    )
    split_from: str | None = setting(
        None, help="Keep the split of an earlier run for the images it contains.", metavar="RUN", after="group_by"
    )
    max_pixels: int = setting(
        MAX_PIXELS, help="Refuse images with more pixels.", metavar="INTEGER", check=_check_max_pixels
    )
    cache: bool = setting(True, help="Keep features on disk for later runs.")

    def __post_init__(self) -> None:
        for name, about in settings_of(type(self)).items():
            setattr(self, name, about.checked(name, getattr(self, name)))
        if self.from_scratch is not None and self.strategy is not None:
            raise UsageError("--from-scratch and --strategy contradict each other", hint="give only one of them")
        if self.split_from is not None and not self.holds_out_test:
            raise UsageError(
                "--split-from and --no-test contradict each other",
                hint="give only one of them: an earlier split has a test subset",
            )

    @property
    def budget(self) -> float:
        """The time budget in seconds."""
        return parse_duration(self.time)

    @property
    def holds_out_test(self) -> bool:
        """Whether a test subset is held out."""
        return self.test != "none"

    @property
    def memory_budget(self) -> MemoryBudget:
        """What `memory` and the cgroup of this process allow."""
        return MemoryBudget.of_process(bytes_of(self.memory) if self.memory is not None else None)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The settings among these values, as `to_dict` gave them; other keys are ignored.

        Raises:
            UsageError: at an invalid value.
            TypeError, ValueError: at a value of another type.
        """
        return cls(**{name: values[name] for name in settings_of(cls) if name in values})

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return asdict(self)
