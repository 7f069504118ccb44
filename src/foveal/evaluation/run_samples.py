"""A few images of a run with what was predicted for them, for a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from foveal.data.images.decode import quiet
from foveal.data.split.held_out import Probabilities, read_held_out
from foveal.data.split.split_csv import read_rows
from foveal.evaluation.thumbnails import thumbnail
from foveal.values import SUBSETS

#: Images that are shown, and how many of them may be mistakes.
_SHOWN, _MISTAKES = 12, 4
_SIDE = 112

Row = Mapping[str, str]


@dataclass(frozen=True)
class Sample:
    """An image of the test subset or, where that is empty, of another one.

    Attributes:
        image: a data URI.
        label: its own; of masks the name of the file.
        prediction, probability: of the measured model; None where the run kept none.
    """

    image: str
    label: str
    prediction: str | None = None
    probability: float | None = None


def samples_of(run: Path, classes: Sequence[str]) -> list[Sample]:
    """The most confident mistakes, then images of all classes in turn; those whose files are gone are left out.

    Args:
        run: a run folder.
        classes: K names.

    Raises:
        DataError: when a file of the run is damaged.
    """
    if not (run / "split.csv").is_file():
        return []
    rows = [row for row in read_rows(run / "split.csv") if row["split"] in SUBSETS]
    rows = [row for row in rows if row["split"] == "test"] or rows
    held_out = read_held_out(run, classes)
    predictions = held_out.test.rows() if held_out is not None else {}
    found: list[Sample] = []
    with quiet():
        for row in _in_order(rows, predictions, classes):
            if (image := thumbnail(row["path"], _SIDE)) is not None:
                p = predictions.get(row["sha256"])
                label = row["label"] or Path(row["path"]).name
                found.append(
                    Sample(image, label)
                    if p is None
                    else Sample(image, label, _predicted(p, classes), float(p.max()))
                )
            if len(found) == _SHOWN:
                break
    return found


def _in_order(
    rows: Sequence[Row], predictions: Mapping[str, Probabilities], classes: Sequence[str]
) -> Iterator[Row]:
    def confidence(row: Row) -> float:
        return float(predictions[row["sha256"]].max())

    known = [row for row in rows if row["sha256"] in predictions]
    wrong = [row for row in known if _predicted(predictions[row["sha256"]], classes) != row["label"]]
    wrong = sorted(wrong, key=confidence, reverse=True)[:_MISTAKES]
    yield from wrong
    taken = {row["sha256"] for row in wrong}
    by_label: dict[str, list[Row]] = {}
    for row in rows:
        if row["sha256"] not in taken:
            by_label.setdefault(row["label"], []).append(row)
    while by_label:
        for label in list(by_label):
            yield by_label[label].pop(0)
            if not by_label[label]:
                del by_label[label]


def _predicted(probabilities: Probabilities, classes: Sequence[str]) -> str:
    return classes[int(probabilities.argmax())]
