"""`foveal.plan`: from a MODEL and a scenario to everything that is known before anything runs."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

from foveal.errors import UsageError
from foveal.machine import cores
from foveal.models.resolve import resolve
from foveal.planner.backends import backend_for
from foveal.planner.budget import Budget, budget_for, device_of
from foveal.planner.candidates import Planned
from foveal.planner.convolution import Backend
from foveal.planner.fake_network import Fake, built, materialised, to_fake_network, wants_content
from foveal.planner.layers import LayerTable
from foveal.planner.passes import new_fake, record_prediction, record_training
from foveal.planner.process import process_bytes
from foveal.planner.replay import Largest, Played, Replay
from foveal.planner.scenario import MOST_CLASSES, MOST_IMAGES, MOST_THREADS, Scenario, check_count, check_input
from foveal.plans import Fit, LayerPlan, PassPlan, Plan

DEFAULT_INPUT = (3, 224, 224)


def plan(
    model: str | os.PathLike[str] | nn.Module,
    *,
    input: tuple[int, int, int] | None = None,
    batch: int = 32,
    classes: int = 1000,
    optimizer: str = "sgd",
    precision: str = "fp32",
    checkpoint: str = "none",
    frozen: bool = False,
    device: str = "cpu",
    memory: str | int | None = None,
    threads: int | None = None,
    remedies: bool | None = None,
) -> Plan:
    """What a network costs before it runs: parameters, shapes, MACs, receptive fields, memory; does it fit.

    Args:
        model: a MODEL as on the command line, or a module, which is not touched.
        input: channels, height, width of an image; by default what the model says, or 3 × 224 × 224.
        batch: images in a training step.
        classes: outputs of a network with fresh weights.
        optimizer: a key of `planner.scenario.OPTIMIZERS`.
        precision: `fp32`, or `bf16` autocast.
        checkpoint: `none`, or `blocks`: activations of blocks are computed again in the backward pass.
        frozen: only the last layer is trained.
        device: `cpu`, or `cuda:24GiB`; `cuda` and `cuda:0` are a GPU of unknown memory.
        memory: a budget as `8GiB` or bytes, in addition to what the machine has.
        threads: of a CPU; by default those that torch uses.
        remedies: trace remedies; by default when it does not fit.

    Raises:
        UsageError: for a name, size or input that makes no sense, or an input that the network does not take.
        BundleError: for a folder without a model.
    """
    return planned(
        model, input, classes=classes, device=device, memory=memory, threads=threads, remedies=remedies,
        scenario={"batch": batch, "optimizer": optimizer, "precision": precision, "checkpoint": checkpoint,
                  "frozen": frozen},
    ).plan  # fmt: skip


def planned(
    model: str | os.PathLike[str] | nn.Module,
    input: tuple[int, int, int] | None,
    *,
    classes: int,
    device: str,
    memory: str | int | None,
    threads: int | None,
    remedies: bool | None,
    scenario: dict[str, Any],
) -> Planned:
    """As `plan`, and everything that it was made from."""
    check_count("--batch", scenario["batch"], MOST_IMAGES)
    check_count("--classes", classes, MOST_CLASSES)
    if threads is not None:
        check_count("--threads", threads, MOST_THREADS)
    device_of(device)
    name, module, shape = network_for(model, input, classes)
    chosen = Scenario(input=shape, **scenario)
    backend = backend_for(
        device_of(device)[0], threads or (torch.get_num_threads() if device == "cpu" else cores())
    )
    budget = budget_for(device, memory, backend.threads)
    try:
        layers, once, replay = _recorded(module, chosen, backend, new_fake())
        content = False
    except UsageError as refusal:
        if not wants_content(refusal):
            raise
        layers, once, replay = _recorded(module, chosen, backend, None)
        content = True
    played = replay.play(chosen.batch)
    fits = _verdict(replay, played, budget)
    macs = sum(layer.macs for layer in layers)
    image = 4 * shape[0] * shape[1] * shape[2]
    made = Plan(
        model=name,
        scenario=_described(chosen, device, backend),
        parameters=sum(p.numel() for p in module.parameters()),
        macs=macs,
        flops=2 * macs,
        train_flops=replay.flops_at(chosen.batch),
        input_bytes=image * chosen.batch,
        feature_map_bytes=sum(layer.activation_bytes for layer in layers) * chosen.batch,
        layers=layers,
        predict=_pass(once),
        train=_pass(played),
        rss_bytes=process_bytes(played.peak, backend.threads),
        fits=fits,
        notes=_notes(chosen, device, content),
    )
    result = Planned(made, module, chosen, backend, replay, budget, model, classes)
    if remedies or (remedies is None and not fits.ok):
        from foveal.planner.advise import with_remedies

        result.plan = with_remedies(result)
    return result


def network_for(
    model: str | os.PathLike[str] | nn.Module, input: tuple[int, int, int] | None, classes: int
) -> tuple[str, nn.Module, tuple[int, int, int]]:
    """A MODEL's name, the network without its weights, and the input it is planned with."""
    if isinstance(model, nn.Module):
        shape = input or DEFAULT_INPUT
        check_input(shape)
        return type(model).__name__, materialised(model, shape), shape
    resolved = resolve(model, classes=classes)
    shape = input or resolved.input or DEFAULT_INPUT
    check_input(shape)
    return resolved.name, materialised(built(lambda: resolved.build(shape)), shape), shape


def _recorded(
    module: nn.Module, scenario: Scenario, backend: Backend, fake: Fake
) -> tuple[tuple[LayerPlan, ...], Played, Replay]:
    """The sheet, one prediction, and a training step, without content or with it."""
    fake_network = to_fake_network(module, fake)
    sheet = LayerTable(fake_network)
    recorder = record_prediction(fake_network, fake, scenario, 1, sheet)
    rows, once = sheet.rows(recorder), Replay(recorder.recording, None, backend).play(1)
    return rows, once, Replay(*record_training(module, scenario, (fake_network, fake)), backend)


def _verdict(replay: Replay, played: Played, budget: Budget) -> Fit:
    if budget.size is None:
        return Fit(None, budget.source, True, None)
    largest = Largest(replay, budget.size).find()
    return Fit(budget.whole, budget.source, played.most <= budget.size, largest, budget.size)


def _pass(played: Played) -> PassPlan:
    return PassPlan(
        peak_bytes=played.peak,
        upper_bound_bytes=played.most,
        breakdown=played.breakdown,
        peak_layer=played.layer,
        peak_operator=played.operator,
        timeline=played.timeline(),
        phases=played.phases,
    )


def _described(scenario: Scenario, device: str, backend: Backend) -> dict[str, Any]:
    return {
        "input": list(scenario.input),
        "batch": scenario.batch,
        "optimizer": scenario.optimizer,
        "precision": scenario.precision,
        "checkpoint": scenario.checkpoint,
        "frozen": scenario.frozen,
        "device": device,
        "threads": backend.threads,
        "layers_are_per": "image",
    }


def _notes(scenario: Scenario, device: str, content: bool) -> tuple[str, ...]:
    notes = []
    if device_of(device)[0] == "cuda":
        notes.append(
            "the figures for CUDA come from a model of its caching allocator; not validated on CUDA hardware"
        )
    if content:
        notes.append("the network depends on values: it was run with 2 and 3 images of noise, not without content")
    if scenario.checkpoint != "none" and not scenario.frozen:
        notes.append("checkpointed blocks compute batch statistics twice; foveal updates the running ones once")
    return tuple(notes)
