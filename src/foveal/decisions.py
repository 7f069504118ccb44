"""What the clock or a probe chose during a run, so that the run can be explained, resumed and replayed.

Each choice has a typed id, declared once, below. `Decisions.settle` makes a choice, writes it down before anything
acts on it, and gives the recorded choice back when the run is resumed or replayed. Nothing reads a decision by a
string of its own. `SCHEMA` changes whenever an id or the form of a value does; runs of another schema are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from foveal.errors import BundleError

#: Of `decisions` in config.json.
SCHEMA = 2

T = TypeVar("T")


@dataclass(frozen=True)
class Decision(Generic[T]):
    """The id of one choice.

    Attributes:
        kind: what is chosen.
        parse: JSON value → value; raises `TypeError` or `ValueError` for a value that is none.
        subject: whose choice it is: a strategy, a training, a training at an image size; empty: the run's.
    """

    kind: str
    parse: Callable[[Any], T]
    subject: str = ""

    def of(self, subject: str) -> Decision[T]:
        """The same kind of choice, of one strategy or training."""
        return replace(self, subject=subject)

    @property
    def id(self) -> str:
        """The key in config.json."""
        return f"{self.subject}/{self.kind}" if self.subject else self.kind


def _plain(value: Any) -> Any:  # noqa: ANN401
    """A NumPy scalar as Python's own."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def _flag(value: Any) -> bool:  # noqa: ANN401
    value = _plain(value)
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is not true or false")
    return value


def _count(value: Any) -> int:  # noqa: ANN401
    value = _plain(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r} is not a whole number from 0")
    return value


