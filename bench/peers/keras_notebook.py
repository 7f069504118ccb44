"""A peer: the notebook's way to MNIST, a small Keras CNN, ten epochs at batch 16, TensorFlow behind it.

    python bench/peers/keras_notebook.py FOLDER [--seed 0] [--epochs 10]

FOLDER has the four IDX files. Prints one JSON object: seconds of `fit` alone, test accuracy.
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

from foveal.data.idx import find_pairs, read_pair


def network() -> Any:
    """Two convolutions with pooling and a dense layer.

    The notebook itself is not in this repository; this is the form in which such notebooks have it, and it
    is the small one: a larger one would make the peer slower.
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
    sides = {pair.side: read_pair(pair) for pair in find_pairs(arguments.folder)}
    arrays = {
        side: (images[..., None].astype("float32") / 255, np.array(labels, dtype="int64"))
        for side, (images, labels) in sides.items()
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
