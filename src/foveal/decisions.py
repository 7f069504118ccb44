"""What the clock or a probe chose during a run, so that the run can be explained, resumed and replayed.

Each choice has a typed id, declared once, below. `Decisions.settle` makes a choice, writes it down before anything
acts on it, and gives the recorded choice back when the run is resumed or replayed. Nothing reads a decision by a
string of its own. `SCHEMA` changes whenever an id or the form of a value does; runs of another schema are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import Meta

from foveal.errors import BundleError
from foveal.schema import Count, Deviation, Level, Name, Positive, Seconds, Side, checked
from foveal.values import Preprocess, View

#: Of `decisions` in config.json.
SCHEMA = 2

T = TypeVar("T")


@dataclass(frozen=True)
class Decision(Generic[T]):
    """The id of one choice.

    Attributes:
        kind: what is chosen.
        type: of the value, with its range; of an object a dataclass, which only describes it.
        subject: whose choice it is: a strategy, a training, a training at an image size; empty: the run's.
    """

    kind: str
    type: Any
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


@dataclass(frozen=True)
class _Route:
    name: Name
    preprocess: Preprocess | None


@dataclass(frozen=True)
class _Device:
    name: Literal["cpu", "cuda", "mps"]
    precision: Literal["fp32", "bf16"]
    threads: Annotated[int, Meta(ge=1, le=4096)]


@dataclass(frozen=True)
class _Normalization:
    mean: tuple[Level, Level, Level]
    std: tuple[Deviation, Deviation, Deviation]


@dataclass(frozen=True)
class _Memory:
    micro_batches: Positive
    checkpoint: bool
    planned_bytes: Count
    room_bytes: Count
    fits: bool
    reason: str


_Steps = Annotated[int, Meta(ge=0, le=10**9)]

# Of the run.
ROUTE: Decision[dict[str, Any]] = Decision(
    "route", _Route
)  # how images become inputs, and which strategies there are
NETWORK: Decision[dict[str, Any]] = Decision(
    "network", dict[str, Any]
)  # the definition of the one that is trained from scratch
ENGINE: Decision[str] = Decision("engine", Name)  # what computes the frozen backbone, as NAME-PRECISION
EVALUATION_ENGINE: Decision[str] = Decision(
    "evaluation_engine", Name
)  # what predicts the test subset, where that is another
DEVICE: Decision[dict[str, Any]] = Decision(
    "device", _Device
)  # where gradients are computed, in which precision, with how many threads
NORMALIZATION: Decision[dict[str, Any]] = Decision(
    "normalization", _Normalization
)  # mean and standard deviation per channel
GEOMETRY: Decision[tuple[View, ...]] = Decision(
    "geometry", Annotated[tuple[View, ...], Meta(min_length=1, max_length=2)]
)  # views of an image, the first of which is the input of strategies that have one view
HFLIP: Decision[bool] = Decision("hflip", bool)  # whether mirrored images keep their target
FIT_IMAGES: Decision[int] = Decision("fit_images", Positive)  # that a linear model on pixels is fitted on
BACKBONE: Decision[str] = Decision("backbone", Name)  # the frozen one that was compared with others and is best
FEATURE_SIZE: Decision[int] = Decision("feature_size", Side)  # input of the backbone for small images, pixels
FEATURE_SECONDS: Decision[float] = Decision("feature_seconds", Seconds)  # per image
STRATEGY: Decision[str] = Decision("strategy", Name)  # the strategy of the final model
SETTINGS: Decision[dict[str, Any]] = Decision("settings", dict[str, Any])  # its settings
TEST: Decision[str] = Decision(
    "test", Literal["subset", "cv"]
)  # what its figures are measured on: the test subset, or every image in its turn
LEARNING_CURVE: Decision[str] = Decision("learning_curve", str)  # why there is none; empty: there is one
REFIT: Decision[str] = Decision("refit", str)  # why it is not fitted once more on all images; empty: it is
UNKNOWN: Decision[str] = Decision("unknown", str)  # score of unusual images; empty: the model can't tell them

# Of a strategy.
SKIP: Decision[str] = Decision("skip", str)  # why it is not tried; empty: it is
KEEP: Decision[bool] = Decision("keep", bool)  # whether its model replaces the best one so far
HEAD_STRENGTH: Decision[float] = Decision(
    "head_strength", Annotated[float, Meta(gt=0, le=1e12)]
)  # C × n of the logistic regression
TAU: Decision[float] = Decision(
    "tau", Annotated[float, Meta(ge=0, le=1)]
)  # of the logit adjustment: 0 for classes in the shares of the training images, 1 for equal shares
IMAGE_SIZE: Decision[int] = Decision("image_size", Side)  # side in pixels
SCALE: Decision[float] = Decision(
    "scale", Annotated[float, Meta(gt=0.01, le=1)]
)  # of the images that a segmenter sees
TRAINING_IMAGES: Decision[str] = Decision(
    "training_images", Literal["all", "inside"]
)  # `inside` where some are held out
STEPS: Decision[int] = Decision("steps", _Steps)  # planned optimizer steps
LEARNING_RATE: Decision[float] = Decision("learning_rate", Annotated[float, Meta(gt=0, le=100)])
BATCH_SIZE: Decision[int] = Decision("batch_size", Annotated[int, Meta(ge=1, le=1 << 20)])
MEMBERS: Decision[int] = Decision("members", Annotated[int, Meta(ge=1, le=100)])  # of an ensemble
FALLBACK: Decision[bool] = Decision(
    "fallback", bool
)  # whether what a training began from is the model, since the trained one is no better
SOLE_STRATEGY: Decision[bool] = Decision(
    "sole_strategy", bool
)  # it uses the time of the strategy after it as well
EPOCH_SECONDS: Decision[float] = Decision("epoch_seconds", Seconds)
STEP_SECONDS: Decision[float] = Decision("step_seconds", Seconds)
IMAGE_SECONDS: Decision[float] = Decision("image_seconds", Seconds)  # per training image
PREDICTION_SECONDS: Decision[float] = Decision("prediction_seconds", Seconds)  # per image

# Of one training of a strategy.
MEMORY: Decision[dict[str, Any]] = Decision("memory", _Memory)  # how a step fits into memory
ACCUMULATION: Decision[list[tuple[int, ...]]] = Decision(
    "accumulation", list[tuple[_Steps, Positive]]
)  # [step, micro-batches]: raised when memory ran short
SCHEDULE_CHANGES: Decision[list[tuple[int, ...]]] = Decision(
    "schedule_changes", list[tuple[_Steps, _Steps, _Steps]]
)  # [attempt, step, new end]
STOPPED_AT: Decision[int] = Decision("stopped_at", _Steps)  # the step at which time was up
RESTARTS: Decision[int] = Decision("restarts", _Steps)  # from the first step, before it was stopped
PREDICTION_BATCH: Decision[int] = Decision("prediction_batch", Annotated[int, Meta(ge=1, le=1 << 20)])


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
            BundleError: when the recorded value is of another type or out of range.
        """
        if decision.id not in self.made:
            self.record(decision, *choose())
        return self._value(decision)

    def get(self, decision: Decision[T]) -> T | None:
        """The choice, if it was made.

        Raises:
            BundleError: when the recorded value is of another type or out of range.
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

    def check(self) -> None:
        """Read every choice of a known kind, so that a run does not meet a bad one halfway.

        Raises:
            BundleError: when the recorded value is of another type or out of range.
        """
        known = {d.kind: d for d in globals().values() if isinstance(d, Decision)}
        for name in self.made:
            subject, _, kind = name.rpartition("/")
            if kind in known:
                self._value(known[kind].of(subject))

    def _value(self, decision: Decision[T]) -> T:
        value = _plain(self.made[decision.id]["value"])
        where, hint = f"config.json: decisions: {decision.id}", "was the file changed by hand? start a new run"
        known: T = checked(value, decision.type, where, hint=hint)
        return value if is_dataclass(decision.type) else known

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
