"""No image that a model was trained on is evaluated, none is left out without a reason, and the counts add up."""

import csv
import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foveal.config import TrainConfig
from foveal.data.sources.listing import Listing
from foveal.data.split.fingerprints import FILE_NAME, Fingerprint
from foveal.data.targets.labels import Labels
from foveal.errors import DataError
from foveal.evaluation.evaluate_classifier import evaluate_labels
from foveal.evaluation.run_images import RunImages, images_of
from foveal.evaluation.unseen import in_test_subset, select
from foveal.flow import train
from foveal.values import Entry, Excluded
from pictures import make_folder, record

#: Images 0-3 were trained on, 4-5 validated, 6-8 tested, 9-11 excluded; 12-19 are new, 18 and 19 nearly 0 and 4.
ALL = [record(i) for i in range(20)]
for new, old in ((18, 0), (19, 4)):
    ALL[new] = replace(ALL[new], phash=ALL[old].phash ^ 3, thumb=ALL[old].thumb)
SUBSETS = {ALL[i].sha256: "train" if i < 4 else "val" if i < 6 else "test" for i in range(9)}
RUN = RunImages(
    SUBSETS,
    {ALL[i].sha256: "conflicting_labels: the same image has two labels" for i in range(9, 12)},
    [Fingerprint(r.sha256, r.phash, r.thumb) for r in ALL[:6]],
)
#: The same run, when the images that it tested were learned from as well.
REFITTED = replace(
    RUN,
    seen=[Fingerprint(r.sha256, r.phash, r.thumb) for r in ALL[:9]],
    learned_from=("train", "val", "test"),
)