def _number(value: Any) -> float:  # noqa: ANN401
    value = _plain(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _text(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _object(value: Any) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is not an object")
    return value


def _fields(**kinds: type | tuple[type, ...]) -> Callable[[Any], dict[str, Any]]:
    """Parses an object with exactly these fields, each of one of these types."""

    def parse(value: Any) -> dict[str, Any]:  # noqa: ANN401
        if set(_object(value)) != set(kinds):
            raise ValueError(f"it has the fields {sorted(value)}, not {sorted(kinds)}")
        for name, kind in kinds.items():
            if not isinstance(value[name], kind):
                raise TypeError(f"{name}: {value[name]!r}")
        return dict(value)

    return parse


def _pairs(value: Any) -> list[tuple[int, ...]]:  # noqa: ANN401
    return [tuple(_count(number) for number in row) for row in value]


# Of the run.
ROUTE = Decision(
    "route", _fields(name=str, preprocess=(dict, type(None)))
)  # how images become inputs, and which strategies there are
ENGINE = Decision("engine", _text)  # what computes the frozen backbone, as NAME-PRECISION
DEVICE = Decision(
    "device", _fields(name=str, precision=str, threads=int)
)  # where gradients are computed, in which precision, with how many threads
NORMALIZATION = Decision("normalization", _fields(mean=list, std=list))  # mean and standard deviation per channel
HFLIP = Decision("hflip", _flag)  # whether mirrored images keep their target
FEATURE_SECONDS = Decision("feature_seconds", _number)  # per image
STRATEGY = Decision("strategy", _text)  # the strategy of the final model
SETTINGS = Decision("settings", _object)  # its settings

# Of a strategy.
SKIP = Decision("skip", _text)  # why it is not tried; empty: it is
KEEP = Decision("keep", _flag)  # whether its model replaces the best one so far
HEAD_STRENGTH = Decision("head_strength", _number)  # C × n of the logistic regression
IMAGE_SIZE = Decision("image_size", _count)  # side in pixels
SCALE = Decision("scale", _number)  # of the images that a segmenter sees
TRAINING_IMAGES = Decision("training_images", _text)  # `all`, or `inside` where some are held out
STEPS = Decision("steps", _count)  # planned optimizer steps
LEARNING_RATE = Decision("learning_rate", _number)
BATCH_SIZE = Decision("batch_size", _count)
MEMBERS = Decision("members", _count)  # of an ensemble
FALLBACK = Decision("fallback", _flag)  # whether what a training began from is the model, since it is no worse
SOLE_STRATEGY = Decision("sole_strategy", _flag)  # it uses the time of the strategy after it as well
EPOCH_SECONDS = Decision("epoch_seconds", _number)
STEP_SECONDS = Decision("step_seconds", _number)
IMAGE_SECONDS = Decision("image_seconds", _number)  # per training image
PREDICTION_SECONDS = Decision("prediction_seconds", _number)  # per image

# Of one training of a strategy.
MEMORY = Decision(  # how a step fits into memory
    "memory",
    _fields(micro_batches=int, checkpoint=bool, planned_bytes=int, room_bytes=int, fits=bool, reason=str),
)
ACCUMULATION = Decision("accumulation", _pairs)  # [step, micro-batches]: raised when memory ran short
SCHEDULE_CHANGES = Decision("schedule_changes", _pairs)  # [attempt, step, new end]
STOPPED_AT = Decision("stopped_at", _count)  # the step at which time was up
RESTARTS = Decision("restarts", _count)  # from the first step, before it was stopped
PREDICTION_BATCH = Decision("prediction_batch", _count)


@dataclass
class Decisions:
    """The choices of one run.

    Attributes:
        made: id → `{"value": …, "reason": …}`, in the order in which they were made.
        on_new: called after each new one; the flow writes it to config.json before anything acts on it.
        given: ids of those that an earlier process made.
    """

    made: dict[str, Any] = field(default_factory=dict)
    on_new: Callable[[], None] = lambda: None
    given: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.given = frozenset(self.made)

    def record(self, decision: Decision[T], value: T, reason: str) -> None:
        """Write down one choice with its reason in words."""
        self.made[decision.id] = {"value": value, "reason": reason}
        self.on_new()

    def settle(self, decision: Decision[T], choose: Callable[[], tuple[T, str]]) -> T:
        """The choice made earlier, if this run is resumed or replayed; otherwise choose now and write it down.

        Raises:
            BundleError: when the recorded value is of another type.
        """
        if decision.id not in self.made:
            self.record(decision, *choose())
        return self._value(decision)

    def get(self, decision: Decision[T]) -> T | None:
        """The choice, if it was made.

        Raises:
            BundleError: when the recorded value is of another type.
        """
        return self._value(decision) if decision.id in self.made else None

    def reason(self, decision: Decision[Any]) -> str:
        """Why, in words; empty when it was not decided."""
        return str(self.made[decision.id]["reason"]) if decision.id in self.made else ""

    def was_given(self, decision: Decision[Any]) -> bool:
        """Whether an earlier process made this choice."""
        return decision.id in self.given

    def of_kind(self, decision: Decision[T]) -> Iterator[tuple[str, T]]:
        """Subject and value of every choice of this kind."""
        for name in self.made:
            subject, _, kind = name.rpartition("/")
            if kind == decision.kind:
                yield subject, self._value(decision.of(subject))

    def _value(self, decision: Decision[T]) -> T:
        try:
            return decision.parse(self.made[decision.id]["value"])
        except (TypeError, ValueError, KeyError) as error:
            raise BundleError(
                f"config.json: decisions: {decision.id}: {error}",
                hint="was the file changed by hand? start a new run",
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """As config.json holds them."""
        return {"decisions_schema": SCHEMA, "decisions": self.made}

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Decisions:
        """Back from config.json.

        Raises:
            BundleError: when they are missing, or were written under another schema.
        """
        if "decisions" not in config:
            raise BundleError("config.json holds no decisions", hint="was it written by foveal? start a new run")
        schema, made = config.get("decisions_schema", 1), config["decisions"]
        if schema != SCHEMA:
            raise BundleError(
                f"this run's decisions have schema {schema!r}, this version of foveal reads schema {SCHEMA}",
                hint="resume or replay it with the version that wrote it (see `versions` in config.json), "
                "or start a new run",
            )
        if not isinstance(made, Mapping) or not all(
            isinstance(m, Mapping) and {"value", "reason"} <= set(m) for m in made.values()
        ):
            raise BundleError(
                "config.json: decisions: each needs a value and a reason", hint="was the file changed by hand?"
            )
        return cls(dict(made))
