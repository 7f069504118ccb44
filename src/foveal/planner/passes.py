"""The passes that are recorded: one prediction, and one training step in its steady state."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from foveal.errors import UsageError
from foveal.planner.convolution import Backend
from foveal.planner.fake_network import Fake, add_gradients, refused, to_fake_network, wants_content
from foveal.planner.layers import LayerTable
from foveal.planner.record import BUFFERS, GRADIENTS, INPUT, OPTIMIZER, PARAMETERS, Recording
from foveal.planner.replay import Replay
from foveal.planner.scenario import Scenario
from foveal.planner.steps import make_optimizer, prepared, train_step
from foveal.planner.trace import Recorder, recording

#: Batch sizes of the two recordings: above one, where batch normalisation and squeezed shapes are special.
SIZES = (2, 3)


def new_fake() -> FakeTensorMode:
    """The mode that fake tensors of one network live in."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def record_prediction(
    fake_network: nn.Module, fake: Fake, scenario: Scenario, batch: int, sheet: LayerTable | None = None
) -> Recorder:
    """One prediction by a fake network.

    Args:
        fake_network: of the network, see `fake_network.to_fake_network`.
        fake: the mode its tensors live in.
        scenario: input and precision.
        batch: images.
        sheet: to be written on the way.

    Raises:
        UsageError: when the network does not take such images.
    """
    fake_network.eval()
    inputs, _ = _images(fake, scenario, batch)
    with recording(fake, batch) as recorder, torch.no_grad():
        _hold(recorder, fake_network, inputs)
        recorder.begin("forward")
        with ExitStack() as around:
            around.enter_context(_telling(scenario))
            around.enter_context(_plain_attention())
            if sheet is not None:
                around.enter_context(sheet.watching(recorder, inputs))
            around.enter_context(_layers(fake_network, recorder))
            around.enter_context(_autocast(scenario))
            fake_network(inputs)
    return recorder


def outputs_of(module: nn.Module, shape: tuple[int, int, int]) -> object:
    """What the network gives for two images `(C, H, W)` in training: its form, as tensors without content.

    Raises:
        UsageError: when the network does not take such images.
    """

    def given(fake: Fake) -> object:
        inputs, _ = _images(fake, Scenario(shape), 2)
        with _telling(Scenario(shape)), torch.no_grad():
            return to_fake_network(module, fake).train()(inputs)

    try:
        return given(new_fake())
    except UsageError as refusal:
        if not wants_content(refusal):
            raise
        return given(None)


def record_training(
    module: nn.Module,
    scenario: Scenario,
    fake_network: tuple[nn.Module, Fake] | None = None,
    *,
    batches: tuple[int, int] = SIZES,
) -> tuple[Recording, Recording]:
    """A training step at two batch sizes, with the optimizer's state of the steps before.

    Args:
        module: the network; not touched.
        scenario: how it is trained.
        fake_network: of the network, when there is one already; it is used up.
        batches: the two sizes.

    Raises:
        UsageError: when the network does not take such images.
    """
    fake: Fake = fake_network[1] if fake_network else new_fake()
    copy = fake_network[0] if fake_network else to_fake_network(module, fake)
    copy = prepared(copy.train(), scenario)
    optimizer = make_optimizer(scenario.optimizer, copy.parameters())
    _prime(copy, optimizer, fake)
    one, two = (_record_step(copy, optimizer, fake, scenario, batch) for batch in batches)
    return one, two


def replay_training(
    module: nn.Module, scenario: Scenario, backend: Backend, *, batches: tuple[int, int] = SIZES
) -> Replay:
    """A training step, ready to be played at any batch size; of a network that depends on values, with content.

    Args:
        module: the network; not touched.
        scenario: how it is trained.
        backend: the machine that it is trained on.
        batches: the two sizes that are recorded.
    """
    try:
        one, two = record_training(module, scenario, batches=batches)
    except UsageError as refusal:
        if not wants_content(refusal):
            raise
        one, two = record_training(module, scenario, (to_fake_network(module, None), None), batches=batches)
    return Replay(one, two, backend)


def _prime(fake_network: nn.Module, optimizer: Any, fake: Fake) -> None:  # noqa: ANN401
    """Give the optimizer its state, as after a first step."""
    with recording(fake, 0):
        add_gradients(fake_network, fake)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _record_step(
    fake_network: nn.Module,
    optimizer: Any,  # noqa: ANN401
    fake: Fake,
    scenario: Scenario,
    batch: int,
) -> Recording:
    inputs, targets = _images(fake, scenario, batch * scenario.accumulate)
    with recording(fake, batch) as recorder:
        _hold(recorder, fake_network, inputs, targets)
        state = (v for s in optimizer.state.values() for v in s.values() if isinstance(v, Tensor))
        recorder.hold(state, OPTIMIZER)

        def begin(phase: str) -> None:
            recorder.begin(phase)
            if phase != "backward":
                recorder.hold((p.grad for p in fake_network.parameters() if p.grad is not None), GRADIENTS)

        with _layers(fake_network, recorder), _telling(scenario):
            train_step(fake_network, optimizer, inputs, targets, scenario, begin=begin, parts=2)
    optimizer.zero_grad(set_to_none=True)
    return recorder.recording


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention layer by layer: torch's fused inference path hides its products from every counter."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _images(fake: Fake, scenario: Scenario, batch: int) -> tuple[Tensor, Tensor]:
    with fake or nullcontext():
        inputs = torch.empty(batch, *scenario.input) if fake else torch.rand(batch, *scenario.input)
        if scenario.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        return inputs, torch.zeros(batch, dtype=torch.long)


def _hold(recorder: Recorder, fake_network: nn.Module, *images: Tensor) -> None:
    recorder.hold(images, INPUT)
    recorder.hold(fake_network.parameters(), PARAMETERS)
    recorder.hold(fake_network.buffers(), BUFFERS)


def _autocast(scenario: Scenario) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=scenario.precision == "bf16")


@contextmanager
def _telling(scenario: Scenario) -> Iterator[None]:
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before, log.disabled = log.disabled, True  # it would print a traceback beside the message
    try:
        yield
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError) as error:
        raise refused(error, scenario.input) from error
    finally:
        log.disabled = before


@contextmanager
def _layers(fake_network: nn.Module, recorder: Recorder) -> Iterator[None]:
    """While this is on, operators know the module that they run in."""
    stack: list[int] = []
    handles = []

    def enter(name: str, *_: object) -> None:
        stack.append(recorder.enter(name))

    def leave(*_: object) -> None:
        recorder.layer = stack.pop()

    for name, module in fake_network.named_modules():
        handles.append(module.register_forward_pre_hook(partial(enter, name)))
        handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
