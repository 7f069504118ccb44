"""COCO's run-length code of a binary mask: lengths of runs down the columns, packed into letters.

The packed form is pycocotools' (`maskApi.c`, `rleToString`): from the third number on the difference to the number
two before; then groups of five bits, the lowest first, each plus 48 as a character, the sixth bit says "more".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.errors import DataError

Binary = NDArray[np.bool_]


def encode(mask: Binary) -> dict[str, Any]:
    """`{"size": [H, W], "counts": "…"}` of a mask `(H, W)`."""
    return {"size": [int(n) for n in mask.shape], "counts": pack(run_lengths(mask))}


def decode(code: dict[str, Any]) -> Binary:
    """The mask of a code, packed or with its numbers in a list.

    Raises:
        DataError: when the runs do not fill the mask.
    """
    height, width = code["size"]
    counts = unpack(code["counts"]) if isinstance(code["counts"], str) else list(code["counts"])
    if sum(counts) != height * width or min(counts, default=0) < 0:
        raise DataError(f"runs of {sum(counts)} pixels for a mask of {height} × {width}", hint="is it cut short?")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def run_lengths(mask: Binary) -> list[int]:
    """Lengths of the runs of zeros and ones in turn, down the columns; the first is of zeros, and may be 0."""
    flat = np.asarray(mask, dtype=bool).T.ravel()
    if not len(flat):
        return []
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths: list[int] = np.diff(np.concatenate([[0], turns, [len(flat)]])).tolist()
    return [0, *lengths] if flat[0] else lengths


def pack(counts: list[int]) -> str:
    """Numbers as characters."""
    letters = []
    for i, count in enumerate(counts):
        rest = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            five = rest & 31
            rest >>= 5
            more = rest != -1 if five & 16 else rest != 0
            letters.append(chr((five | 32 if more else five) + 48))
    return "".join(letters)


def unpack(text: str) -> list[int]:
    """Back from `pack`.

    Raises:
        DataError: when it ends within a number.
    """
    counts: list[int] = []
    value, shift = 0, 0
    for letter in text:
        five = ord(letter) - 48
        value |= (five & 31) << shift
        shift += 5
        if not five & 32:
            if five & 16:
                value -= 1 << shift
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value, shift = 0, 0
    if shift:
        raise DataError("the run lengths end within a number", hint="the text was cut short")
    return counts
