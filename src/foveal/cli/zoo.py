"""`foveal zoo`."""

from __future__ import annotations

import textwrap
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from foveal.cli.console import put, put_json, say
from foveal.cli.layout import columns, hanging
from foveal.cli.svg_file import check_svg, write_svg
from foveal.errors import FovealError, UnknownName, UsageError


def zoo(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One of them; without, the table of all.")
    ] = None,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it into an SVG file.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the architectures that made the field: what each brought, what it costs, how it is built."""
    from foveal.models import zoo as animals

    if name is None:
        if svg is not None:
            raise UsageError("which of them should be drawn?", hint="foveal zoo alexnet --svg alexnet.svg")
        _all([animals.card(n) for n in animals.names()], json)
    else:
        _one(_card(name), svg, json)


def _card(name: str) -> Any:  # noqa: ANN401
    """The card of an architecture.

    Raises:
        UsageError: for another name; for one that `foveal plan` takes it names that command.
    """
    from foveal.models import zoo as animals

    try:
        return animals.card(name)
    except UnknownName as unknown:
        if family := [n for n in animals.names() if n.startswith(name.lower()) and name]:
            raise UsageError(unknown.message, hint=f"did you mean {', '.join(family)}?") from None
        if meant := _model_meant(name, animals.names()):
            raise UsageError(unknown.message, hint=f"it is not in the zoo: foveal plan {meant}") from None
        raise


def _model_meant(name: str, known: Collection[str]) -> str | None:
    """The MODEL of `foveal plan` that a name stands for, or is nearest to; None if that is in the zoo, or nothing."""
    from foveal.models.resolve import resolve

    try:
        resolve(name)
    except UnknownName as error:
        return error.near if error.near not in known else None
    except FovealError:
        return None
    return name


def _all(cards: list[Any], json: bool) -> None:
    if json:
        put_json({"schema": 1, "architectures": [_row(c) for c in cards]})
        return
    put(f"{'name':<15} year {'parameters':>13} {'MACs':>15}  what it brought")
    for c in cards:
        start = f"{c.name:<15} {c.year} {c.parameters:>13,} {c.macs:>15,}  "
        for line in hanging(start, c.brought, max(len(start) + 20, columns())):
            put(line)


def _row(card: Any) -> dict[str, Any]:  # noqa: ANN401
    keys = ("name", "year", "parameters", "macs", "paper", "brought")
    return {key: getattr(card, key) for key in keys}


def _one(card: Any, svg: Path | None, json: bool) -> None:  # noqa: ANN401
    from foveal.planner import plan

    if svg is not None:
        from foveal.models.zoo.diagram import draw

        check_svg(svg)
        write_svg(svg, draw(card))
        say(f"drawn into {svg}")
    planned = plan(card.name, input=card.input_shape, batch=1, classes=card.classes, remedies=False)
    if json:
        from dataclasses import asdict

        put_json({"schema": 1, **card.to_dict(), "layers": [asdict(layer) for layer in planned.layers]})
        return
    from foveal.planner.sheet import layers_text

    put("\n".join(textwrap.fill(line, columns()) for line in (f"{card.title} ({card.year})", card.paper)))
    put(f"{card.url}\n")
    for heading, words in (("met", card.problem), ("brought", card.brought), ("how", card.story)):
        put(textwrap.fill(words, columns(), initial_indent=f"{heading:<9}", subsequent_indent=" " * 9))
    for note in card.notes:
        put(textwrap.fill(note, columns(), initial_indent="to know  ", subsequent_indent=" " * 9))
    shape = "×".join(map(str, card.input_shape))
    put(f"\n{card.parameters:,} parameters, {card.macs:,} MACs for one image of {shape}\n")
    put(layers_text(planned.layers, columns()))
