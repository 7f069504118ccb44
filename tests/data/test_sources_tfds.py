"""Data sets of TensorFlow Datasets, by a builder that is made here: read without TensorFlow."""

import io
from pathlib import Path

import pytest

from foveal.data.images.decode import decode, read_file
from foveal.data.sources.list_data import list_data
from foveal.errors import DataError
from pictures import draw, encoded

tfds = pytest.importorskip("tensorflow_datasets", reason="the extra tfds is not installed")
pytest.importorskip("array_record", reason="not available on this system")


class FovealToy(tfds.core.GeneratorBasedBuilder):
    """Six pictures of two classes."""

    pkg_dir_path = Path(__file__).parent
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=["ant", "bee"]),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(range(4)), "test": self._generate_examples(range(4, 6))}

    def _generate_examples(self, seeds):
        for seed in seeds:
            yield seed, {"image": io.BytesIO(encoded(draw(seed).convert("RGB"), "PNG")), "label": seed % 2}


def test_a_data_set_by_name(fresh_cache, capsys):
    entries = list_data("tfds:foveal_toy").entries
    assert sorted((e.label, e.split) for e in entries) == sorted(
        [("ant", "train"), ("bee", "train")] * 2 + [("ant", "test"), ("bee", "test")]
    )
    stored = {decode(read_file(e.path), e.path).tobytes() for e in entries}
    assert stored == {draw(seed).convert("RGB").tobytes() for seed in range(6)}
    assert capsys.readouterr().out == ""  # stdout is for results
    assert [e.split for e in list_data("tfds:foveal_toy:test").entries] == [None, None]


def test_names_and_splits_that_do_not_exist(fresh_cache):
    for name in ("tfds:foveal_toy:nonsense", "tfds:no_such_data_set"):
        with pytest.raises(DataError) as caught:
            list_data(name)
        assert caught.value.hint
