"""Rewrites what lies between the last feature map and the logits, operator by operator.

The head is traced (torch.fx) with the layers below it as opaque steps. For each value of the head it is known what
it was in training: a map, or a vector that was flattened from a map. The rewritten head keeps all of them as maps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from foveal.models.fcn_conversion.geometry import mixing_modules
from foveal.models.fcn_conversion.layers import (
    ChannelNorm,
    Size,
    batch_norm_2d,
    convolution_of,
    covers,
    fold_pooling,
)


class Untranslatable(Exception):
    """A step of the head that has no equivalent on a larger map; the message names it."""


@dataclass(frozen=True)
class _Layout:
    """What a value of the head was in training.

    Attributes:
        channels: of the map.
        window: cells of the map that make up one output, `(h, w)`; `(1, 1)` after pooling or a linear layer.
        flat: it was a vector `(N, channels · h · w)`, not a map.
        target: an adaptive average pooling to this size is still to be done, by the next linear layer.
    """

    channels: int
    window: Size
    flat: bool = False
    target: Size | None = None


def translate(classifier: nn.Module, images: Tensor) -> nn.Module:
    """A module that gives maps of logits `(N, K, h, w)` with the classifier's weights.

    Args:
        classifier: in evaluation mode.
        images: two of the training size.

    Raises:
        Untranslatable: naming the step.
    """
    if hasattr(classifier, "forward_features") and hasattr(classifier, "forward_head"):
        contract: Any = classifier
        maps = contract.forward_features(images)
        if isinstance(maps, Tensor) and maps.ndim == 4:
            return FeaturesThenHead(classifier, rewrite_head(_Head(classifier), maps))
        if not isinstance(maps, Tensor) or maps.ndim != 2:
            shape = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
            raise Untranslatable(f"forward_features gives {shape}, not feature maps (N, C, H, W)")
    return rewrite_head(classifier, images)


class _Head(nn.Module):
    def __init__(self, network: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.network = network

    def forward(self, maps: Tensor) -> Any:  # noqa: ANN401
        return self.network.forward_head(maps)


class FeaturesThenHead(nn.Module):
    """The network's own `forward_features`, and the rewritten head."""

    def __init__(self, network: Any, head: nn.Module) -> None:  # noqa: ANN401
        super().__init__()
        self.network, self.head = network, head

    def forward(self, x: Tensor) -> Tensor:
        """`(N, C, H, W)` to `(N, K, h, w)`."""
        maps: Tensor = self.head(self.network.forward_features(x))
        return maps


class _Tracer(fx.Tracer):
    """Traces into what turns maps into something else; everything else stays one step."""

    def __init__(self, opaque: set[nn.Module]) -> None:
        super().__init__()
        self._opaque = opaque

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        known = isinstance(m, _KNOWN) or getattr(m, "pointwise", False)  # subclasses too: timm has its own
        return m in self._opaque or known or super().is_leaf_module(m, module_qualified_name)


