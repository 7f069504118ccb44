"""One pass on tensors without content, every allocation and free written down in order.

A dispatch mode lies on top of torch's fake tensors, which run the real dispatcher, autograd and autocast for the
device that is planned for. Memory is keyed by storage, so views and in-place operators cost nothing, and a
free is noted when the last holder lets go: what autograd saves, and for how long, is measured and not modelled.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, in_kernel_invocation_manager
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from foveal.planner.record import ACTIVATIONS, Block, Op, Recording
from foveal.planner.shapes import NEW, SAME, VIEWS
from foveal.planner.signature import work_of

_DEVICE = torch.ops.prim.device.default

#: Results of operators that make new tensors, by operator and arguments: (shape, stride, dtype) of each result.
_Made = tuple[tuple[tuple[int, ...], tuple[int, ...], torch.dtype] | None, ...]
_MEMO: dict[Any, tuple[_Made, bool, int]] = {}
_FRESH: dict[Any, bool] = {}


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down what happens to memory while it is on.

    Args:
        fake: the mode whose tensors are used; None for tensors with content.
        recording: to write to.
    """

    def __init__(self, fake: FakeTensorMode | None, recording: Recording) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recording = recording
        self._fake = fake
        self._alive: dict[int, tuple[int, weakref.ref[Any]]] = {}
        self._layers: dict[str, int] = {}
        self._layer_of_node: dict[int, int] = {}
        self._following = torch._C._autograd._get_sequence_nr()
        self.layer = -1
        self.watch: Any = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here, and the guard against it costs as much as the rest

    def enter(self, name: str) -> int:
        """Operators belong to this layer from now on; gives the layer before."""
        before, self.layer = self.layer, self._layers.setdefault(name, len(self._layers))
        if self.layer == len(self.recording.layers):
            self.recording.layers.append(name)
        return before

    def hold(self, tensors: Iterable[Tensor], kind: int) -> None:
        """These are alive from the start, or are what this kind of memory is."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            known = self._alive.get(storage._cdata)
            if known:
                self.recording.blocks[known[0]].kind = kind
            else:
                self.recording.start.append(self._add(storage, kind))

    def begin(self, phase: str) -> None:
        """Note where a part of the step begins."""
        self.recording.phases[phase] = len(self.recording.events)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        if func is _DEVICE and isinstance(args[0], FakeTensor):
            return args[0].fake_device
        position = len(self.recording.events)
        out, flops = self._run(func, args, kwargs)
        name = func._schema.name[6:]
        work = work_of(name, args, out)
        self.recording.ops.append(Op(name, self._layer(), position, work, flops))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                self._meet(tensor)
        if self.watch is not None:
            self.watch(name, args, out)
        return out

    def _layer(self) -> int:
        """The layer an operator belongs to; in the backward pass, that of the operator it is the gradient of."""
        node: Any = torch._C._current_autograd_node()
        if node is not None:
            return self._layer_of_node.get(node._sequence_nr(), self.layer)
        following = torch._C._autograd._get_sequence_nr()
        for number in range(self._following, following):  # an operator may have made helpers besides its own node
            self._layer_of_node[number] = self.layer
        self._following = following
        return self.layer

    def _run(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, int]:  # noqa: ANN401
        """The operator's result, and its floating-point operations."""
        first = args[0] if args else None
        if not isinstance(first, FakeTensor) or first.constant is not None:  # counters of optimizers have a value
            return self._ask(func, args, kwargs)
        if func in SAME:
            return args[0], 0
        if func in VIEWS:
            return self._view(func, args, kwargs), 0
        rule = NEW.get(func)
        known = rule(*args, **kwargs) if rule else None
        if known is not None:
            fresh = tuple(_fake_like(self._fake, m) for m in known)
            out = fresh if len(func._schema.returns) > 1 else fresh[0]
            return out, _flops(func, args, kwargs, out)
        return self._ask(func, args, kwargs)

    def _view(self, func: Any, args: Any, kwargs: Any) -> Tensor:  # noqa: ANN401
        assert self._fake is not None
        with in_kernel_invocation_manager(self._fake):
            content = func(*args, **kwargs)
        return FakeTensor(self._fake, content, args[0].fake_device)

    def _ask(self, func: Any, args: Any, kwargs: Any) -> tuple[Any, int]:  # noqa: ANN401
        """The result as torch's own shape functions give it, remembered where it depends on forms alone."""
        key = _key(func, args, kwargs)
        known = _MEMO.get(key) if key is not None else None
        if known is not None:
            made, many, flops = known
            fresh = tuple(_fake_like(self._fake, m) for m in made)
            return (fresh if many else fresh[0]), flops
        out = func(*args, **kwargs)
        flops = _flops(func, args, kwargs, out)
        if key is not None:
            outs = out if isinstance(out, tuple) else (out,)
            if all(o is None or _plain(o) for o in outs):
                made = tuple(None if o is None else (tuple(o.shape), o.stride(), o.dtype) for o in outs)
                _MEMO[key] = made, isinstance(out, tuple), flops
        return out, flops

    def _meet(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._alive:
            number = self._add(storage, ACTIVATIONS)
            self.recording.events.append((number, True))

    def _add(self, storage: Any, kind: int) -> int:  # noqa: ANN401
        key, number = storage._cdata, len(self.recording.blocks)
        self.recording.blocks.append(Block(storage.nbytes(), kind))

        def gone(_: object) -> None:
            self._alive.pop(key, None)
            self.recording.events.append((number, False))

        self._alive[key] = number, weakref.ref(storage, gone)
        return number


@contextmanager
def recording(fake: FakeTensorMode | None, batch: int) -> Iterator[Recorder]:
    """A recorder that is on; on leaving, what still lives is left alone."""
    recorder = Recorder(fake, Recording(batch))
    with fake or nullcontext(), recorder:
        yield recorder
    recorder._alive.clear()


def _flops(func: Any, args: Any, kwargs: Any, out: Any) -> int:  # noqa: ANN401
    counter = flop_registry.get(func._overloadpacket)
    return int(counter(*args, **kwargs, out_val=out)) if counter else 0


def _key(func: Any, args: Any, kwargs: Any) -> Any:  # noqa: ANN401
    """What an operator's result depends on; None when it returns memory that was there before."""
    fresh = _FRESH.get(func)
    if fresh is None:
        returns = func._schema.returns
        fresh = bool(returns) and all(r.alias_info is None and str(r.type) == "Tensor" for r in returns)
        _FRESH[func] = fresh
    if not fresh:
        return None
    try:
        key = (func, *map(_stamp, args), *((k, _stamp(v)) for k, v in kwargs.items()))
        hash(key)
    except TypeError:
        return None
    return key


def _stamp(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Tensor):
        if not isinstance(value, FakeTensor) or value.constant is not None:
            raise TypeError
        return tuple(value.shape), value.stride(), value.dtype, value.fake_device
    if isinstance(value, list | tuple):
        return tuple(map(_stamp, value))
    return value


def _plain(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, FakeTensor) and bool(value.storage_offset() == 0) and value.layout is torch.strided


def _fake_like(fake: FakeTensorMode | None, made: Any) -> Tensor | None:  # noqa: ANN401
    if made is None:
        return None
    shape, stride, dtype = made
    with torch._C._DisableTorchDispatch():
        content = torch.empty_strided(shape, stride, dtype=dtype, device="meta")
    return FakeTensor(fake, content, torch.device("cpu"))
