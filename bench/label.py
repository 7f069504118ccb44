"""How much does a person have to do until a folder is labelled? A scripted one, over the HTTP API of the page.

    uv run python bench/label.py --data NAME=FOLDER [--data …] [--most ACTIONS] [--read-first]

FOLDER has a folder for each class; `label` does not use these names. The person looks at each group, gives the selected
images the label that most images of the group have, and corrects the selection before: each image that is selected or
deselected is an action, as are naming, splitting and undoing. A group without a majority is split. After a third of the
images the process is killed (SIGKILL) and started again. `images_per_action` and `accuracy` are about the CSV at the
end; `first_group_s` counts from the start of the process.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from common import Results, spread
from foveal.data.sources.samples import unpack

#: Groups with a smaller majority are split, when they are larger than a few images.
_MAJORITY, _FEW = 0.6, 6
#: Rows of the CSV are compared with the names of folders.
_READ_TIMEOUT = 900


class Labelling:
    """`foveal label` in a process of its own."""

    def __init__(self, folder: Path, table: Path) -> None:
        self.began = time.monotonic()
        command = [
            sys.executable,
            "-m",
            "foveal",
            "label",
            str(folder),
            "--out",
            str(table),
            "--json",
            "--port",
            "0",
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        printed = ""
        while not printed.rstrip().endswith("}"):
            line = self._process.stdout.readline()
            if not line:
                raise SystemExit("foveal label ended early")
            printed += line
        said = json.loads(printed)
        token = {"Authorization": f"Bearer {said['token']}"}
        self.client = httpx.Client(base_url=said["url"], headers=token, timeout=60, trust_env=False)
        self.seconds: list[float] = []

    def show(self) -> dict[str, Any]:
        """The first group."""
        return self._timed(lambda: self.client.get("/v1/label"))

    def act(self, **action: Any) -> dict[str, Any]:
        """An action; what is shown next."""
        return self._timed(lambda: self.client.post("/v1/label/actions", json=action))

    def _timed(self, ask: Any) -> dict[str, Any]:
        began = time.monotonic()
        answer = ask()
        self.seconds.append(time.monotonic() - began)
        answer.raise_for_status()
        shown: dict[str, Any] = answer.json()
        return shown

    def first(self) -> tuple[dict[str, Any], float]:
        """The first group that there is, and seconds since the process was started."""
        while not (shown := self.show())["current"]:
            if not shown["progress"]["reading"]:
                raise SystemExit("there is no group")
            time.sleep(0.1)
        return shown, time.monotonic() - self.began

    def read(self) -> float:
        """Wait until all images are there; seconds since the process was started."""
        while self.show()["progress"]["reading"]:
            time.sleep(0.5)
            if time.monotonic() - self.began > _READ_TIMEOUT:
                raise SystemExit("images are not read in time")
        return time.monotonic() - self.began

    def end(self, number: int) -> None:
        """End it by a signal."""
        self._process.send_signal(number)
        self._process.wait()
        self.client.close()


def truth(name: str) -> str:
    """The class of an image, by its path below the folder."""
    return name.split("/")[0]


def one_group(labelling: Labelling, shown: dict[str, Any], actions: Counter[str]) -> dict[str, Any]:
    """Label the group that is shown, or split it."""
    current = shown["current"]
    images, proposal = current["images"], current["group"]["proposal"]
    label, most = Counter(truth(image["name"]) for image in images).most_common(1)[0]
    wanted = [truth(image["name"]) == label for image in images]
    corrected = sum(image["selected"] != right for image, right in zip(images, wanted, strict=True))
    corrected = min(
        corrected, 1 + wanted.count(False), 1 + wanted.count(True)
    )  # all or none can be selected at once
    if most < _MAJORITY * len(images) and len(images) > _FEW and corrected > _FEW // 2:
        actions["split"] += 1
        return labelling.act(do="split", group=current["group"]["name"])
    actions["corrected"] += corrected
    actions["accepted" if label == proposal else "named"] += 1
    numbers = [image["image"] for image in images]
    return labelling.act(
        do="label",
        label=label,
        images=[n for n, right in zip(numbers, wanted, strict=True) if right],
        others=[n for n, right in zip(numbers, wanted, strict=True) if not right],
    )


def measured(folder: Path, most: int, *, read_first: bool) -> dict[str, Any]:
    """One session, with a kill in it when a third is labelled."""
    with tempfile.TemporaryDirectory() as place:
        table = Path(place) / "labels.csv"
        labelling = Labelling(folder, table)
        actions: Counter[str] = Counter()
        shown, first_group = labelling.first()
        killed, kept, read_s = False, None, 0.0
        if read_first:
            read_s = labelling.read()
            shown, labelling.seconds = labelling.show(), []
        while shown["current"] and sum(actions.values()) < most:
            shown = one_group(labelling, shown, actions)
            if not shown["current"] and shown["progress"]["reading"]:
                shown = labelling.first()[0]
            progress = shown["progress"]
            if not killed and 3 * progress["labelled"] > progress["files"]:
                read_s = labelling.read()
                before = labelling.show()["progress"]
                labelling.end(signal.SIGKILL)
                again = Labelling(folder, table)
                again.read()
                shown = again.show()
                kept = all(shown["progress"][k] == before[k] for k in ("classes", "labelled", "undo", "groups"))
                again.seconds, killed, labelling = labelling.seconds, True, again
        labelling.end(signal.SIGTERM)
        with table.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
            rows = list(csv.DictReader(lines))
    right = sum(row["label"] == truth(os.path.relpath(row["path"], folder)) for row in rows)
    slowest = sorted(labelling.seconds)
    return {
        "images": shown["progress"]["files"],
        "labelled": len(rows),
        "accuracy": right / max(1, len(rows)),
        "actions": sum(actions.values()),
        "kinds": dict(actions),
        "images_per_action": len(rows) / max(1, sum(actions.values())),
        "first_group_s": first_group,
        "read_s": read_s,
        "kept_after_kill": kept,
        "request_s": spread(slowest),
        "request_p99_s": slowest[int(0.99 * (len(slowest) - 1))],
    }


def main() -> None:
    """A row for each folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--most", type=int, default=10**6, help="actions after which the person stops")
    parser.add_argument("--read-first", action="store_true", help="act when all images are there")
    given = parser.parse_args()
    results = Results("label")
    for named in given.data:
        name, _, folder = named.partition("=")
        place = unpack(folder.removeprefix("sample:")) if folder.startswith("sample:") else Path(folder)
        results.add(data=name, **measured(place.resolve(), given.most, read_first=given.read_first))
    rows = {row["data"]: row for row in results.rows}
    results.save(
        summary={name: {k: row[k] for k in ("accuracy", "images_per_action")} for name, row in rows.items()}
    )


if __name__ == "__main__":
    main()
