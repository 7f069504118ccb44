"""A network in one word: `conv100k3s2-relu-pool2-gap-dense10`.

Tokens are joined by `-`. `convN` has N filters, `kN` sets the kernel's side (3), `sN` the stride (1), `gN` the
groups (1); convolutions pad so that stride 1 keeps the size ("same"), or not at all with `valid` at the end.
`pool2` and `avg2` pool by the maximum and the mean (stride as the window, or `sN`), `gap` over all places.
`dense64` is a fully connected layer, `drop0.5` dropout; `relu`, `bn` (batch normalisation), `lrn` (local response
normalisation) and `flatten` mean themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from foveal.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

_FORMS = {
    "conv": re.compile(r"conv(?P<n>\d+)(?:k(?P<k>\d+)|s(?P<s>\d+)|g(?P<g>\d+))*(?P<valid>valid)?"),
    "dense": re.compile(r"dense(?P<n>\d+)"),
    "pool": re.compile(r"pool(?P<k>\d+)(?:s(?P<s>\d+))?"),
    "avg": re.compile(r"avg(?P<k>\d+)(?:s(?P<s>\d+))?"),
    "drop": re.compile(r"drop(?P<p>0?\.\d+|0|1)"),
    "word": re.compile(r"(?P<word>relu|bn|lrn|gap|flatten)"),
}
#: How long numbers may be: sides and strides under 1,000 pixels, under a million filters or units.
_DIGITS = {"k": 3, "s": 3, "g": 6, "n": 6, "p": 1}
#: More layers are refused: tracing them would take minutes.
_LAYERS = 1000
_HINT = "conv100k3s2, conv64valid, dense64, pool2, avg2, drop0.5, relu, bn, lrn, gap and flatten, joined by `-`"


@dataclass(frozen=True)
class Token:
    """One layer of a sketch: its word, numbers by letter, and its position in the text."""

    kind: str
    numbers: dict[str, int]
    text: str
    at: int


def looks_like_sketch(text: str) -> bool:
    """Whether a text is meant as a sketch, right or wrong: its first token is one, or most of them are."""
    tokens = text.split("-")
    right = [any(form.fullmatch(t) for form in _FORMS.values()) for t in tokens]
    return right[0] or (len(tokens) > 1 and 2 * sum(right) >= len(tokens))


def parse(text: str) -> list[Token]:
    """The tokens of a sketch.

    Raises:
        UsageError: at the first that is none, with a caret under it.
    """
    tokens, at = [], 0
    if (count := text.count("-") + 1) > _LAYERS:
        raise UsageError(
            f"a sketch of {count} layers", hint=f"at most {_LAYERS}; package.module:function has no limit"
        )
    for word in text.split("-"):
        tokens.append(_token(text, word, at))
        at += len(word) + 1
    return tokens


def _token(text: str, word: str, at: int) -> Token:
    for kind, form in _FORMS.items():
        match = form.fullmatch(word)
        if match:
            found = match.groupdict()
            digits = {k: v for k, v in found.items() if v and v.isdigit()}
            for letter, written in digits.items():
                if len(written) > _DIGITS[letter]:
                    raise _wrong(text, at, len(word), f"{written[:20]} is too many")
            numbers = {k: int(v) for k, v in digits.items()}
            for letter in ("k", "s", "n", "g"):
                if numbers.get(letter) == 0:
                    raise _wrong(text, at, len(word), "0 is too few")
            return Token(found.get("word") or kind, numbers, word, at)
    raise _wrong(text, at, len(word), f"no layer is written {word!r}")


def _wrong(text: str, at: int, length: int, why: str) -> UsageError:
    return UsageError(f"{why}\n  {text}\n  {' ' * at}{'^' * max(1, length)}", hint=_HINT)


@dataclass
class _Form:
    """What goes from one layer to the next: `(C, H, W)`, or a flat vector with both sides None."""

    channels: int
    height: int | None
    width: int | None

    @property
    def features(self) -> int:
        return self.channels * (self.height or 1) * (self.width or 1)


def build(text: str, shape: tuple[int, int, int]) -> nn.Sequential:
    """The network of a sketch, with fresh weights; layers are named `N_TOKEN`.

    Args:
        text: the sketch.
        shape: channels, height, width of an image.

    Raises:
        UsageError: for a wrong token, or one in an impossible position; with a caret under it.
    """
    from collections import OrderedDict

    from torch import nn

    form = _Form(*shape)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, token in enumerate(parse(text), 1):
        maker = _MAKERS[token.kind]
        try:
            for extra, layer in enumerate(maker(token, form)):
                name = f"{number}_{token.text}".replace(".", "_")
                layers[name if not extra else f"{name}_{extra}"] = layer
        except ValueError as error:
            raise _wrong(text, token.at, len(token.text), str(error)) from None
    return nn.Sequential(layers)


def _plane(form: _Form, what: str) -> tuple[int, int]:
    if form.height is None or form.width is None:
        raise ValueError(f"{what} needs a map, and here it is flat already")
    return form.height, form.width


def _slid(size: int, kernel: int, stride: int, padding: int) -> int:
    if size + padding < kernel:
        raise ValueError(f"a window of {kernel} does not fit into {size} pixels")
    return (size + padding - kernel) // stride + 1


def _convolution(token: Token, form: _Form) -> list[nn.Module]:
    from torch import nn

    height, width = _plane(form, "a convolution")
    n, k, s, g = (token.numbers.get(letter, usual) for letter, usual in (("n", 1), ("k", 3), ("s", 1), ("g", 1)))
    if form.channels % g or n % g:
        raise ValueError(f"{form.channels} channels and {n} filters can't be split into {g} groups")
    valid = token.text.endswith("valid")
    layers: list[nn.Module] = []
    padding = 0 if valid else (k - 1) // 2
    if not valid and k % 2 == 0:
        layers.append(nn.ZeroPad2d((padding, k - 1 - padding, padding, k - 1 - padding)))
        padding = 0
    layers.append(nn.Conv2d(form.channels, n, k, s, padding, groups=g))
    around = 0 if valid else k - 1
    form.height, form.width = _slid(height, k, s, around), _slid(width, k, s, around)
    form.channels = n
    return layers[::-1] if len(layers) == 1 else layers


def _pool(token: Token, form: _Form) -> list[nn.Module]:
    from torch import nn

    height, width = _plane(form, "pooling")
    k = token.numbers["k"]
    s = token.numbers.get("s", k)
    form.height, form.width = _slid(height, k, s, 0), _slid(width, k, s, 0)
    return [nn.MaxPool2d(k, s) if token.kind == "pool" else nn.AvgPool2d(k, s)]


def _flatten(token: Token, form: _Form) -> list[nn.Module]:
    from torch import nn

    form.channels, form.height, form.width = form.features, None, None
    return [nn.Flatten()]


def _gap(token: Token, form: _Form) -> list[nn.Module]:
    from torch import nn

    _plane(form, "pooling")
    form.height = form.width = 1
    return [nn.AdaptiveAvgPool2d(1)]


def _dense(token: Token, form: _Form) -> list[nn.Module]:
    from torch import nn

    if form.height is not None and form.height * (form.width or 1) > 1:
        raise ValueError("a dense layer needs a flat vector: put flatten or gap before it")
    layers = _flatten(token, form) if form.height is not None else []
    layers.append(nn.Linear(form.channels, token.numbers["n"]))
    form.channels = token.numbers["n"]
    return layers


def _same(token: Token, form: _Form) -> list[nn.Module]:
    from torch import nn

    if token.kind == "relu":
        return [nn.ReLU()]
    if token.kind == "drop":
        return [nn.Dropout(float(token.text.removeprefix("drop")))]
    if token.kind == "lrn":
        _plane(form, "local response normalisation")
        return [nn.LocalResponseNorm(5)]
    return [nn.BatchNorm1d(form.channels) if form.height is None else nn.BatchNorm2d(form.channels)]


_MAKERS: dict[str, Callable[[Token, _Form], list[nn.Module]]] = {
    "conv": _convolution,
    "pool": _pool,
    "avg": _pool,
    "gap": _gap,
    "flatten": _flatten,
    "dense": _dense,
    "relu": _same,
    "bn": _same,
    "lrn": _same,
    "drop": _same,
}
