"""The remedies: what each changes, what it costs, and whether the mathematics stays the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foveal.errors import FovealError
from foveal.models.resolve import resolve

if TYPE_CHECKING:
    from foveal.planner.candidates import Planned


@dataclass(frozen=True)
class Offer:
    """A remedy, before it is traced.

    Attributes:
        name: stable.
        change: fields of `Scenario`, and `model` for another network.
        price: in words.
        cost: for ranking; about the share of time, or points of accuracy, that it costs.
        same_mathematics: the result is the same apart from rounding.
        group: of remedies with one name, only one is taken.
    """

    name: str
    change: dict[str, Any]
    price: str
    cost: float
    same_mathematics: bool = True
    group: str = ""


def merged(some: tuple[Offer, ...]) -> dict[str, Any]:
    """The changes of several offers together."""
    return {name: value for offer in some for name, value in offer.change.items()}


def offers(planned: Planned) -> list[Offer]:
    """What applies to this plan, cheapest first."""
    found = [offer for part in (_time, _numbers, _network) for offer in part(planned)]
    return sorted(found, key=lambda offer: offer.cost)


def _time(planned: Planned) -> Iterator[Offer]:
    """Remedies that cost time, and leave the result as it is."""
    scenario = planned.scenario
    optimizer = scenario.optimizer
    if optimizer in ("sgd", "adamw"):
        yield Offer(
            "step-in-backward",
            {"optimizer": f"{optimizer}-in-backward"},
            "no time; gradients can't be clipped by their common norm, nor accumulated",
            1,
            group="optimizer",
        )
    if scenario.checkpoint == "none":
        chosen = planned.selective()
        if chosen:
            yield Offer(
                "checkpoint-selective",
                {"checkpoint": chosen},
                f"{len(chosen)} of {planned.block_count} blocks computed twice",
                2 + 30 * planned.forward_share(chosen),
                group="checkpoint",
            )
        yield Offer(
            "checkpoint", {"checkpoint": "blocks"}, "one more forward pass: about a third more time", 32,
            group="checkpoint",
        )  # fmt: skip
    yield Offer(
        "offload", {"offload": True}, "what is saved for backward goes to disk and back: several times slower", 90
    )


def _numbers(planned: Planned) -> Iterator[Offer]:
    """Remedies that change how the numbers are computed."""
    scenario = planned.scenario
    norms = planned.norms
    if scenario.batch > 1:
        parts, micro = planned.micro_batches()
        yield Offer(
            "accumulate",
            {"batch": micro, "accumulate": parts},
            f"{parts} micro-batches of {micro}: a little slower"
            + (f"; {norms} batch normalisations see {micro} images instead of {scenario.batch}" if norms else ""),
            15 if norms else 5,
            same_mathematics=not norms,
            group="batch",
        )
        yield Offer(
            "smaller-batch",
            {"batch": micro},
            f"a batch of {micro}: noisier gradients, the learning rate has to be chosen again",
            60,
            same_mathematics=False,
            group="batch",
        )
        devices = 2
        yield Offer(
            "devices",
            {"batch": -(-scenario.batch // devices), "devices": devices},
            f"{devices} devices with half of the batch each; gradients are exchanged, so each holds them twice"
            + ("; batch normalisations see half of the batch" if norms else ""),
            200,
            same_mathematics=not norms,
            group="batch",
        )
    if scenario.precision == "fp32":
        yield Offer(
            "bf16",
            {"precision": "bf16"},
            "products in bf16: 8 bits of mantissa; faster only where the processor computes bf16",
            20 if planned.backend.bf16 or planned.backend.device == "cuda" else 50,
            same_mathematics=False,
        )
    lean = {"adamw": "sgd", "adam": "sgd", "sgd": "sgd-plain", "rmsprop": "sgd"}.get(scenario.optimizer)
    if lean:
        yield Offer(
            "lean-optimizer",
            {"optimizer": lean},
            f"{lean} instead of {scenario.optimizer}: its rate has to be chosen again",
            45,
            same_mathematics=False,
            group="optimizer",
        )


def _network(planned: Planned) -> Iterator[Offer]:
    """Remedies that make another model."""
    scenario = planned.scenario
    channels, height, width = scenario.input
    small = tuple(max(32, round(side * 0.7 / 32) * 32) for side in (height, width))
    if small[0] < height and small[1] < width:
        yield Offer(
            "smaller-input",
            {"input": (channels, *small)},
            f"images of {small[0]} × {small[1]}: small things are lost",
            70,
            same_mathematics=False,
        )
    if not scenario.frozen:
        yield Offer(
            "frozen",
            {"frozen": True},
            "only the last layer is trained: faster, and worse where the images are unlike ImageNet's",
            100,
            same_mathematics=False,
        )
    sibling = sibling_of(planned.plan.model)
    if sibling and planned.can_be(sibling):
        yield Offer(
            "smaller-model",
            {"model": sibling},
            f"{sibling} instead: faster, less accurate",
            80,
            same_mathematics=False,
        )


#: Families whose members are told apart by a word of their names, from large to small.
_FAMILIES = (
    ("152", "101", "50", "34", "18"),
    ("161", "201", "169", "121"),
    ("19", "16", "13", "11"),
    ("xlarge", "large", "base", "small", "tiny", "nano", "pico", "femto", "atto"),
    ("large", "medium", "small"),
    ("b7", "b6", "b5", "b4", "b3", "b2", "b1", "b0"),
    ("l", "m", "s"),
    ("lite4", "lite3", "lite2", "lite1", "lite0"),
    ("160", "120", "080", "064", "040", "032", "016", "008", "006", "004", "002"),
    ("2_0", "1_5", "1_0", "0_5"),
    ("140", "120", "100", "075", "050", "035"),
    ("x2_0", "x1_5", "x1_0", "x0_5"),
)


def sibling_of(name: str) -> str | None:
    """The next smaller member of a network's family that some library has, by name."""
    for candidate in _candidates(name):
        try:
            found = resolve(candidate)
        except FovealError:
            continue
        if found.kind in ("zoo", "timm", "torchvision", "function"):
            return candidate
    return None


def _candidates(name: str) -> Iterator[str]:
    for family in _FAMILIES:
        for at, word in enumerate(family[:-1]):
            pattern = (
                rf"(?<![0-9a-z]){word}(?![0-9a-z])|(?<=[a-z]){word}(?![0-9])"
                if word[0].isdigit()
                else (rf"(?<![0-9a-z]){word}(?![0-9a-z])")
            )
            if re.search(pattern, name):
                yield from (re.sub(pattern, smaller, name, count=1) for smaller in family[at + 1 :])
