"""Receptive fields, carried through the operators of a prediction (Araujo, Norris and Sim 2019).

Each tensor has, per direction, the interval of input positions that one of its positions depends on. Where
branches meet, the intervals are united; a pooling over all positions, attention, or a linear layer on a flattened
map depends on everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary


@dataclass(frozen=True)
class Span:
    """One direction: position `i` depends on the input from `i * jump + low` to `i * jump + high`."""

    jump: Fraction = Fraction(1)
    low: Fraction = Fraction(0)
    high: Fraction = Fraction(0)

    def windowed(self, kernel: int, stride: int, padding: int, dilation: int) -> Span:
        """After a window has slid over it."""
        reach = (kernel - 1) * dilation
        return Span(self.jump * stride, self.low - padding * self.jump, self.high + (reach - padding) * self.jump)

    def spread(self, kernel: int, stride: int, padding: int) -> Span:
        """A transposed convolution: `o` depends on those `i` with `o + padding - i * stride` in the kernel."""
        jump = self.jump / stride
        return Span(jump, self.low + (padding - kernel + 1) * jump, self.high + padding * jump)

    def united(self, other: Span) -> Span:
        """Seeing what both see."""
        return Span(max(self.jump, other.jump), min(self.low, other.low), max(self.high, other.high))

    @property
    def size(self) -> int:
        """How many places it is wide."""
        return int(self.high - self.low) + 1


@dataclass(frozen=True)
class Field:
    """What one position of a tensor depends on; `everything`: the whole input."""

    rows: Span = Span()
    columns: Span = Span()
    everything: bool = False

    def united(self, other: Field) -> Field:
        """Seeing what both see."""
        everything = self.everything or other.everything
        return Field(self.rows.united(other.rows), self.columns.united(other.columns), everything)


_EVERYTHING = Field(everything=True)
_ATTENTION = ("_scaled_dot_product", "_softmax", "bmm", "baddbmm", "_native_multi_head_attention")


class Fields:
    """The fields of all tensors of one prediction; called after each operator.

    Args:
        inputs: `(1, C, H, W)`: each of its positions depends on itself.
    """

    def __init__(self, inputs: Tensor) -> None:
        self._known: Any = WeakIdKeyDictionary()
        self._known[inputs] = Field()

    def of(self, tensor: object) -> Field | None:
        """What a tensor depends on in the input; None when nothing."""
        found: Field | None = self._known.get(tensor) if isinstance(tensor, Tensor) else None
        return found

    def __call__(self, name: str, args: Any, out: Any) -> None:  # noqa: ANN401
        """An operator has run."""
        seen = [(a, f) for a in _tensors(args) if (f := self.of(a)) is not None]
        if not seen:
            return
        field = seen[0][1]
        for _, other in seen[1:]:
            field = field.united(other)
        if not field.everything:
            field = _after(name, args, out, field)
        for tensor in _tensors((out,)):
            self._known[tensor] = field


def _tensors(values: Any) -> list[Tensor]:  # noqa: ANN401
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found


def _after(name: str, args: Any, out: Any, field: Field) -> Field:  # noqa: ANN401
    if name == "convolution":
        return _convolved(args, field)
    if name in ("max_pool2d_with_indices", "avg_pool2d"):
        return _pooled(name, args, field)
    if name.startswith(("_adaptive_avg_pool", "adaptive_avg_pool", "adaptive_max_pool")):
        return _adapted(args, field)
    if name in ("mean", "sum", "amax", "max", "linalg_vector_norm", "var_mean") and _over_places(args):
        return _EVERYTHING
    if name.startswith(_ATTENTION):
        return _EVERYTHING
    if name in ("view", "_unsafe_view", "reshape") and _flattened(args[0], out):
        return _EVERYTHING
    if name.startswith("upsample") and isinstance(out, Tensor):
        return _scaled(args[0], out, field, wide=0 if "nearest" in name else 1)
    return field


def _convolved(args: Any, field: Field) -> Field:  # noqa: ANN401
    weight, stride, padding, dilation, transposed = args[1], args[3], args[4], args[5], args[6]
    kernel = weight.shape[2:]
    if len(kernel) != 2:
        return field
    spans = []
    for i, span in enumerate((field.rows, field.columns)):
        if transposed:
            spans.append(span.spread(kernel[i], stride[i], padding[i]))
        else:
            spans.append(span.windowed(kernel[i], stride[i], padding[i], dilation[i]))
    return Field(spans[0], spans[1])


def _pooled(name: str, args: Any, field: Field) -> Field:  # noqa: ANN401
    kernel = _two(args[1])
    stride = _two(args[2]) if len(args) > 2 and args[2] else kernel
    padding = _two(args[3]) if len(args) > 3 else (0, 0)
    dilation = _two(args[4]) if name.startswith("max") and len(args) > 4 else (1, 1)
    spans = [
        s.windowed(k, t, p, d)
        for s, k, t, p, d in zip((field.rows, field.columns), kernel, stride, padding, dilation, strict=True)
    ]
    return Field(spans[0], spans[1])


def _adapted(args: Any, field: Field) -> Field:  # noqa: ANN401
    given, wanted = args[0].shape[-2:], _two(args[1])
    if any(w == 1 and g > 1 for g, w in zip(given, wanted, strict=True)):
        return _EVERYTHING
    spans = [
        s.windowed(-(-g // w), max(1, g // w), 0, 1)
        for s, g, w in zip((field.rows, field.columns), given, wanted, strict=True)
    ]
    return Field(spans[0], spans[1])


def _scaled(given: Tensor, out: Tensor, field: Field, *, wide: int) -> Field:
    spans = []
    for span, before, after in zip((field.rows, field.columns), given.shape[-2:], out.shape[-2:], strict=True):
        jump = span.jump * before / after
        spans.append(Span(jump, span.low - span.jump * wide, span.high + span.jump * wide))
    return Field(spans[0], spans[1])


def _two(value: Any) -> tuple[int, int]:  # noqa: ANN401
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])


def _over_places(args: Any) -> bool:  # noqa: ANN401
    """Whether a reduction goes over the places of a map, or over tokens, and not over channels alone."""
    tensor = args[0]
    axes = args[1] if len(args) > 1 else None
    if axes is None or axes == []:
        return True
    axes = {a % tensor.ndim for a in ([axes] if isinstance(axes, int) else axes)}
    if tensor.ndim == 4:
        return axes not in ({1}, {3})
    return tensor.ndim == 3 and 1 in axes


def _flattened(given: Tensor, out: Tensor) -> bool:
    """Whether places become features: `(1, C, H, W)` to `(1, C * H * W)`."""
    return given.ndim == 4 and out.ndim == 2 and out.shape[0] == 1 and given.shape[2] * given.shape[3] > 1
