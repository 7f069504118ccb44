"""The nouns of a plan: what a network costs before it runs. `foveal.values` hands them on. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class LayerPlan:
    """One layer of a plan's table; everything is for one image.

    Attributes:
        name, kind: of the module, as `named_modules` and its class call it.
        output_shape: without the batch.
        parameters: its own, and those of modules in it that are never called; shared ones count once.
        macs: multiply-accumulates of its own operators, in all its calls.
        activation_bytes: new tensors that its own operators give; nothing for views and in-place operators.
        receptive_field: side of the square of the input that one position depends on, the longer side where it is
            not square; None when it depends on nothing. May be larger than the image.
        receptive_field_hw: height and width.
        calls: how often it runs in one prediction.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    activation_bytes: int
    receptive_field: int | None
    receptive_field_hw: tuple[int, int] | None
    calls: int = 1


@dataclass(frozen=True)
class PassPlan:
    """Memory of one prediction or of one training step, as the allocator counts it.

    Attributes:
        peak_bytes, upper_bound_bytes: expected, and what it stays under.
        breakdown: bytes at the peak by what they are for.
        peak_layer, peak_operator: of the peak.
        timeline: `(event, bytes)` over the pass, for drawing.
        phases: event at which forward, backward and optimizer begin.
    """

    peak_bytes: int
    upper_bound_bytes: int
    breakdown: Mapping[str, int]
    peak_layer: str
    peak_operator: str
    timeline: tuple[tuple[int, int], ...] = ()
    phases: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RemedyPlan:
    """One way to need less memory, traced again.

    Attributes:
        name: stable, e.g. `bf16`; a combination joins names with ` + `.
        change: what differs from the plan's scenario.
        train_peak_bytes, upper_bound_bytes: of a training step with it.
        price: what it costs: time, accuracy, statistics.
        same_mathematics: whether training gives the same result apart from rounding.
        fits: into the plan's budget.
    """

    name: str
    change: Mapping[str, Any]
    train_peak_bytes: int
    upper_bound_bytes: int
    price: str
    same_mathematics: bool
    fits: bool


@dataclass(frozen=True)
class Fit:
    """Whether a training step fits.

    Attributes:
        budget_bytes: of a device, or of the whole process where the memory is the machine's; None when nothing
            limits it.
        source: where the budget comes from.
        ok: the upper bound of the tensors is within their part of the budget.
        largest_batch: images of the largest batch that fits; None without a budget.
        tensor_bytes: the part of the budget that is left for tensors; None without a budget.
    """

    budget_bytes: int | None
    source: str
    ok: bool
    largest_batch: int | None
    tensor_bytes: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a network costs before it runs.

    Attributes:
        model: as it was given.
        scenario: input, batch, optimizer, precision, device and the rest of what was planned.
        parameters, macs, flops: of one prediction; `flops` as torch's counter counts, two a MAC.
        input_bytes, feature_map_bytes: of the whole batch: the images, and all layers' `activation_bytes`.
        layers: the table of layers.
        predict, train: memory.
        rss_bytes: of the whole training process, an estimate: libraries, threads and malloc besides the allocator.
        fits: the verdict.
        remedies, cheapest_fit: ways to need less, and the cheapest combination that fits.
        notes: what a reader should know.
    """

    model: str
    scenario: Mapping[str, Any]
    parameters: int
    macs: int
    flops: int
    train_flops: int
    input_bytes: int
    feature_map_bytes: int
    layers: tuple[LayerPlan, ...]
    predict: PassPlan
    train: PassPlan
    rss_bytes: int
    fits: Fit
    remedies: tuple[RemedyPlan, ...] = ()
    cheapest_fit: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As `foveal plan --json` prints it."""
        values = asdict(self)
        values["process"] = {"rss_bytes": values.pop("rss_bytes")}
        return {"schema": 1, **values}
