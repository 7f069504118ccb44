"""The sheet's rows: what each layer gives, holds and computes, and its receptive field."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from foveal.planner.receptive import Fields
from foveal.planner.replay import with_results
from foveal.planner.trace import Recorder
from foveal.plans import LayerPlan


class LayerTable:
    """Watches one prediction and writes its rows.

    Args:
        module: the network, whose forward hooks are used while `watching`.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._seen: dict[str, tuple[int, int] | None] = {}
        self._calls: dict[str, int] = {}

    @contextmanager
    def watching(self, recorder: Recorder, inputs: Tensor) -> Iterator[None]:
        """While this is on, forms and receptive fields are noted; `(1, C, H, W)` goes in."""
        self._fields = Fields(inputs)
        self._side = int(inputs.shape[2]), int(inputs.shape[3])
        recorder.watch = self._fields
        names = {module: name for name, module in self._module.named_modules()}

        def note(module: nn.Module, _: object, output: object) -> None:
            name = names[module]
            self._calls[name] = self._calls.get(name, 0) + 1
            tensor = _first(output)
            if tensor is not None:
                self._shapes[name] = tuple(tensor.shape[1:])
                self._seen[name] = self._size(tensor)

        handles = [module.register_forward_hook(note) for module in names]
        try:
            yield
        finally:
            recorder.watch = None
            for handle in handles:
                handle.remove()

    def rows(self, recorder: Recorder) -> tuple[LayerPlan, ...]:
        """One row for every module that computes or holds something itself, in the order of the first call."""
        made = recorder.recording
        macs, new = dict.fromkeys(made.layers, 0), dict.fromkeys(made.layers, 0)
        for op, results in with_results(made):
            if op.layer >= 0:
                macs[made.layers[op.layer]] += op.flops // 2
                new[made.layers[op.layer]] += sum(made.blocks[i].size for i in results)
        held = self._held(made.layers)
        modules = dict(self._module.named_modules())
        return tuple(
            LayerPlan(
                name=name,
                kind=type(modules[name]).__name__,
                output_shape=self._shapes.get(name, ()),
                parameters=held[name],
                macs=macs[name],
                activation_bytes=new[name],
                receptive_field=max(seen) if (seen := self._seen.get(name)) else None,
                receptive_field_hw=seen,
                calls=self._calls.get(name, 0),
            )
            for name in made.layers
            if held[name] or macs[name] or new[name] or not any(True for _ in modules[name].children())
        )

    def _held(self, called: list[str]) -> dict[str, int]:
        """Parameters by module, each once; those of a module that is never called go to the one around it."""
        held, counted = dict.fromkeys(called, 0), set[int]()
        for name, module in self._module.named_modules():
            while name not in held and name:
                name = name.rpartition(".")[0]
            for parameter in module.parameters(recurse=False):
                if id(parameter) not in counted:
                    counted.add(id(parameter))
                    held[name] = held.get(name, 0) + parameter.numel()
        return held

    def _size(self, tensor: Tensor) -> tuple[int, int] | None:
        field = self._fields.of(tensor)
        if field is None:
            return None
        if field.everything:
            return self._side
        return field.rows.size, field.columns.size


def _first(output: Any) -> Tensor | None:  # noqa: ANN401
    if isinstance(output, Tensor):
        return output
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, list | tuple):
        return next((t for o in output if (t := _first(o)) is not None), None)
    return None