def rewrite_head(root: nn.Module, value: Tensor) -> fx.GraphModule:
    """`root`, which gives a vector for `value`, as a module that gives maps. Raises as `translate` does."""
    opaque = _opaque(root, value)
    try:
        graph = _Tracer(opaque).trace(root)
    except (fx.proxy.TraceError, TypeError, RuntimeError, AttributeError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Untranslatable(f"its forward can't be traced: {first}") from None
    module = fx.GraphModule(root, graph)
    ShapeProp(module).propagate(value)
    _Rewriter(module).run()
    return module


def _opaque(root: nn.Module, value: Tensor) -> set[nn.Module]:
    """Modules that take maps and give maps, so that their insides do not matter; observed in one run."""
    shapes: dict[nn.Module, list[tuple[Any, Any]]] = {}

    def note(module: nn.Module, given: tuple[Any, ...], out: Any) -> None:  # noqa: ANN401
        sizes = [tuple(v.shape) if isinstance(v, Tensor) else None for v in (given[0] if given else None, out)]
        shapes.setdefault(module, []).append((sizes[0], sizes[1]))

    handles = [m.register_forward_hook(note) for m in root.modules() if m is not root]
    try:
        root(value)
    finally:
        for handle in handles:
            handle.remove()
    mixing = {root.get_submodule(path) for path in mixing_modules(root, value)}
    return {m for m, calls in shapes.items() if all(_stays_a_map(m, *call, mixes=m in mixing) for call in calls)}


def _stays_a_map(module: nn.Module, given: Any, out: Any, *, mixes: bool) -> bool:  # noqa: ANN401
    """Whether a module gives maps for maps, and does not end in a pooling over all positions or to k × k.

    A chain that ends in a single cell is traced in any case: its first layer may follow such a pooling.
    """
    if given is None or out is None or len(given) != 4 or len(out) != 4:
        return False
    smaller = out[2] < given[2] or out[3] < given[3]
    single = out[2:] == (1, 1)
    if smaller and single and isinstance(module, nn.Sequential):
        return False
    return not (mixes and smaller and (single or out[1] == given[1]))


#: Steps that work on each value alone, by kind of call.
_ELEMENTWISE_MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh,
    nn.Sigmoid, nn.Tanh, nn.Softplus,
)  # fmt: skip
_NOTHING_MODULES = (nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.Identity)
_KNOWN = (nn.Linear, nn.LayerNorm, nn.BatchNorm1d, nn.Conv2d, *_ELEMENTWISE_MODULES, *_NOTHING_MODULES)
_NOTHING = {"dropout", "alpha_dropout", "contiguous", "clone", "float", "detach", "to", "type_as"}
_ELEMENTWISE = {
    "relu", "relu_", "relu6", "leaky_relu", "elu", "gelu", "silu", "mish", "hardswish", "hardsigmoid", "hardtanh",
    "sigmoid", "tanh", "softplus", "clamp", "abs", "neg", "exp", "log", "square", "sqrt",
}  # fmt: skip
_BINARY = {"add", "add_", "iadd", "sub", "mul", "mul_", "imul", "truediv", "div", "cat", "maximum"}
_FLATTEN = {"flatten", "view", "reshape", "squeeze", "unsqueeze"}
_SOFTMAX = {"softmax", "log_softmax"}
_AVERAGE = {"mean", "adaptive_avg_pool2d"}
_MAXIMUM = {"amax", "adaptive_max_pool2d"}


