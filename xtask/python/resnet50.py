"""Writes ResNet-50 as ONNX into a model repository: bottlenecks 3-4-6-3, stride in the 3x3 convolution as in
torchvision, batch normalisation folded into the convolutions as an export for inference has it.

Weights from torchvision where it is installed and they can be had; otherwise random (He), from a fixed seed:
then its answers mean nothing, and its cost is that of the real one.
"""

import argparse
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 50
STAGES = [(64, 3), (128, 4), (256, 6), (512, 3)]  # width and number of bottlenecks
EXPANSION = 4
EPSILON = 1e-5

CONFIG = """\
name: "resnet50"
platform: "onnxruntime_onnx"
max_batch_size: 16
input [
  {
    name: "input"
    data_type: TYPE_FP32
    dims: [ 3, 224, 224 ]
  }
]
output [
  {
    name: "output"
    data_type: TYPE_FP32
    dims: [ 1000 ]
  }
]
dynamic_batching { preferred_batch_size: [ 8 ] }
"""


class RandomWeights:
    """Folded convolutions as a fresh network has them; the last of a bottleneck is damped, so that the sum of
    sixteen of them stays small, as trained batch normalisation keeps it."""

    source = f"random (He), seed {SEED}"

    def __init__(self) -> None:
        self.random = np.random.default_rng(SEED)

    def convolution(self, name: str, outputs: int, inputs: int, kernel: int) -> tuple[np.ndarray, np.ndarray]:
        scale = np.sqrt(2 / (inputs * kernel * kernel)) * (0.25 if name.endswith("conv3") else 1)
        weights = self.random.standard_normal((outputs, inputs, kernel, kernel), np.float32) * np.float32(scale)
        return weights, np.zeros(outputs, np.float32)

    def classifier(self) -> tuple[np.ndarray, np.ndarray]:
        return self.random.standard_normal((1000, 2048), np.float32) * np.float32(0.02), np.zeros(1000, np.float32)


class TorchvisionWeights:
    """The trained weights, batch normalisation folded in."""

    def __init__(self) -> None:
        from torchvision.models import ResNet50_Weights, resnet50

        choice = ResNet50_Weights.DEFAULT
        self.source = f"torchvision {choice}"
        self.state = {k: v.numpy() for k, v in resnet50(weights=choice).state_dict().items()}

    def convolution(self, name: str, outputs: int, inputs: int, kernel: int) -> tuple[np.ndarray, np.ndarray]:
        weights = self.state[f"{name}.weight"]
        assert weights.shape == (outputs, inputs, kernel, kernel), name
        if name.endswith("downsample.0"):
            norm = f"{name[:-1]}1"
        else:
            norm = name.replace("conv", "bn")
        mean, variance, gamma, beta = (self.state[f"{norm}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        factor = gamma / np.sqrt(variance + EPSILON)
        return (weights * factor[:, None, None, None]).astype(np.float32), (beta - mean * factor).astype(np.float32)

    def classifier(self) -> tuple[np.ndarray, np.ndarray]:
        return self.state["fc.weight"], self.state["fc.bias"]


class Graph:
    """Collects nodes and weights."""

    def __init__(self, weights: RandomWeights | TorchvisionWeights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.parameters = 0

    def add(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        self.parameters += value.size
        return name

    def convolution(self, x: str, name: str, outputs: int, inputs: int, kernel: int, stride: int = 1, relu: bool = True) -> str:
        weights, bias = self.weights.convolution(name, outputs, inputs, kernel)
        names = [x, self.constant(f"{name}.weight", weights), self.constant(f"{name}.bias", bias)]
        pad = kernel // 2
        y = self.add("Conv", names, name, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
        return self.add("Relu", [y], f"{name}.relu") if relu else y

    def bottleneck(self, x: str, name: str, inputs: int, width: int, stride: int) -> str:
        outputs = width * EXPANSION
        y = self.convolution(x, f"{name}.conv1", width, inputs, 1)
        y = self.convolution(y, f"{name}.conv2", width, width, 3, stride)
        y = self.convolution(y, f"{name}.conv3", outputs, width, 1, relu=False)
        if stride != 1 or inputs != outputs:
            x = self.convolution(x, f"{name}.downsample.0", outputs, inputs, 1, stride, relu=False)
        return self.add("Relu", [self.add("Add", [y, x], f"{name}.sum")], f"{name}.relu")


def build(weights: RandomWeights | TorchvisionWeights) -> tuple[onnx.ModelProto, int]:
    """The model and its number of parameters."""
    graph = Graph(weights)
    x = graph.convolution("input", "conv1", 64, 3, 7, stride=2)
    x = graph.add("MaxPool", [x], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, (width, blocks) in enumerate(STAGES, 1):
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            x = graph.bottleneck(x, f"layer{stage}.{block}", channels, width, stride)
            channels = width * EXPANSION
    x = graph.add("Flatten", [graph.add("GlobalAveragePool", [x], "avgpool")], "features", axis=1)
    matrix, bias = weights.classifier()
    graph.add("Gemm", [x, graph.constant("fc.weight", matrix), graph.constant("fc.bias", bias)], "output", transB=1)
    proto = helper.make_graph(
        graph.nodes,
        "resnet50",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 224, 224])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 1000])],
        graph.initializers,
    )
    model = helper.make_model(proto, producer_name="nereid", ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
    onnx.checker.check_model(model, full_check=True)
    return model, graph.parameters


def pick_weights() -> RandomWeights | TorchvisionWeights:
    try:
        return TorchvisionWeights()
    except ImportError:
        print("torchvision is not installed (--torchvision installs it): the weights are random")
    except (OSError, RuntimeError) as error:
        print(f"torchvision's weights cannot be had ({error}): the weights are random")
    return RandomWeights()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, help="unused: torchvision keeps its own")
    args = parser.parse_args()
    weights = pick_weights()
    model, parameters = build(weights)
    folder = args.repository / "resnet50"
    (folder / "1").mkdir(parents=True, exist_ok=True)
    (folder / "1" / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    (folder / "config.pbtxt").write_text(CONFIG)
    print(f"ResNet-50: {parameters:,} parameters (batch normalisation folded), weights: {weights.source}")


if __name__ == "__main__":
    main()
