"""A plan as text: the sheet, the verdict, the remedies. No torch."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

from foveal.plans import LayerPlan, PassPlan, Plan


def size_text(size: int) -> str:
    """`12.03 MiB`: bytes for people."""
    value = float(size)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.2f} GiB"


def plan_text(plan: Plan, *, layers: bool = True, width: int = 80) -> str:
    """All that a plan says, for a terminal of this width."""
    parts = [_filled(_headline(plan), width)]
    if layers:
        parts.append(layers_text(plan.layers, width))
    parts += [_totals(plan, width), _memory(plan, width), _filled(_verdict(plan), width)]
    if plan.remedies:
        parts.append(_remedies(plan, width))
    parts += [_filled(note, width) for note in plan.notes]
    return "\n\n".join(parts)


def layers_text(layers: Sequence[LayerPlan], width: int = 80) -> str:
    """The sheet of layers alone; counts are rounded, and names broken, where they would not fit."""
    exact = [_row(layer, "{:,}".format) for layer in layers]
    natural = sum(max(map(len, column)) + 2 for column in zip(_HEAD, *exact, strict=True)) - 2
    rows = exact if natural <= width else [_row(layer, _rounded) for layer in layers]
    return _table(_HEAD, rows, width, left=3, wrapped=(0, 1, 2))


def _rounded(count: int) -> str:
    """`2.36 M`."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 1000 * size else f"{count // size:,} {unit}"
    return str(count)


_HEAD = ("layer", "kind", "output", "params", "MACs", "activations", "sees")
#: Columns are not made narrower.
_NARROWEST = 8


def _row(layer: LayerPlan, count: Callable[[int], str]) -> tuple[str, ...]:
    seen = layer.receptive_field_hw
    sees = "" if seen is None else f"{seen[0]}" if seen[0] == seen[1] else f"{seen[0]}×{seen[1]}"
    return (
        layer.name or "(network)",
        layer.kind + (f" ×{layer.calls}" if layer.calls > 1 else ""),
        "×".join(map(str, layer.output_shape)),
        count(layer.parameters),
        count(layer.macs),
        size_text(layer.activation_bytes),
        sees,
    )


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], width: int, *, left: int, wrapped: Sequence[int]
) -> str:
    """Columns, the first `left` of them aligned to the left; where too wide, those `wrapped` get several lines."""
    widths = [max(len(r[i]) for r in (head, *rows)) for i in range(len(head))]
    over = sum(widths) + 2 * (len(widths) - 1) - width
    while over > 0 and widths[widest := max(wrapped, key=lambda i: widths[i])] > _NARROWEST:
        widths[widest], over = widths[widest] - 1, over - 1

    def line(row: Sequence[str]) -> str:
        cells = (c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        return "  ".join(cells).rstrip()

    def lines(row: Sequence[str]) -> Iterator[str]:
        cells = [_pieces(c, widths[i]) if i in wrapped else [c] for i, c in enumerate(row)]
        return map(line, zip_longest(*cells, fillvalue=""))

    return "\n".join(text for row in (head, *rows) for text in lines(row))


def _pieces(cell: str, width: int) -> list[str]:
    """A cell in lines of this width, broken after spaces and the signs between parts of a name."""
    lines = [""]
    for part in re.findall(r"[^\s._×-]*[\s._×-]?", cell):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [line[at : at + width].rstrip() for line in lines for at in range(0, max(1, len(line.rstrip())), width)]


def _filled(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def _headline(plan: Plan) -> str:
    s = plan.scenario
    form = "×".join(map(str, s["input"]))
    return (
        f"{plan.model}: images of {form}; training with batch {s['batch']}, {s['optimizer']}, {s['precision']}, "
        f"on {s['device']}. Layers: for one image."
    )


def _totals(plan: Plan, width: int) -> str:
    batch = plan.scenario["batch"]
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent=" " * 14)
        for line in (
            f"parameters    {plan.parameters:,}",
            f"one image     {plan.macs:,} MACs ({plan.flops:,} FLOPs)",
            f"one step      {plan.train_flops:,} FLOPs forward and backward, batch {batch}",
            f"the batch     {plan.input_bytes:,} bytes of images, {plan.feature_map_bytes:,} of feature maps",
        )
    )


def _memory(plan: Plan, width: int) -> str:
    rows = list(_pass_rows("one prediction", plan.predict)) + list(_pass_rows("training step", plan.train))
    lines = _table(("memory", "peak", "at most", "of which"), rows, width, left=1, wrapped=(3,)).splitlines()
    process = f"whole training process (libraries, threads, malloc; an estimate): {size_text(plan.rss_bytes)}"
    return "\n".join((*lines, _filled(process, width)))


def _pass_rows(name: str, pass_plan: PassPlan) -> Iterator[tuple[str, str, str, str]]:
    parts = [(k, v) for k, v in pass_plan.breakdown.items() if v]
    where = f"{pass_plan.peak_layer or 'outside of layers'} ({pass_plan.peak_operator})"
    yield name, size_text(pass_plan.peak_bytes), size_text(pass_plan.upper_bound_bytes), f"at {where}"
    for kind, size in parts:
        yield "", size_text(size), "", kind


def _verdict(plan: Plan) -> str:
    fits = plan.fits
    if fits.budget_bytes is None:
        return f"No budget is known ({fits.source}): give --memory."
    budget = f"{size_text(fits.budget_bytes)} ({fits.source})"
    if fits.ok:
        return f"It fits into {budget}; the largest batch that does holds {fits.largest_batch} images."
    if fits.largest_batch:
        return f"It does NOT fit into {budget}: at most {fits.largest_batch} images a batch would."
    return f"It does NOT fit into {budget}: not even one image at a time would."


def _remedies(plan: Plan, width: int) -> str:
    rows = [
        (
            r.name,
            size_text(r.train_peak_bytes),
            "fits" if r.fits else "",
            r.price + ("" if r.same_mathematics else " [changes the mathematics]"),
        )
        for r in plan.remedies
    ]
    lines = [_table(("remedy", "peak", "", "price"), rows, width, left=4, wrapped=(0, 3))]
    if plan.cheapest_fit:
        lines.append(_filled(f"Cheapest that fits: {' + '.join(plan.cheapest_fit)}", width))
    elif not plan.fits.ok:
        lines.append("None of the combinations that were tried fits.")
    return "\n".join(lines)
