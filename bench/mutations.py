"""Edits and damage: what foveal reads back from disk is refused, made again, or gives the same answer.

    uv run python bench/mutations.py --edits 20000 --flips 2000

A small run is trained. Then, in this process:

- *edits* replace, add, swap or remove a value in the JSON of its bundle, of the bundle that ships, or of its run
  folder. As they are, they must be refused. Signed again, so that only types and ranges can refuse them, they may
  change the answer: within its range a value is a model's own. Neither may raise anything but foveal's own errors,
  nor answer NaN.
- *flips* change one bit of a file of the bundle, the run folder or the cache. The file is refused, or made again, or
  gives the same answer.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file

from common import Results
from foveal.config import TrainConfig
from foveal.data.audit.scan import ScanOptions, scan
from foveal.data.sources.list_data import list_data
from foveal.data.targets.labels import Labels
from foveal.engines.model_cache import is_intact
from foveal.errors import FovealError
from foveal.evaluation.run_images import test_rows
from foveal.features.cache import FeatureCache
from foveal.files import sha256_of
from foveal.flow import train
from foveal.inference.bundle import Bundle, backbone_of, load_bundle, save_bundle
from foveal.inference.classifier import ClassificationPredictor
from foveal.run_folder import repeated
from foveal.schema import read_cached, signed

#: Values of every kind, and of every size but those that would only ask for much memory.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, -1, -5, 255, 256, 100_000, 10**9, 2**63, 10**30),
    *(0.0, 0.5, 1.0, -1.0, 1e-320, 1e-9, 1e6, 1e308, math.nan, math.inf, -math.inf),
    *("", "0", "x", "pid", "crop", "digit", "fit", "segment", "mirror", "../../x", "\x00", "\ud800", "a" * 5000),
    *([], [[]], [0], ["x", "x"], {}, {"": None}),
)
#: What an answer may differ by and count as the same: other batches add up in another order.
TOLERANCE = 1e-5
Answer = NDArray[np.float32]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from places(item, (*path, key))


def edited(values: Any, draw: random.Random) -> Any:
    """A copy with one random edit."""
    copy = json.loads(json.dumps(values))
    paths = list(places(copy))
    *way, last = draw.choice(paths)
    owner = at(copy, way)
    how = draw.choice(("replace", "replace", "replace", "near", "near", "remove", "add", "swap", "deep"))
    if how == "remove":
        del owner[last]
    elif how == "add":
        new = draw.choice(VALUES)
        owner.insert(last, new) if isinstance(owner, list) else owner.update(
            {draw.choice(("x", "legend", "")): new}
        )
    elif how == "swap":
        owner[last] = json.loads(json.dumps(at(copy, draw.choice(paths))))
    elif how == "deep":
        owner[last] = deep(draw.choice((10, 300, 900)))
    else:
        owner[last] = near(owner[last], draw) if how == "near" else draw.choice(VALUES)
    return copy


def at(value: Any, path: Any) -> Any:
    """The value at a path."""
    for key in path:
        value = value[key]
    return value


def deep(levels: int) -> list[Any]:
    """A list in a list in a list."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def near(value: Any, draw: random.Random) -> Any:
    """A value of the same type, not far from this one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return draw.choice((value + 1, value - 1, -value, value * 2, float(value), str(value)))
    if isinstance(value, float):
        return draw.choice((value * 1.01, -value, value + 1, value / 3, math.nextafter(value, 9e9), str(value)))
    if isinstance(value, str) and value:
        place = draw.randrange(len(value))
        return value[:place] + draw.choice("abcxyz019 ") + value[place + 1 :]
    if isinstance(value, list):
        return draw.choice((value[::-1], value[1:], value + value[:1], {str(i): v for i, v in enumerate(value)}))
    return list(value.items()) if isinstance(value, dict) else draw.choice(VALUES)


class Subject:
    """A trained run and the bundle that ships, with their answers on a few images.

    Args:
        folder: to work in.
        classes, each: how many classes of how many images.
    """

    def __init__(self, folder: Path, classes: int = 3, each: int = 12) -> None:
        self.folder, noise = folder, np.random.default_rng(0)
        for c in range(classes):
            (folder / "data" / f"class {c}").mkdir(parents=True)
            for i in range(each):
                pixels = noise.integers(0, 60, (40, 48, 3)) + np.roll((190, 60, 20), c)
                Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(
                    folder / "data" / f"class {c}" / f"{i}.png"
                )
        self.run, _ = train(folder / "data", TrainConfig(strategy="frozen", time="10m"), out=str(folder / "run"))
        self.digits = folder / "digits"
        save_bundle(load_bundle("model:mnist"), self.digits)
        self.images = [Image.open(f).convert("RGB") for f in sorted((folder / "data").rglob("0.png"))]
        self._features: dict[str, Answer] = {}
        self.bundles = {"bundle": self.run / "model", "shipped bundle": self.digits}
        self.answers = {name: self.answer(path) for name, path in self.bundles.items()}

    def answer(self, path: Path) -> Answer:
        """Probabilities of the images by a bundle, `(N, K)`. Features of one preprocessing are computed once."""
        bundle = load_bundle(path)
        if bundle.manifest.network is not None:
            return ClassificationPredictor(bundle).probabilities(self.images)
        return bundle.probabilities(self._views(bundle))[0]

    def _views(self, bundle: Bundle) -> Answer:
        width = backbone_of(bundle) and bundle.head.weight.shape[1]
        key = json.dumps([bundle.manifest.preprocess.to_dict(), bundle.manifest.views, width])
        if key not in self._features:
            taken: list[Answer] = []

            class Listening(Bundle):
                """Takes down what the engine computed."""

                def probabilities(self, views: Answer) -> tuple[Answer, Answer]:
                    """See `Bundle`."""
                    taken.append(views)
                    return super().probabilities(views)

            predictor = ClassificationPredictor(Listening(bundle.manifest, bundle.tensors), precision="fp32")
            predictor.probabilities(self.images)
            self._features[key] = np.concatenate(taken, axis=1)
        return self._features[key]

    def read_run(self) -> Any:
        """All that a replay and an evaluation read of the run folder."""
        start = repeated(self.run)
        data = start.dataset
        assert data is not None
        dataset = data.name, data.root, data.images, data.findings, data.split, data.target.to_dict()
        return start.config.to_dict(), start.data, start.decisions.made, dataset, start.audit, self.held_out()

    def held_out(self) -> list[dict[str, str]]:
        """The rows that an evaluation reads."""
        return test_rows(self.run)


def judged(answer: Callable[[], Any], expected: Any) -> str:
    """`refused`, `same`, `changed`, or what went wrong."""
    try:
        found = answer()
    except FovealError:
        return "refused"
    except Exception as error:
        return f"uncaught {type(error).__name__}: {str(error)[:200]}"
    if isinstance(found, np.ndarray):
        if not np.isfinite(found).all():
            return "not a number"
        same = found.shape == expected.shape and np.abs(found - expected).max() <= TOLERANCE
        return "same" if same else "changed"
    return "same" if found == expected else "changed"


def edits(subject: Subject, count: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Random edits of JSON; returns how often each came to what, and a line for each that should not have."""
    draw, counts, wrong = random.Random(seed), Counter[str](), []
    run = subject.read_run()
    targets: list[tuple[str, Path, Callable[[], Any], Any, float]] = [
        (name, path / "bundle.json", lambda path=path: subject.answer(path), subject.answers[name], 0.35)  # type: ignore[misc]
        for name, path in subject.bundles.items()
    ]
    targets += [(n, subject.run / n, subject.read_run, run, 0.15) for n in ("config.json", "audit.json")]
    for number in range(count):
        name, file, answer, expected, _ = draw.choices(targets, [t[-1] for t in targets])[0]
        content = file.read_text()
        sign = draw.random() < 0.5 and name != "audit.json"
        values = edited(json.loads(content), draw)
        if sign:
            try:
                values = signed(values)
            except RecursionError:  # nested too deeply to be signed
                sign = False
        file.write_text(json.dumps(values))
        try:
            outcome = judged(answer, expected)
        finally:
            file.write_text(content)
        counts[f"{name}, {'signed' if sign else 'edited'}: {outcome.split(':')[0]}"] += 1
        if outcome not in ("refused", "same") and not (sign and outcome == "changed"):
            wrong.append(
                f"edit {number} of {name}{' (signed)' if sign else ''}: {outcome}: {_difference(content, values)}"
            )
    return counts, wrong


