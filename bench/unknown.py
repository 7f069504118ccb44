"""How often are images of a class that was not trained on refused, and strangers, and images that are not unknown?

    uv run python bench/unknown.py --data scenes8=FOLDER --data clipart=sample:clipart [--data …] [--rate 0.05]

Each class of each data set is left out in turn. Of the other classes four fifths are trained on: among these a run's
automatic trial chooses the score. `refused` is the share of the class left out that is called unknown, `strangers` the
same for the other data sets, `false_alarms` that of the last fifth. `scores` are the shares by each score alone.
The features are those of squashed images in Lite0, computed once.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import numpy as np

from common import Results, spread
from foveal import audit
from foveal.clock import Clock, Deadline
from foveal.data.images.render_cache import noise
from foveal.data.targets.folds import stratified_folds
from foveal.decisions import Decisions
from foveal.engines import choose_engine
from foveal.features import Extractor
from foveal.metrics import wilson
from foveal.metrics.unknown import SCORES, fit_detectors
from foveal.models.backbones import find_backbone
from foveal.training.unknown import choose_score, forget_classes

FOREVER = Deadline(Clock())
#: Images of a class that are used, and strangers of a data set.
MOST, STRANGERS = 300, 400


def features_of(data: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features `(N, D)` and names of the classes `(N,)`."""
    records = list(audit(data).records)
    labels = np.array([str(r.label) for r in records])
    order = np.random.default_rng(seed).permutation(len(labels))
    kept = sorted(i for name in np.unique(labels) for i in order[labels[order] == name][:MOST])
    backbone = find_backbone("lite0")
    engine = choose_engine(backbone, backbone.preprocess, partial(noise, backbone.preprocess, 32), Decisions())
    chosen = [records[i] for i in kept]
    table = Extractor(backbone, backbone.preprocess, engine, cache=False).run(chosen, deadline=FOREVER)
    return table.of(chosen), labels[kept]


def without(
    features: np.ndarray,
    labels: np.ndarray,
    left_out: str,
    strangers: dict[str, np.ndarray],
    rate: float,
    seed: int,
) -> dict[str, object]:
    """What a model of the other classes refuses."""
    known = np.flatnonzero(labels != left_out)
    names, index = np.unique(labels[known], return_inverse=True)
    fifths = stratified_folds(index.astype(np.int64), known.astype(str).tolist(), seed)
    assert fifths is not None
    train, test = known[fifths != 0], known[fifths == 0]
    classes = np.searchsorted(names, labels[train]).astype(np.int64)
    groups = train.astype(str).tolist()
    folds = stratified_folds(classes, groups, seed)
    assert folds is not None
    trial = forget_classes(features[train], classes, folds, groups, tuple(SCORES), FOREVER)
    chosen, _ = choose_score(trial, rate)
    detectors = fit_detectors(features[train], classes, folds, groups)

    def refused(score: str, rows: np.ndarray) -> float:
        return float(np.mean(detectors[score].p_values(rows, rows) <= rate))

    given = features[labels == left_out]
    return {
        "n": len(train),
        "chosen": chosen,
        "images": len(given),
        "refused": refused(chosen, given),
        "expected": float(np.mean([np.mean(p[chosen] <= rate) for p in trial.values()])),
        "strangers": {name: refused(chosen, rows) for name, rows in strangers.items()},
        "tested": len(test),
        "alarms": round(refused(chosen, features[test]) * len(test)),
        "scores": {
            score: {
                "refused": refused(score, given),
                "false_alarms": refused(score, features[test]),
                "strangers": {name: refused(score, rows) for name, rows in strangers.items()},
            }
            for score in SCORES
        },
    }


def summary_of(rows: list[dict[str, Any]]) -> dict[str, object]:
    """Of one data set. The same images are tested with several classes left out, so the interval counts each once."""
    rate, images = sum(r["alarms"] for r in rows) / sum(r["tested"] for r in rows), sum(r["images"] for r in rows)
    return {
        "refused": spread(r["refused"] for r in rows),
        "worst": min(r["refused"] for r in rows),
        "expected": spread(r["expected"] for r in rows),
        "strangers": {name: spread(r["strangers"][name] for r in rows) for name in rows[0]["strangers"]},
        "false_alarms": {"n": images, "rate": rate, "ci95": wilson(rate * images, images)},
        "scores": {score: spread(r["scores"][score]["refused"] for r in rows) for score in SCORES},
    }


def main() -> None:
    """A row for each class of each data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, metavar="NAME=DATA")
    parser.add_argument("--rate", type=float, default=0.05)
    given = parser.parse_args()
    results = Results("unknown")
    found = {name: features_of(data) for name, _, data in (d.partition("=") for d in given.data)}
    for name, (features, labels) in found.items():
        strangers = {
            other: rows[np.random.default_rng(0).permutation(len(rows))[:STRANGERS]]
            for other, (rows, _) in found.items()
            if other != name
        }
        for number, left_out in enumerate(np.unique(labels).tolist()):
            if not results.of(data=name, left_out=left_out, rate=given.rate):
                row = without(features, labels, left_out, strangers, given.rate, number)
                results.add(data=name, left_out=left_out, rate=given.rate, **row)
    summary = {name: summary_of(results.of(data=name, rate=given.rate)) for name in found}
    results.save(summary=summary)
    for name, shown in summary.items():
        print(name, shown)


if __name__ == "__main__":
    main()
