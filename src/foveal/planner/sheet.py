"""A plan as text: the sheet, the verdict, the remedies. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from foveal.plans import LayerPlan, PassPlan, Plan


def size_text(size: int) -> str:
    """`12.03 MiB`: bytes for people."""
    value = float(size)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.2f} GiB"


def plan_text(plan: Plan, *, layers: bool = True) -> str:
    """All that a plan says, for a terminal."""
    parts = [_headline(plan)]
    if layers:
        parts.append(layers_text(plan.layers))
    parts += [_totals(plan), _memory(plan), _verdict(plan)]
    if plan.remedies:
        parts.append(_remedies(plan))
    parts += list(plan.notes)
    return "\n\n".join(parts)


def layers_text(layers: Sequence[LayerPlan]) -> str:
    """The sheet of layers alone."""
    return _table(_HEAD, [_row(layer) for layer in layers])


_HEAD = ("layer", "kind", "output", "parameters", "MACs", "activations", "sees")


def _row(layer: LayerPlan) -> tuple[str, ...]:
    seen = layer.receptive_field_hw
    sees = "" if seen is None else f"{seen[0]}" if seen[0] == seen[1] else f"{seen[0]}×{seen[1]}"
    return (
        layer.name or "(network)",
        layer.kind + (f" ×{layer.calls}" if layer.calls > 1 else ""),
        "×".join(map(str, layer.output_shape)),
        f"{layer.parameters:,}",
        f"{layer.macs:,}",
        size_text(layer.activation_bytes),
        sees,
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 3) -> str:
    widths = [max(len(r[i]) for r in (head, *rows)) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = (c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        return "  ".join(cells).rstrip()

    return "\n".join(map(line, (head, *rows)))


def _headline(plan: Plan) -> str:
    s = plan.scenario
    form = "×".join(map(str, s["input"]))
    return (
        f"{plan.model}: images of {form}; training with batch {s['batch']}, {s['optimizer']}, {s['precision']}, "
        f"on {s['device']}. Layers: for one image."
    )


def _totals(plan: Plan) -> str:
    batch = plan.scenario["batch"]
    return "\n".join(
        (
            f"parameters    {plan.parameters:,}",
            f"one image   {plan.macs:,} MACs ({plan.flops:,} FLOPs)",
            f"one step      {plan.train_flops:,} FLOPs forward and backward, batch {batch}",
            f"the batch     {plan.input_bytes:,} bytes of images, {plan.feature_map_bytes:,} of feature maps",
        )
    )


def _memory(plan: Plan) -> str:
    rows = list(_pass_rows("one prediction", plan.predict)) + list(_pass_rows("training step", plan.train))
    lines = _table(("memory", "peak", "at most", "of which"), rows, left=1).splitlines()
    process = f"whole training process (libraries, threads, malloc; an estimate): {size_text(plan.rss_bytes)}"
    return "\n".join((*lines, process))


def _pass_rows(name: str, found: PassPlan) -> Iterator[tuple[str, str, str, str]]:
    parts = [(k, v) for k, v in found.breakdown.items() if v]
    where = f"{found.peak_layer or 'outside of layers'} ({found.peak_operator})"
    yield name, size_text(found.peak_bytes), size_text(found.upper_bound_bytes), f"at {where}"
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


def _remedies(plan: Plan) -> str:
    rows = [
        (
            r.name,
            size_text(r.train_peak_bytes),
            "fits" if r.fits else "",
            r.price + ("" if r.same_mathematics else " [changes the mathematics]"),
        )
        for r in plan.remedies
    ]
    lines = [_table(("remedy", "peak", "", "price"), rows, left=4)]
    if plan.cheapest_fit:
        lines.append(f"Cheapest that fits: {' + '.join(plan.cheapest_fit)}")
    elif not plan.fits.ok:
        lines.append("None of the combinations that were tried fits.")
    return "\n".join(lines)
