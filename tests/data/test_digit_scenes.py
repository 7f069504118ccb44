"""`sample:digit-scenes`: always the same, with every digit in it, and nothing but ink in a digit's class."""

import hashlib

import numpy as np

from foveal.data import list_data
from foveal.data.digit_scenes import HEIGHT, WIDTH, scenes
from foveal.data.samples import sample_names, unpack


def test_the_scenes_are_the_same_wherever_they_are_made():
    mnist = unpack("mnist")
    made = list(scenes(mnist, 12))
    again = list(scenes(mnist, 3))
    for (name, picture, mask), (same, other, twin) in zip(made, again, strict=False):
        assert name == same and picture.tobytes() == other.tobytes() and mask.tobytes() == twin.tobytes()
    masks = np.stack([np.asarray(mask) for _, _, mask in made])
    assert masks.shape == (12, HEIGHT, WIDTH) and masks.max() <= 10
    # Masks are whole numbers drawn by numpy's stable generators: one digest for all machines.
    digest = hashlib.sha256(masks.tobytes()).hexdigest()[:16]
    assert digest == "eb7d546c31b530cd"
    assert 0.03 < (masks > 0).mean() < 0.2
    assert len(set(np.unique(masks)) - {0}) >= 8


def test_the_sample_is_a_folder_of_pictures_and_masks(fresh_cache, monkeypatch):
    from foveal.data import samples

    whole = samples.write_scenes
    monkeypatch.setattr(samples, "write_scenes", lambda mnist, part: whole(mnist, part, 4))
    listing = list_data("sample:digit-scenes")
    assert listing.task == "segment" and len(listing.entries) == 4 and not listing.left_out
    assert "digit-scenes" in sample_names()
    assert unpack("digit-scenes") == unpack("digit-scenes")
