"""`.onnx` files: the same answers as the network they came from, the same plan, and what is refused."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from foveal.errors import UsageError
from foveal.models.onnx_graph import OnnxNetwork, read
from foveal.models.resolve import resolve
from foveal.planner import plan


class Squeezed(nn.Module):
    """A block that excites channels, a hard swish, a norm over channels, a token, attention."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 5, padding=2, groups=16)
        self.squeeze, self.excite = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.layer = nn.LayerNorm(16)
        self.project, self.head = nn.Linear(16, 48), nn.Linear(16, 7)

    def forward(self, x):
        x = nn.functional.hardswish(self.norm(self.stem(x)))
        x = nn.functional.max_pool2d(self.depthwise(x), 3, 2, 1, ceil_mode=True)
        x = x * torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))
        x = torch.cat([self.token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1)
        query, key, value = self.project(self.layer(x)).chunk(3, -1)
        x = x + torch.softmax(query @ key.transpose(1, 2) / 4, -1) @ value
        return self.head(nn.functional.gelu(x)[:, 0])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    module, path = Squeezed().eval(), tmp_path_factory.mktemp("onnx") / "squeezed.onnx"
    torch.onnx.export(module, (torch.randn(1, 3, 32, 32),), str(path), dynamo=True, verbose=False)
    return module, path


def test_a_file_answers_as_the_network_it_came_from_at_any_batch(exported):
    module, path = exported
    network = resolve(path).build((3, 32, 32)).eval()
    pictures = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(pictures), module(pictures), atol=1e-5, rtol=1e-4)


def test_a_file_is_planned_as_its_network(exported):
    module, path = exported
    found, known = plan(str(path), batch=8), plan(module, input=(3, 32, 32), batch=8)
    assert found.scenario["input"] == [3, 32, 32]  # read from the file
    assert found.macs == known.macs
    folded = 16  # a batch normalisation that the exporter put into the convolution before it
    assert known.parameters - 2 * folded <= found.parameters <= known.parameters
    assert found.predict.peak_bytes == pytest.approx(known.predict.peak_bytes, rel=0.05)
    assert found.train.peak_bytes == pytest.approx(known.train.peak_bytes, rel=0.2)
    rows = [layer for layer in found.layers if layer.kind == "Conv"]
    assert rows[0].output_shape == (16, 16, 16)
    assert rows[0].parameters == 16 * 3 * 9 + 16 and rows[0].receptive_field == 3


def test_the_sheet_of_a_file_trains_its_batch_norms(tmp_path):
    weights = {
        "w": np.ones((4, 3, 3, 3), np.float32), "scale": np.ones(4, np.float32), "bias": np.zeros(4, np.float32),
        "mean": np.zeros(4, np.float32), "var": np.ones(4, np.float32), "six": np.float32(6),
        "zero": np.float32(0), "shape": np.array([1, -1]), "b": np.ones((4 * 16, 5), np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], auto_pad="SAME_UPPER", strides=[2, 2]),
        helper.make_node("BatchNormalization", ["a", "scale", "bias", "mean", "var"], ["n"]),
        helper.make_node("Clip", ["n", "zero", "six"], ["c"]),
        helper.make_node("Reshape", ["c", "shape"], ["r"]),
        helper.make_node("Gemm", ["r", "b"], ["y"]),
    ]
    path = write(tmp_path / "hand.onnx", nodes, weights, (1, 3, 8, 8))
    network = OnnxNetwork(read(path)[0], tmp_path).train()
    assert network(torch.randn(6, 3, 8, 8)).shape == (6, 5)
    assert sum(p.numel() for p in network.parameters()) == 108 + 8 + 320
    assert [b.numel() for b in network.buffers()] == [4, 4]
    made = plan(str(path), batch=4)
    assert made.parameters == 436 and [layer.kind for layer in made.layers][:2] == ["Conv", "BatchNormalization"]


def write(path, nodes, weights, shape):
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    stored = [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), str(path))
    return path


def test_pictures_with_channels_last_are_given_as_everywhere(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("GlobalAveragePool", ["t"], ["y"]),
    ]
    path = write(tmp_path / "last.onnx", nodes, {}, (1, 9, 7, 3))
    graph, shape = read(path)
    assert shape == (3, 9, 7)
    assert OnnxNetwork(graph, tmp_path)(torch.ones(2, 3, 9, 7)).shape == (2, 3, 1, 1)


def test_shapes_are_computed_on_the_host(tmp_path):
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "first"], ["n"]),
        helper.make_node("Mul", ["three", "sixteen"], ["m"]),
        helper.make_node("Concat", ["n", "m"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    numbers = {
        "w": np.ones((48, 6), np.float32),
        "first": np.array([0]),
        "three": np.array([3]),
        "sixteen": np.array([16]),
    }
    path = write(tmp_path / "shapes.onnx", nodes, numbers, ("n", 3, 4, 4))
    assert OnnxNetwork(read(path)[0], tmp_path)(torch.ones(5, 3, 4, 4)).shape == (5, 6)
    assert plan(str(path), batch=2, input=(3, 4, 4)).macs == 48 * 6


@pytest.mark.parametrize(
    ("nodes", "shape", "said"),
    [
        ([helper.make_node("QLinearConv", ["x"] * 8, ["y"])], (1, 3, 8, 8), "QLinearConv (1)"),
        ([helper.make_node("Attention", ["x"], ["y"], domain="com.microsoft")], (1, 3, 8, 8), "com.microsoft"),
        ([helper.make_node("Relu", ["x"], ["y"])], (1, 128), "2 dimensions"),
        ([helper.make_node("Add", ["x", "z"], ["y"])], (1, 3, 8, 8), None),
    ],
)
def test_what_can_not_be_planned_is_refused_by_name(tmp_path, nodes, shape, said):
    path = write(tmp_path / "no.onnx", nodes, {}, shape)
    if said is None:
        model = onnx.load(str(path))
        model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, shape))
        onnx.save(model, str(path))
        said = "2 inputs: x, z"
    with pytest.raises(UsageError, match=r"no\.onnx") as refusal:
        resolve(path)
    assert said in refusal.value.message and refusal.value.hint


def test_what_is_no_onnx_file_is_refused(tmp_path):
    path = tmp_path / "broken.onnx"
    for content in (b"", b"not a graph at all", b"\x08\x07\x12\x04"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"broken\.onnx"):
            resolve(path)


def test_sizes_that_depend_on_the_pictures_are_refused(tmp_path):
    nodes = [
        helper.make_node("Cast", ["x"], ["s"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["x", "s"], ["y"]),
    ]
    path = write(tmp_path / "values.onnx", nodes, {}, (1, 3, 4, 4))
    with pytest.raises(UsageError, match="Reshape"):
        plan(str(path), batch=2)
