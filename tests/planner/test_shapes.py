"""The quick shape functions give what torch itself gives."""

import pytest
import torch

from foveal.planner.shapes import NEW

aten = torch.ops.aten


def forms(out):
    outs = out if isinstance(out, tuple | list) else (out,)
    return [None if o is None else (tuple(o.shape), o.stride(), o.dtype) for o in outs]


def arguments(last, dtype):
    def make(*shape):
        t = torch.ones(*shape, dtype=dtype)
        return t.contiguous(memory_format=torch.channels_last) if last and t.ndim == 4 else t

    x, w, c = make(2, 8, 9, 7), make(6, 4, 3, 2), torch.ones(8)
    y = make(2, 6, 5, 6)
    form = ([2, 1], [1, 0], [1, 1], False, [0, 0], 2)
    yield aten.convolution.default, (x, w, None, *form)
    yield (
        aten.convolution.default,
        (make(1, 8, 1, 1), make(6, 8, 1, 1), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
    )
    yield aten.convolution_backward.default, (y, x, w, [6], *form, [True, True, True])
    yield aten.convolution_backward.default, (y, x, w, None, *form, [False, True, False])
    for training in (True, False):
        yield aten.native_batch_norm.default, (x, c, c, c.clone(), c.clone(), training, 0.1, 1e-5)
        rest = (c, c, c, c, c, training, 1e-5, [True, True, True])
        yield aten.native_batch_norm_backward.default, (x, x, *rest)
    yield aten.threshold_backward.default, (x, x, 0)
    yield aten.relu.default, (x,)
    yield aten.relu.default, (x[:, ::2],)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_against_torch(last, dtype):
    answered = set()
    with torch.no_grad():
        for func, args in arguments(last, dtype):
            made = NEW[func](*args)
            if made is not None:
                answered.add(func)
                assert list(made) == forms(func(*args)), func
    assert len(answered) >= 3
