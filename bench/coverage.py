"""Do prediction sets hold the true class as often as they promise? On repeated splits of the predictions of runs.

    uv run python bench/coverage.py --run NAME=RUN [--run …] [--repeats 200] [--coverage 0.95]

The out-of-fold predictions that a run kept are divided at random into halves, groups whole: the threshold is calibrated
on one, and the share of sets that hold the true class is counted on the other. `promised` says how often that share
was at least `at_least`, which is promised with a confidence of 90 % for the share of all possible new images;
`expected` is how often it should be on as few as there are in half of the images.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from scipy.stats import betabinom

from common import Results, spread
from foveal.data.split.held_out import read_held_out
from foveal.data.split.split_csv import read_rows
from foveal.inference.bundle import load_bundle
from foveal.metrics.calibration import PredictionSets, in_sets, prediction_sets


def predictions_of(run: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities `(N, K)`, labels and groups of a run's images."""
    classes = load_bundle(run).manifest.classes
    held_out = read_held_out(run, classes)
    assert held_out is not None
    rows = {row["sha256"]: row for row in read_rows(run / "split.csv") if row["split"]}
    known = [(rows[name], p) for name, p in held_out.out_of_fold.rows().items() if name in rows]
    labels = np.array([classes.index(row["label"]) for row, _ in known])
    return np.stack([p for _, p in known]), labels, np.array([row["group"] or row["path"] for row, _ in known])


def repeat(
    probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray, coverage: float, seed: int
) -> dict[str, float | None]:
    """Of one division into halves."""
    names = np.unique(groups)
    inside = np.isin(groups, np.random.default_rng(seed).permutation(names)[: len(names) // 2])
    sets = prediction_sets(probabilities[inside], labels[inside], coverage, groups[inside].tolist())
    members = in_sets(probabilities[~inside], sets.threshold)
    held = members[np.arange(len(members)), labels[~inside]]
    return {
        "coverage": float(held.mean()),
        "size": float(members.sum(axis=1).mean()),
        "at_least": sets.at_least,
        "expected": expected(sets, len(held)),
        "accuracy": float((probabilities[~inside].argmax(axis=1) == labels[~inside]).mean()),
    }


def expected(sets: PredictionSets, images: int) -> float | None:
    """How likely the share is at least `at_least` on so many new images, each a group (beta-binomial)."""
    if sets.at_least is None:
        return None
    rank = math.ceil((sets.groups + 1) * sets.coverage - 1e-9)
    return float(betabinom.sf(math.ceil(sets.at_least * images) - 1, images, rank, sets.groups + 1 - rank))


def main() -> None:
    """A row for each run and repeat."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", action="append", required=True, metavar="NAME=RUN")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--coverage", type=float, default=0.95)
    given = parser.parse_args()
    results = Results("coverage")
    for name, _, folder in (d.partition("=") for d in given.run):
        parts = predictions_of(Path(folder))
        for seed in range(len(results.of(run=name)), given.repeats):
            results.add(
                run=name, n=len(parts[1]), wanted=given.coverage, seed=seed, **repeat(*parts, given.coverage, seed)
            )
    summary = {}
    for name in dict.fromkeys(row["run"] for row in results.rows):
        rows = results.of(run=name)
        kept = [row["at_least"] is not None and row["coverage"] >= row["at_least"] for row in rows]
        figures = {figure: spread(row[figure] for row in rows) for figure in ("coverage", "size", "accuracy")}
        wanted = spread(row["expected"] for row in rows)["mean"]
        summary[name] = {**figures, "promised": sum(kept) / len(kept), "expected": wanted}
    results.save(summary=summary)
    for name, shown in summary.items():
        print(name, shown)


if __name__ == "__main__":
    main()
