"""Masks in every form that people have them in; what is wrong with them is named, and nothing is lost."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import masked
from foveal.data.audit import audit
from foveal.data.sources.list_data import list_data
from foveal.data.sources.listing import DataOptions
from foveal.data.targets.label_map import from_colours, from_list, from_values, read_list
from foveal.data.targets.mask_files import load_mask
from foveal.data.targets.pairs import load_pairs
from foveal.errors import DataError, UnknownName, UnreadableImage
from foveal.values import LabelMap, Preprocess

BOX = Preprocess(size=64, height=48, resize="fit", interpolation="bilinear")


def codes(found):
    return {f.code: f for f in found.findings}


def reasons(found):
    return {x.path.rpartition("/")[2]: x.reason for x in found.excluded}


def test_a_clean_folder(tmp_path):
    found = audit(masked.write_pairs(tmp_path, 24))
    assert len(found.records) == 24 and not found.excluded
    assert found.classes() == {"ground": 24, "red": 24, "green": 24}
    assert found.clean, [f.message for f in found.findings]
    areas = found.records[0].mask.areas
    assert sum(areas) == 64 * 48 and areas[-1] == 3 * 48
    assert found.to_dict()["label_map"]["classes"] == masked.CLASSES


def test_what_is_wrong_is_named_and_the_rest_goes_on(tmp_path):
    masked.write_pairs(tmp_path, 20)
    images, masks = tmp_path / "images", tmp_path / "masks"
    (masks / "ax0.png").unlink()
    (images / "bx1.png").unlink()
    Image.new("L", (32, 24)).save(masks / "cx2.png")
    Image.new("L", (64, 48), 255).save(masks / "dx3.png")
    strange = np.asarray(Image.open(masks / "ex4.png")).copy()
    strange[:5] = 77
    Image.fromarray(strange).save(masks / "ex4.png")
    Image.open(masks / "fx5.png").convert("RGB").save(masks / "fx5.jpg")
    (masks / "fx5.png").unlink()
    (masks / "gx6.png").write_bytes(b"no picture")
    (tmp_path / "classes.txt").write_text("ground\nred\ngreen\nunicorn\n")
    found = audit(tmp_path)
    assert reasons(found) == {
        "ax0.png": "no_mask",
        "bx1.png": "mask_without_picture",
        "cx2.png": "mask_size",
        "dx3.png": "empty_mask",
        "fx5.png": "mask_lossy",
        "gx6.png": "mask_not_a_picture",
    }
    assert len(found.records) == 14
    told = codes(found)
    assert "unicorn" in told["class_never_present"].message
    assert "77 (320 pixels)" in told["values_no_class"].message
    assert told["values_no_class"].paths == ((str(images / "ex4.png"),),)
    assert "32 × 24" in next(x.detail for x in found.excluded if x.reason == "mask_size")


def test_given_subsets_and_a_table(tmp_path):
    whole = masked.write_pairs(tmp_path / "all", 12)
    for side, part in (("train", slice(0, 8)), ("val", slice(8, 10)), ("test", slice(10, 12))):
        for kind in ("images", "masks"):
            (tmp_path / "sides" / side / kind).mkdir(parents=True)
            for file in sorted((whole / kind).iterdir())[part]:
                shutil.copy(file, tmp_path / "sides" / side / kind)
    listing = list_data(tmp_path / "sides")
    assert listing.task == "segment"
    assert [e.split for e in sorted(listing.entries, key=lambda e: e.path)].count("train") == 8
    rows = ["image,mask,split"] + [
        f"all/images/{f.name},all/masks/{f.name},train" for f in (whole / "images").iterdir()
    ]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    table = list_data(tmp_path / "table.csv")
    assert table.task == "segment" and len(table.entries) == 12 and table.entries[0].mask.endswith(".png")
    line = json.dumps({"image": "all/images/ax0.png", "mask": ""})
    (tmp_path / "table.jsonl").write_text(line)
    with pytest.raises(DataError, match=r"table\.jsonl"):
        list_data(tmp_path / "table.jsonl")


def test_names_of_masks_may_say_more(tmp_path):
    masked.write_pairs(tmp_path, 3)
    for file in (tmp_path / "masks").iterdir():
        file.rename(file.with_name(f"{file.stem}_mask.png"))
    (tmp_path / "masks").rename(tmp_path / "annotations")
    assert len(list_data(tmp_path).entries) == 3


def test_the_task_can_be_asked_for(tmp_path, photos):
    with pytest.raises(DataError, match="segment"):
        list_data(photos, DataOptions(task="segment"))
    masked.write_pairs(tmp_path, 3)
    assert {e.label for e in list_data(tmp_path, DataOptions(task="classify")).entries} == {"images", "masks"}


def coloured(root, colours, *, mode="RGB"):
    for file in (root / "masks").iterdir():
        mask = np.asarray(Image.open(file))
        table = np.zeros((256, 3), dtype=np.uint8)
        table[: len(colours)] = colours
        if mode == "P":
            picture = Image.fromarray(mask).convert("P")
            picture.putpalette(table.ravel().tolist())
        else:
            picture = Image.fromarray(table[mask])
        picture.save(file)


COLOURS = [(10, 10, 200), (200, 0, 0), (0, 200, 0)]


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_colours_by_a_label_map_and_without(tmp_path, mode):
    masked.write_pairs(tmp_path, 20, classes=False)
    coloured(tmp_path, COLOURS, mode=mode)
    rows = [f"{n},{r},{g},{b}" for n, (r, g, b) in zip(masked.CLASSES, COLOURS, strict=True)]
    (tmp_path / "classes.csv").write_text("name,r,g,b\n" + "\n".join(rows[::-1]) + "\nvoid,0,0,0\n")
    found = audit(tmp_path)
    assert found.classes() == {"green": 20, "red": 20, "ground": 20} and len(found.records) == 20
    label_map = found.listing.target.label_map
    record = found.records[0]
    mask = load_mask(record.mask.path, label_map, record.mask.sha256)
    truth = np.asarray(masked.draw_pair([0, int(record.path.rpartition("x")[2][:-4])])[1])
    assert np.array_equal(mask, np.array([2, 1, 0] + [255] * 253, dtype=np.uint8)[truth])
    (tmp_path / "classes.csv").unlink()
    again = audit(tmp_path)
    assert len(again.classes()) == (4 if mode == "RGB" else 3)  # black is a colour like others; 255 is void


def test_a_colour_that_is_not_in_the_label_map(tmp_path):
    masked.write_pairs(tmp_path, 20, classes=False)
    coloured(tmp_path, COLOURS)
    (tmp_path / "classes.csv").write_text("name,r,g,b\nground,10,10,200\nred,200,0,0\nvoid,0,0,0\n")
    found = audit(tmp_path)
    assert "#00c800" in codes(found)["colours_not_in_legend"].message and len(found.records) == 20


def test_void_without_a_list_of_classes():
    """It was ignored without a word, or ended with a bare ValueError."""
    assert from_values([0, 1, 2, 9], "9", {}).void == (9, 255)
    for void in ("sky", "²", "-1"):
        with pytest.raises(UnknownName, match=void):
            from_values([0, 1, 2], void, {})
    label_map = from_colours([0, 0xFF0000, 0x00FF00], "#FF0000")
    assert label_map.classes == ("#000000", "#00ff00") and label_map.void_colours == ((255, 0, 0),)
    with pytest.raises(UnknownName, match="7"):
        from_colours([0, 0xFF0000, 0x00FF00], "7")


def test_foreground_as_255_is_no_void(tmp_path):
    masked.write_pairs(tmp_path, 20, classes=False)
    for file in (tmp_path / "masks").iterdir():
        Image.fromarray(np.where(np.asarray(Image.open(file)) == 1, 255, 0).astype(np.uint8)).save(file)
    assert audit(tmp_path).classes() == {"background": 20, "foreground": 20}


def test_lists_of_classes(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("sky\nroad\nvoid\n")
    assert from_list(read_list(path), None, path) == LabelMap(("sky", "road"), (0, 1), (), (2, 255))
    path.write_text("3 sky\n7 road\n9: car\n")
    assert from_list(read_list(path), "9", path) == LabelMap(("sky", "road"), (3, 7), (), (9, 255))
    assert from_list(read_list(path), "car", path).void == (9, 255)
    with pytest.raises(UnknownName, match="cat"):
        from_list(read_list(path), "cat", path)
    path.write_text("64 128 64\tAnimal\n0 0 0\tVoid\n192 0 128\tArchway\n")
    assert from_list(read_list(path), None, path).colours == ((64, 128, 64), (192, 0, 128))
    for wrong in ("a\na\n", "", "a\n", "a\nvoid\n"):
        path.write_text(wrong)
        with pytest.raises(DataError, match=r"classes\.txt"):
            from_list(read_list(path), None, path)


def test_soft_edges_are_no_classes(tmp_path):
    masked.write_pairs(tmp_path, 3, classes=False)
    for file in (tmp_path / "masks").iterdir():
        Image.fromarray(np.arange(64 * 48).reshape(48, 64).astype(np.uint8)).save(file)
    with pytest.raises(DataError, match="255"):
        audit(tmp_path)


def test_pairs_share_their_geometry(tmp_path):
    masked.write_pairs(tmp_path, 2)
    picture, mask = masked.draw_pair([0, 0], (128, 96))  # twice as large: comes to the box
    picture.save(tmp_path / "images" / "ax0.png")
    mask.save(tmp_path / "masks" / "ax0.png")
    Image.new("RGB", (20, 40), (0, 255, 0)).save(tmp_path / "images" / "bx1.png")
    Image.new("L", (20, 40), 2).save(tmp_path / "masks" / "bx1.png")
    found = audit(tmp_path)
    assert "sizes_differ" in codes(found)
    label_map = found.listing.target.label_map
    pixels, masks = load_pairs(found.records, BOX, label_map)
    assert pixels.shape == (2, 3, 48, 64) and masks.shape == (2, 48, 64)
    assert (
        np.array_equal(masks[0], np.asarray(mask)[1::2, 1::2])
        or (masks[0] == np.asarray(mask)[::2, ::2]).mean() > 0.9
    )
    assert (masks[1, :, :24] == 2).all() and (masks[1, :, 24:] == 255).all()
    assert (pixels[1, 1, :, :24] == 255).all() and (pixels[1, :, :, 24:] == 255).all()
    from dataclasses import replace

    _, small = load_pairs(found.records, replace(BOX, scale=1.0), label_map)
    assert (small[1, :40, :20] == 2).all() and (small[1, 40:] == 255).all()  # smaller ones keep their size
    (tmp_path / "masks" / "ax0.png").write_bytes((tmp_path / "masks" / "bx1.png").read_bytes())
    with pytest.raises(DataError, match=r"masks/ax0\.png"):
        load_pairs(found.records, BOX, label_map)


def test_a_mask_that_changed_is_refused(tmp_path):
    masked.write_pairs(tmp_path, 1)
    with pytest.raises(UnreadableImage) as caught:
        load_mask(str(tmp_path / "masks" / "ax0.png"), LabelMap(("a", "b"), (0, 1)), "0" * 64)
    assert caught.value.code == "mask_changed"


def test_a_class_without_a_name_is_refused(tmp_path):
    (tmp_path / "classes.csv").write_text("name,value\nroad,0\n,1\n")
    with pytest.raises(DataError, match=r"classes\.csv") as refused:
        read_list(tmp_path / "classes.csv")
    assert refused.value.hint
