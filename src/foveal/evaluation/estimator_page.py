"""How a notebook shows a fitted estimator: its figures, what was delivered, and a few images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from foveal.evaluation.report import delivery, environment
from foveal.evaluation.run_samples import Sample


def estimator_html(
    summary: Mapping[str, Any],
    headline: Sequence[str],
    run: str | os.PathLike[str],
    samples: Sequence[Sample],
) -> str:
    """A piece of a page, without scripts, in the colours of the notebook.

    Args:
        summary: as in `summary.json`.
        headline: how well, and how certain.
        run: the run folder.
        samples: what `samples_of` gives.
    """
    template = environment().get_template("estimator.html.j2")
    page = template.render(
        summary=summary, headline=headline, delivered=delivery(summary), run=os.fspath(run), samples=samples
    )
    return page.encode("utf-8", "replace").decode()