class _Rewriter:
    """Goes through the traced head once, in order, and replaces what has to be replaced."""

    def __init__(self, module: fx.GraphModule) -> None:
        self.module, self.graph = module, module.graph
        self.layouts: dict[fx.Node, _Layout] = {}
        self._made = 0

    def run(self) -> None:
        for node in list(self.graph.nodes):
            if node.op == "placeholder":
                self.layouts[node] = self._map(node)
            elif node.op == "output":
                self._check_output(node)
            elif node.op in ("call_module", "call_function", "call_method"):
                self._step(node)
        self.graph.eliminate_dead_code()
        self.module.delete_all_unused_submodules()
        self.module.recompile()

    def _step(self, node: fx.Node) -> None:
        inputs = [n for n in node.all_input_nodes if n in self.layouts]
        if not inputs:
            return
        shape = _shape(node)
        if shape is None or len(shape) < 2:  # x.size(0), x.shape: a view that uses them is replaced
            return
        layer = self.module.get_submodule(str(node.target)) if node.op == "call_module" else None
        name = _name(node)
        layout = self.layouts[inputs[0]]
        if isinstance(layer, nn.Linear):
            self._linear(node, layer, layout)
        elif isinstance(layer, nn.AdaptiveAvgPool2d) or (layer is None and name in _AVERAGE):
            self._pool(node, layout, nn.AvgPool2d)
        elif isinstance(layer, nn.AdaptiveMaxPool2d) or (layer is None and name in _MAXIMUM):
            self._pool(node, layout, nn.MaxPool2d)
        elif isinstance(layer, nn.Flatten | nn.Unflatten) or (layer is None and name in _FLATTEN):
            self._flatten(node, layout)
        elif isinstance(layer, _NOTHING_MODULES) or (layer is None and name in _NOTHING):
            self.layouts[node] = layout
        elif isinstance(layer, nn.BatchNorm1d | nn.LayerNorm) and layout.flat:
            self._norm(node, layer, layout)
        elif isinstance(layer, nn.Softmax | nn.LogSoftmax) or (layer is None and name in _SOFTMAX):
            self._softmax(node, layer, layout)
        elif isinstance(layer, _ELEMENTWISE_MODULES) or (layer is None and name in _ELEMENTWISE):
            self._refuse_pending(node, layout)
            self.layouts[node] = layout
        elif layer is None:
            self._function(node, name, [self.layouts[n] for n in inputs])
        else:
            self._layer(node, layer, [self.layouts[n] for n in inputs])

    def _linear(self, node: fx.Node, layer: nn.Linear, layout: _Layout) -> None:
        """A linear layer on a vector that was a map: a convolution with the map's own size as its kernel."""
        size = layout.target or layout.window
        if not layout.flat or layer.in_features != layout.channels * size[0] * size[1]:
            raise self._untranslatable(node, "a linear layer on something else than a flattened map")
        kernel = layer.weight.view(layer.out_features, layout.channels, *size)
        self._replace(node, convolution_of(fold_pooling(kernel, layout.window, layout.target), layer.bias))
        self.layouts[node] = _Layout(layer.out_features, (1, 1), flat=True)

    def _pool(self, node: fx.Node, layout: _Layout, kind: type[nn.AvgPool2d] | type[nn.MaxPool2d]) -> None:
        """Pooling over all positions slides; an adaptive one to several waits for the linear layer after it."""
        self._refuse_pending(node, layout)
        shape = _shape(node)
        assert shape is not None
        if layout.flat or shape[:2] != (2, layout.channels) or len(shape) not in (2, 4):
            raise self._untranslatable(node, "pooling over something else than the positions of a map")
        out = (shape[2], shape[3]) if len(shape) == 4 else (1, 1)
        if out == layout.window:
            self._remove(node)
            self.layouts[node] = replace(layout, flat=len(shape) == 2)
        elif out == (1, 1):
            self._replace(node, kind(layout.window, stride=1))
            self.layouts[node] = _Layout(layout.channels, (1, 1), flat=len(shape) == 2)
        elif kind is nn.AvgPool2d:
            self._remove(node)
            self.layouts[node] = replace(layout, target=out)
        else:
            raise self._untranslatable(node, f"maximum pooling to {out[0]} × {out[1]} uneven parts of the map")

    def _flatten(self, node: fx.Node, layout: _Layout) -> None:
        shape = _shape(node)
        h, w = layout.target or layout.window
        if shape == (2, layout.channels * h * w):
            flat = True
        elif shape == (2, layout.channels, h, w):
            flat = False
        else:
            raise self._untranslatable(
                node, f"a new shape {shape} that is neither the map nor the map as a vector"
            )
        self._remove(node)
        self.layouts[node] = replace(layout, flat=flat)

    def _norm(self, node: fx.Node, layer: nn.BatchNorm1d | nn.LayerNorm, layout: _Layout) -> None:
        self._refuse_pending(node, layout)
        if layout.window != (1, 1):
            raise self._untranslatable(
                node, "a normalisation with its own parameters for each position of the map"
            )
        self._replace(node, ChannelNorm(layer) if isinstance(layer, nn.LayerNorm) else batch_norm_2d(layer))
        self.layouts[node] = layout

    def _softmax(self, node: fx.Node, layer: nn.Module | None, layout: _Layout) -> None:
        logarithm = isinstance(layer, nn.LogSoftmax) or _name(node) == "log_softmax"
        if not layout.flat or layout.window != (1, 1):
            raise self._untranslatable(node, "a softmax over positions")
        self._replace(node, nn.LogSoftmax(dim=1) if logarithm else nn.Softmax(dim=1))
        self.layouts[node] = layout

    def _function(self, node: fx.Node, name: str, layouts: list[_Layout]) -> None:
        shape = _shape(node)
        for layout in layouts:
            self._refuse_pending(node, layout)
        if name not in _BINARY or len({(f.window, f.flat) for f in layouts}) != 1 or shape is None:
            raise self._untranslatable(node, f"`{name}` on what is no longer the whole map")
        if name == "cat" and node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else 0) != 1:
            raise self._untranslatable(node, "concatenation along positions")
        h, w = layouts[0].window
        channels = shape[1] // (h * w) if layouts[0].flat else shape[1]
        if layouts[0].flat and name == "cat" and (h, w) != (1, 1):
            raise self._untranslatable(node, "concatenation of vectors that were flattened from maps")
        self.layouts[node] = replace(layouts[0], channels=channels)

    def _layer(self, node: fx.Node, layer: nn.Module, layouts: list[_Layout]) -> None:
        """Any other layer: correct on a map as it is; on what was pooled, only when it takes one cell."""
        layout = layouts[0]
        if isinstance(layer, nn.Conv2d) and layout.target is not None and covers(layer, layout.target):
            self._replace(
                node, convolution_of(fold_pooling(layer.weight, layout.window, layout.target), layer.bias)
            )
            self.layouts[node] = _Layout(layer.out_channels, (1, 1))
            return
        self._refuse_pending(node, layout)
        shape = _shape(node)
        assert shape is not None
        if getattr(layer, "pointwise", False):
            self.layouts[node] = replace(layout, channels=shape[1])
        elif layout.flat or any(f.flat for f in layouts) or len(shape) != 4:
            raise self._untranslatable(node, "a layer on vectors that is not known to work on each position alone")
        else:
            self.layouts[node] = self._map(node)

    def _check_output(self, node: fx.Node) -> None:
        result = node.args[0]
        layout = self.layouts.get(result) if isinstance(result, fx.Node) else None
        if layout is None or layout.window != (1, 1) or layout.target is not None:
            raise Untranslatable("its output is not a vector of logits")

    def _map(self, node: fx.Node) -> _Layout:
        shape = _shape(node)
        if shape is None or len(shape) != 4:
            raise self._untranslatable(node, f"shape {shape}, where a map (N, C, H, W) was expected")
        return _Layout(shape[1], (shape[2], shape[3]))

    def _replace(self, node: fx.Node, layer: nn.Module) -> None:
        """Let this layer do the step, on the same input."""
        name = f"converted_{self._made}"
        self._made += 1
        self.module.add_submodule(name, layer.eval())
        given = node.all_input_nodes[0]
        node.op, node.target, node.args, node.kwargs = "call_module", name, (given,), {}

    def _remove(self, node: fx.Node) -> None:
        """Let the step pass its input on."""
        self._replace(node, nn.Identity())

    def _refuse_pending(self, node: fx.Node, layout: _Layout) -> None:
        if layout.target is not None:
            h, w = layout.window
            raise self._untranslatable(
                node, f"it follows a pooling of {h} × {w} cells to {layout.target[0]} × {layout.target[1]}"
            )

    def _untranslatable(self, node: fx.Node, why: str) -> Untranslatable:
        stack = node.meta.get("nn_module_stack") or {}
        path = str(node.target) if node.op == "call_module" else (list(stack)[-1] if stack else "")
        where = path.removeprefix("network.") or "forward"
        layer = f" ({type(self.module.get_submodule(path)).__name__})" if node.op == "call_module" else ""
        return Untranslatable(f"{where}{layer}: {why}")


def _shape(node: fx.Node) -> tuple[int, ...] | None:
    metadata: Any = node.meta.get("tensor_meta")
    return tuple(metadata.shape) if hasattr(metadata, "shape") else None


def _name(node: fx.Node) -> str:
    target: str | Callable[..., Any] = node.target
    return target if isinstance(target, str) else target.__name__