@given(
    st.lists(
        st.tuples(st.integers(0, 19), st.sampled_from("aab"), st.sampled_from([None, None, "train", "test"]))
    ),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_images_named_are_evaluated_or_left_out_with_a_reason(drawn, unread, include_seen, bundle_alone, refitted):
    listing = Listing("x", "/p", Labels(), excluded=[Excluded("/p/a.txt", "not_a_picture", "by its name")])
    listing.entries = [Entry(f"/p/{k}", label, split) for k, (_, label, split) in enumerate(drawn)]
    content = {f"/p/{k}": n for k, (n, _, _) in enumerate(drawn)}
    entries, excluded, _ = in_test_subset(listing)
    gone, there = entries[:unread], entries[unread:]
    records = [replace(ALL[content[e.path]], path=e.path, label=e.label) for e in there]
    refused = [Excluded(e.path, "broken", "so") for e in gone]
    run = None if bundle_alone else REFITTED if refitted else RUN
    found = select(listing, records, [*excluded, *refused], run, Labels(), include_seen=include_seen)

    named = sorted(["/p/a.txt", *(e.path for e in listing.entries)])
    assert sorted([r.path for r in found.records] + [x.path for x in found.excluded]) == named
    assert found.images == len(named) == len(found.records) + sum(found.to_dict()["left_out_counts"].values())
    assert all(x.reason and x.detail for x in found.excluded)
    kept = [content[r.path] for r in found.records]
    assert len(set(kept)) == len(kept)
    if any(e.split == "test" for e in listing.entries):
        assert all(e.split == "test" for e in listing.entries if e.path in {r.path for r in found.records})
    labels = {n: {r.label for r in records if content[r.path] == n} for n in kept}
    assert all(len(those) == 1 for those in labels.values())
    seen = {*range(9 if refitted else 6), 18, 19}
    if not include_seen and not bundle_alone:
        assert not {*kept} & {*seen, 9, 10, 11}
    assert found.seen == (0 if bundle_alone else len({*kept} & seen))
    right = {r.path for r in records} - {x.path for x in found.excluded}
    usable = {content[e.path] for e in there} - {content[x.path] for x in found.excluded if "label" in x.reason}
    if not include_seen and not bundle_alone:
        usable -= {*seen, 9, 10, 11}
    assert {content[path] for path in right} == usable


def reasons(found):
    assert found["images"] == found["test"]["n"] + len(found["left_out"])
    assert sum(found["left_out_counts"].values()) == len(found["left_out"])
    return found["left_out_counts"]


def rows_of(run):
    with (run / "split.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture
def new(tmp_path):
    """Images that the run has never seen."""
    return make_folder(tmp_path / "new", {"ant": 5, "bee": 5, "cat": 5}, seed=77)


def test_images_that_the_run_had_no_time_for_are_new_to_it(trained, new, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "in a hurry")
    (run / "config.json").unlink()  # it has the hash of the file that is changed here
    late, broken = sorted(new.glob("*/*"))[:2]
    with (run / "split.csv").open("a", newline="") as file:
        for path, note in ((late, "no_time: the run ended before its turn"), (broken, "conflicting_labels: two")):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            csv.writer(file).writerow([path, digest, "ant", "", "", note])
    excluded = images_of(run).excluded
    assert hashlib.sha256(late.read_bytes()).hexdigest() not in excluded
    assert hashlib.sha256(broken.read_bytes()).hexdigest() in excluded


@pytest.fixture
def measured_only(trained, tmp_path):
    """A run as `--no-refit` leaves it."""
    run = shutil.copytree(trained[0], tmp_path / "measured only")
    shutil.rmtree(run / "model")
    (run / "measured").rename(run / "model")
    return run


def test_on_its_own_data_a_run_is_evaluated_on_its_test_subset(photos, trained, measured_only):
    summary = trained[1]
    for model in (measured_only, trained[0] / "measured"):
        found = evaluate_labels(model, photos)
        assert found["test"] == evaluate_labels(measured_only)["test"] and found["seen"] == 0
        assert reasons(found) == {"seen_in_training": summary["split"]["train"] + summary["split"]["val"]}
        counted = evaluate_labels(model, photos, include_seen=True)
        assert (counted["test"]["n"], counted["seen"]) == (120, reasons(found)["seen_in_training"])


def test_a_refitted_model_is_evaluated_on_nothing_of_its_run_and_the_measured_one_on_the_test_subset(
    photos, trained, new, measured_only
):
    run, summary = trained
    with pytest.raises(DataError, match="120 seen_in_training"):
        evaluate_labels(run, photos)
    assert evaluate_labels(run, photos, include_seen=True)["seen"] == 120
    held_out = [Path(row["path"]) for row in rows_of(run) if row["split"] == "test"]
    for file in held_out[:3]:
        shutil.copy(file, new / file.parent.name / f"tested {file.name}")
    found = evaluate_labels(run, new)
    assert found["test"]["n"] == 15 and reasons(found) == {"seen_in_training": 3}
    assert "refitted_on_test_subset" in {f["code"] for f in found["findings"]}
    assert evaluate_labels(measured_only, new)["test"]["n"] == 18
    again = evaluate_labels(run)["test"]
    for figure in ("n", "accuracy", "macro_f1", "confusion"):
        assert again[figure] == summary["test"][figure]
    assert again["log_loss"] == pytest.approx(summary["test"]["log_loss"], abs=1e-6)
    assert again == evaluate_labels(measured_only)["test"]


def test_near_duplicates_of_training_images_are_recognised_when_their_files_are_gone(trained, new):
    """Resized, under other names, in another format: from a copy of the run folder alone."""
    run = trained[0]
    learned = [row for row in rows_of(run) if row["split"] == "train"][:4]
    for i, row in enumerate(learned):
        with Image.open(row["path"]) as image:
            smaller = image.convert("RGB").resize((image.width * 3 // 4, image.height * 3 // 4))
        smaller.save(new / row["label"] / f"saved again {i}.png")
    held_out = next(row for row in rows_of(run) if row["split"] == "test")
    shutil.copy(held_out["path"], new / held_out["label"] / "tested.jpg")
    found = evaluate_labels(run, new)
    assert reasons(found) == {"near_duplicate_of_training": 4, "seen_in_training": 1} and found["test"]["n"] == 15
    assert evaluate_labels(run, new, include_seen=True)["seen"] == 5


def test_without_fingerprints_exact_copies_are_recognised_and_that_is_said(trained, photos, new, tmp_path):
    copy = shutil.copytree(trained[0], tmp_path / "run")
    (copy / FILE_NAME).unlink()
    shutil.copy(next(r["path"] for r in rows_of(copy) if r["split"] == "val"), new / "ant" / "copy.jpg")
    found = evaluate_labels(copy, new)
    assert reasons(found) == {"seen_in_training": 1}
    assert "near_duplicates_not_checked" in {f["code"] for f in found["findings"]}


def test_a_bundle_alone_says_that_it_can_not_tell(trained, photos, tmp_path):
    bundle = shutil.copytree(trained[0] / "model", tmp_path / "bundle")
    found = evaluate_labels(bundle, photos)
    assert found["test"]["n"] == 120 and "training_images_unknown" in {f["code"] for f in found["findings"]}
    with pytest.raises(DataError, match="seen_in_training"):  # in its run folder, which knows
        evaluate_labels(trained[0] / "model", photos)


def test_conflicts_copies_and_unknown_classes(trained, new):
    shutil.copy(new / "ant" / "000.jpg", new / "bee" / "torn.jpg")
    shutil.copy(new / "cat" / "001.jpg", new / "cat" / "copy.jpg")
    make_folder(new, {"dog": 2}, seed=78)
    (new / "ant" / "words.jpg").write_bytes(b"words")
    found = evaluate_labels(trained[0], new)
    counts = reasons(found)
    assert counts["conflicting_labels"] == 2 and counts["duplicate"] == 1 and counts["not_a_picture"] == 1
    assert found["test"]["n"] == 14 and counts["unknown_label"] == 2 and len(counts) == 4


@pytest.mark.parametrize("form", ["column", "folders"])
def test_where_data_has_a_test_subset_it_alone_is_evaluated(trained, new, tmp_path, form):
    files = sorted(new.rglob("*.*"))
    if form == "column":
        data = tmp_path / "data.csv"
        rows = [f"{f},{f.parent.name},{'test' if i % 3 == 0 else 'train'}" for i, f in enumerate(files)]
        data.write_text("\n".join(["path,label,split", *rows]))
    else:
        data = tmp_path / "data"
        for i, f in enumerate(files):
            place = data / ("test" if i % 3 == 0 else "train") / f.parent.name
            place.mkdir(parents=True, exist_ok=True)
            os.link(f, place / f.name)
    found = evaluate_labels(trained[0], data)
    assert reasons(found) == {"not_in_test_subset": 10} and found["test"]["n"] == 5
    assert "test_subset_alone" in {f["code"] for f in found["findings"]}


def test_nothing_left_is_an_error_that_says_why(trained, photos, tmp_path):
    data = tmp_path / "data"
    for row in rows_of(trained[0]):
        if row["split"] == "train":
            (data / row["label"]).mkdir(parents=True, exist_ok=True)
            shutil.copy(row["path"], data / row["label"])
    with pytest.raises(DataError, match="seen_in_training") as caught:
        evaluate_labels(trained[0], data)
    assert "--include-seen" in caught.value.hint


@pytest.mark.parametrize("content", ["", "path,split\na,test\n", "path,sha256,label,split,group,note\na,b\n"])
def test_a_damaged_split_is_a_data_error(trained, photos, tmp_path, content):
    copy = shutil.copytree(trained[0], tmp_path / "run")
    (copy / "split.csv").write_text(content)
    if content:
        with pytest.raises(DataError, match=r"split\.csv"):
            images_of(copy)
    with pytest.raises(DataError):
        evaluate_labels(copy)


def test_other_data_are_read_as_the_run_read_its_own(photos, tmp_path):
    """Its limit on pixels holds, and its labels in file names; class folders are known without them."""
    names = tmp_path / "names"
    names.mkdir()
    for file in photos.rglob("*.*"):
        shutil.copy(file, names / f"{file.parent.name}-{file.name}")
    settings = TrainConfig(strategy="frozen", test="subset", label_from=r"([a-z]+)-[^/]*$", max_pixels=74 * 57)
    run, _ = train(names, settings, out=str(tmp_path / "run"))
    other = tmp_path / "other"
    make_folder(other / "folders", {"ant": 3, "bee": 3}, seed=79)
    make_folder(other / "folders", {"cat": 2}, seed=80, size=(90, 70))
    (other / "flat").mkdir()
    for file in (other / "folders").rglob("*.*"):
        shutil.copy(file, other / "flat" / f"{file.parent.name}-{file.name}")
    for folder in ("folders", "flat"):
        found = evaluate_labels(run, other / folder)
        assert found["test"]["n"] == 6 and reasons(found) == {"too_many_pixels": 2}, folder
