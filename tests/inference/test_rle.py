"""COCO's code: what goes in comes out, and known codes are met."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from foveal.errors import DataError
from foveal.inference.outputs.rle import decode, encode, pack, run_lengths, unpack


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)))
def test_every_mask_comes_back(mask):
    code = encode(mask)
    assert code["size"] == list(mask.shape) and np.array_equal(decode(code), mask)
    assert np.array_equal(decode({**code, "counts": unpack(code["counts"])}), mask)


@given(st.lists(st.integers(0, 2**30), max_size=30))
def test_every_number_comes_back(counts):
    assert unpack(pack(counts)) == counts


def test_runs_go_down_the_columns_and_begin_with_zeros():
    assert run_lengths(np.array([[0, 1], [0, 1], [1, 0]], dtype=bool)) == [2, 3, 1]
    assert run_lengths(np.array([[1, 0]], dtype=bool)) == [0, 1, 1]
    assert decode({"size": [2, 2], "counts": [0, 4]}).all()


def test_the_letters_are_those_of_the_c_code():
    # Worked by hand from rleToString in COCO's maskApi.c: five bits a letter, 48 added, 32 says "more".
    assert pack([6, 1, 40, 4, 5]) == "61X13mN"
    with pytest.raises(DataError):
        unpack("X")
    with pytest.raises(DataError):
        decode({"size": [2, 2], "counts": [1, 1]})