def _difference(content: str, values: Any) -> str:
    """The first place where an edit differs."""
    before = json.loads(content)
    for path in places(before):
        try:
            if at(values, path) != at(before, path) and not isinstance(at(before, path), dict | list):
                return f"{path}: {str(at(values, path))[:80]!r}"
        except (KeyError, IndexError, TypeError):
            return f"{path} is gone"
    return "something new"


def flips(subject: Subject, count: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Random bit flips in files; returns how often each came to what, and a line for each that should not have."""
    draw, counts, wrong = random.Random(seed), Counter[str](), []
    checks = list(_checks(subject))
    for number in range(count):
        name, file, answer, expected = draw.choice(checks)
        content = file.read_bytes()
        damaged = bytearray(content)
        place = draw.randrange(8 * len(content))
        damaged[place // 8] ^= 1 << (place % 8)
        file.write_bytes(damaged)
        try:
            outcome = judged(answer, expected)
        finally:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        counts[f"{name}: {outcome.split(':')[0]}"] += 1
        if outcome not in ("refused", "same"):
            wrong.append(f"flip {number} of bit {place} of {file.name}: {outcome}")
    return counts, wrong


def _checks(subject: Subject) -> Iterator[tuple[str, Path, Callable[[], Any], Any]]:
    """Each file, with what reads it and what that gives of the whole file."""
    for name, path in subject.bundles.items():
        for file in ("bundle.json", "weights.safetensors"):
            yield f"{name}/{file}", path / file, lambda path=path: subject.answer(path), subject.answers[name]  # type: ignore[misc]
    run = subject.read_run()
    for file in ("config.json", "audit.json", "split.csv"):
        yield file, subject.run / file, subject.read_run, run
    yield from _cache_checks(Path(os.environ["FOVEAL_CACHE"]), subject.folder / "data")


def _cache_checks(cache: Path, data: Path) -> Iterator[tuple[str, Path, Callable[[], Any], Any]]:
    """What is kept is given back whole, or not at all."""
    for shard in cache.glob("features/*/*.safetensors"):
        yield "features", shard, _features_are_whole(shard), True
    for file in cache.glob("*.json"):
        yield file.name, file, _is_whole(lambda file=file: read_cached(file, dict[str, Any])), True  # type: ignore[misc]
    for file in cache.glob("models/*/*"):
        yield f"models/{file.name}", file, _is_whole(lambda folder=file.parent: _model(folder)), True  # type: ignore[misc]
    entries = list_data(data).entries
    records = scan(entries, Labels(), ScanOptions(cache=True))
    yield (
        "measured.sqlite3",
        cache / "measured.sqlite3",
        lambda: scan(entries, Labels(), ScanOptions(cache=True)),
        records,
    )


def _features_are_whole(shard: Path) -> Callable[[], bool]:
    space = FeatureCache("")
    space.folder = shard.parent
    names = [bytes(row).hex() for row in load_file(shard)["sha256"]]
    whole = space.load(names)
    return lambda: all(np.array_equal(row, whole[name]) for name, row in space.load(names).items())


def _is_whole(read: Callable[[], Any]) -> Callable[[], bool]:
    whole = read()
    return lambda: read() in (None, whole)


def _model(folder: Path) -> list[str] | None:
    """The hashes of a converted model's files; None when it will be converted again."""
    return [sha256_of(f) for f in sorted(folder.glob("*.[xb]*"))] if is_intact(folder) else None


def whole_runs(subject: Subject, count: int, seed: int = 0) -> list[str]:
    """Trainings over a damaged cache; a line for each that ended in other weights."""
    draw, wrong = random.Random(seed), []
    expected = (subject.run / "model" / "weights.safetensors").read_bytes()
    for number in range(count):
        file = draw.choice(sorted(f for f in Path(os.environ["FOVEAL_CACHE"]).rglob("*") if f.is_file()))
        damaged = bytearray(file.read_bytes())
        for _ in range(3):
            place = draw.randrange(8 * len(damaged))
            damaged[place // 8] ^= 1 << (place % 8)
        file.write_bytes(damaged)
        run, _ = train(
            subject.folder / "data",
            TrainConfig(strategy="frozen", time="10m"),
            out=str(subject.folder / f"{number}"),
        )
        if (run / "model" / "weights.safetensors").read_bytes() != expected:
            wrong.append(f"other weights over a damaged {file.name}")
        shutil.rmtree(run)
    return wrong


def main() -> None:
    """Train, edit, flip, and keep the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=20_000)
    parser.add_argument("--flips", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=20, help="trainings over a damaged cache")
    arguments = parser.parse_args()
    results = Results("mutations")
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"FOVEAL_CACHE": f"{folder}/cache", "FOVEAL_STATE": f"{folder}/state"}
        began, subject = time.monotonic(), Subject(Path(folder))
        edit_counts, wrong = edits(subject, arguments.edits)
        flip_counts, wrong_flips = flips(subject, arguments.flips)
        wrong += wrong_flips + whole_runs(subject, arguments.runs)
        results.rows = [r for r in results.rows if r.get("edits") != arguments.edits]
        results.add(
            edits=arguments.edits,
            flips=arguments.flips,
            runs=arguments.runs,
            seconds=round(time.monotonic() - began),
            wrong=wrong,
            outcomes=dict(sorted((edit_counts + flip_counts).items())),
        )
    words = f"{arguments.edits} edits, {arguments.flips} flipped bits, {arguments.runs} runs over a damaged cache"
    results.save(lines={f"{words}: wrong answers or uncaught errors": str(len(wrong))})
    if wrong:
        raise SystemExit("\n".join(wrong[:50]))


if __name__ == "__main__":
    main()
