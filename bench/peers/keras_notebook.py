"""For comparison: MNIST as in the notebook, a small Keras CNN on TensorFlow, ten epochs with batch size 16.

    python bench/peers/keras_notebook.py FOLDER [--seed 0] [--epochs 10]

FOLDER has the four IDX files. Prints one JSON object: seconds of `fit`, test accuracy.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from foveal.data.images.idx import find_pairs, read_pair


def network() -> Any:
    """Two convolutions with pooling and a dense layer.

    The notebook itself is not in this repository; this is the usual network of such notebooks, and a small one: a
    larger one would be slower.
    """
    return keras.Sequential(
        [
            keras.layers.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(arguments.seed)
    subsets = {pair.subset: read_pair(pair) for pair in find_pairs(arguments.folder)}
    arrays = {
        subset: (images[..., None].astype("float32") / 255, np.array(labels, dtype="int64"))
        for subset, (images, labels) in subsets.items()
    }
    model = network()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    began = time.monotonic()
    model.fit(*arrays["train"], batch_size=16, epochs=arguments.epochs, verbose=0)
    seconds = time.monotonic() - began
    _, accuracy = model.evaluate(*arrays["test"], verbose=0)
    print(json.dumps({"fit_seconds": seconds, "accuracy": accuracy, "parameters": model.count_params()}))


if __name__ == "__main__":
    main()
