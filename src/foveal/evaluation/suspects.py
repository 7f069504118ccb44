"""Images of a run whose label looks wrong, by predictions of models that had not learned from them.

Neither the images nor a network are opened: the run kept the predictions (`held_out.py`) and the fingerprints that
near-duplicates are found by.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data.audit.duplicates import near_pairs
from foveal.data.split.fingerprints import read_fingerprints
from foveal.data.split.held_out import read_held_out
from foveal.data.split.split_csv import read_rows
from foveal.data.targets.registry import find_target
from foveal.errors import DataError, UsageError
from foveal.files import CsvWriter, write_text
from foveal.inference.bundle import load_bundle
from foveal.metrics.label_quality import label_quality
from foveal.models.shipped import measured_folder
from foveal.output_files import check_file
from foveal.values import SCHEMA, SUBSETS

#: Columns of the table that `--corrections` takes back.
COLUMNS = ("path", "label", "suggested", "probability", "score", "flagged", "subset")
#: Pairs of classes that are listed.
_PAIRS = 10


@dataclass(frozen=True)
class Suspect:
    """An image and its label.

    Attributes:
        path, sha256, subset: of the image.
        label: its own.
        suggested: the class that is predicted for it; the label itself where that is the likeliest.
        probability: of the suggested class.
        score: how far the label is to be believed, 0 to 1.
        flagged: whether the label is taken to be wrong.
    """

    path: str
    label: str
    suggested: str
    probability: float
    score: float
    flagged: bool
    subset: str
    sha256: str


@dataclass(frozen=True)
class Suspects:
    """What a run says about the labels of its images.

    Attributes:
        run: its folder.
        images: of the run; `ranked` are those that there are predictions of.
        ranked: all of them, from the least credible label.
        confused: pairs of classes, how many images of either are predicted as the other, and how many there are.
        near_duplicates: pairs of paths of images that are nearly the same and have different labels.
        test_right, test_images: of the measured model on its test subset.
    """

    run: str
    images: int
    ranked: Sequence[Suspect]
    confused: Sequence[tuple[str, str, int, int]]
    near_duplicates: Sequence[tuple[str, str]]
    test_right: int
    test_images: int

    @property
    def flagged(self) -> list[Suspect]:
        """Those whose label is taken to be wrong, from the least credible."""
        return [s for s in self.ranked if s.flagged]

    def worth(self, first: int) -> dict[str, Any]:
        """What mending the first of the list would change in the measured accuracy, were all suggestions right.

        Returns:
            `first`, `in_test`: how many of them are in the test subset; `accuracy` now and `accuracy_if_right`, or None
            without a test subset.
        """
        in_test = sum(s.subset == "test" and s.suggested != s.label for s in self.ranked[:first])
        total = self.test_images
        return {
            "first": first,
            "in_test": in_test,
            "accuracy": self.test_right / total if total else None,
            "accuracy_if_right": min(1.0, (self.test_right + in_test) / total) if total else None,
        }

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """As `suspects --json` prints it: the first `top` of the list, by default those that are flagged."""
        listed = self.flagged if top is None else self.ranked[:top]
        return {
            "schema": SCHEMA,
            "run": self.run,
            "images": self.images,
            "ranked": len(self.ranked),
            "flagged": len(self.flagged),
            "suspects": [asdict(s) for s in listed],
            "worth": [self.worth(first) for first in _steps(len(self.flagged))],
            "confused": [
                {"classes": [a, b], "predicted_as_the_other": count, "images": n}
                for a, b, count, n in self.confused
            ],
            "near_duplicates_with_other_labels": [list(pair) for pair in self.near_duplicates],
        }


def find_suspects(run: str | os.PathLike[str]) -> Suspects:
    """Rank the labels of a finished run.

    Raises:
        BundleError: when there is no model.
        DataError: when a file of the run is damaged.
        UsageError: when the run predicts masks, or kept no predictions.
    """
    folder = Path(run)
    manifest = load_bundle(measured_folder(folder)).manifest
    kind = find_target(manifest.task)
    if kind.annotation != "label":
        raise UsageError(
            f"{folder}: predicts {kind.plural}",
            hint="suspects takes the run of a classifier, one label for each image",
        )
    held_out = read_held_out(folder, manifest.classes)
    if held_out is None:
        raise UsageError(
            f"{folder}: kept no predictions", hint="only finished runs do; train again with this version"
        )
    classes = manifest.classes
    rows = {row["sha256"]: row for row in read_rows(folder / "split.csv") if row["split"] in SUBSETS}
    known = {name: row for name, row in rows.items() if row["label"] in classes}
    predictions = {name: p for name, p in held_out.out_of_fold.rows().items() if name in known}
    if not predictions:
        raise DataError(
            f"{folder}: no predictions for images that were held out", hint="the run has too few images"
        )
    names = list(predictions)
    probabilities = np.stack([predictions[name] for name in names])
    labels = np.array([classes.index(known[name]["label"]) for name in names], dtype=np.int64)
    test = {name: p for name, p in held_out.test.rows().items() if name in known}
    return Suspects(
        run=str(folder),
        images=len(rows),
        ranked=_ranked(names, probabilities, labels, classes, known),
        confused=_confused(probabilities.argmax(axis=1), labels, classes),
        near_duplicates=_near_duplicates(folder, known),
        test_right=sum(classes[int(p.argmax())] == known[name]["label"] for name, p in test.items()),
        test_images=len(test),
    )


def save_table(suspects: Sequence[Suspect], out: Path, *, overwrite: bool = False) -> None:
    """Write CSV that `--corrections` takes once a person has set the labels right: an empty label leaves an image out.

    Raises:
        UsageError: when the file can't be written, or is not foveal's.
    """
    check_file(out, is_ours=_is_table, overwrite=overwrite, hint="give another name, or --overwrite")
    buffer = io.StringIO()
    writer = CsvWriter(buffer)
    writer.writerow(COLUMNS)
    for s in suspects:
        numbers = (f"{s.probability:.4f}", f"{s.score:.4f}")
        flag = "yes" if s.flagged else "no"
        writer.writerow((os.path.abspath(s.path), s.label, s.suggested, *numbers, flag, s.subset))
    try:
        write_text(out, buffer.getvalue())
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror}", hint="free some space, or give another name") from None


def _is_table(file: Path) -> bool:
    with file.open(encoding="utf-8", errors="replace") as handle:
        return handle.readline().rstrip("\n") == ",".join(COLUMNS)


def _ranked(
    names: Sequence[str],
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    rows: Mapping[str, Mapping[str, str]],
) -> list[Suspect]:
    quality = label_quality(probabilities, labels)
    likeliest = probabilities.argmax(axis=1)
    return [
        Suspect(
            path=rows[names[i]]["path"],
            label=classes[labels[i]],
            suggested=classes[likeliest[i]],
            probability=float(probabilities[i, likeliest[i]]),
            score=float(quality.scores[i]),
            flagged=bool(quality.flagged[i]),
            subset=rows[names[i]]["split"],
            sha256=names[i],
        )
        for i in quality.order().tolist()
    ]


def _confused(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], classes: Sequence[str]
) -> list[tuple[str, str, int, int]]:
    wrong = Counter(
        (min(a, b), max(a, b)) for a, b in zip(labels.tolist(), predicted.tolist(), strict=True) if a != b
    )
    sizes = np.bincount(labels, minlength=len(classes))
    return [
        (classes[a], classes[b], count, int(sizes[a] + sizes[b])) for (a, b), count in wrong.most_common(_PAIRS)
    ]


def _near_duplicates(folder: Path, rows: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str]]:
    prints = [f for f in read_fingerprints(folder) or () if f.sha256 in rows]
    pairs = ((rows[prints[a].sha256], rows[prints[b].sha256]) for a, b in near_pairs(prints))
    return [(a["path"], b["path"]) for a, b in pairs if a["label"] != b["label"]]


def _steps(flagged: int) -> list[int]:
    """Lengths of the list that its worth is given for."""
    return sorted({n for n in (10, 30, 100, 300, 1000) if n < flagged} | ({flagged} if flagged else set()))
