"""A confusion matrix as SVG: markup from a template, no plotting library to import, no font cache to build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from foveal.evaluation.templating import pages

#: With more classes than this, numbers and names no longer fit into the cells.
LEGIBLE = 40
_NAME = 18  # letters of a class name that are shown


def confusion_svg(
    matrix: Sequence[Sequence[int]], classes: Sequence[str], linked: Mapping[tuple[int, int], str] | None = None
) -> str:
    """Rows are targets, columns predictions; the depth of the colour is the share of the row.

    Args:
        matrix: `(K, K)` counts.
        classes: K names.
        linked: (row, column) → the id of the element of the page that its cell leads to.
    """
    cells = [
        (i, j, count, count / sum(row)) for i, row in enumerate(matrix) for j, count in enumerate(row) if count > 0
    ]
    names = [c if len(c) <= _NAME else c[: _NAME - 1] + "…" for c in classes]
    legible = len(classes) <= LEGIBLE
    size = 30 if legible else max(4, 1200 // len(classes))
    return (
        pages()
        .get_template("confusion.svg.j2")
        .render(cells=cells, names=names, legible=legible, size=size, linked=linked or {})
    )
