"""Rebuilds the bundle's models in a network of TensorRT layers, without NVIDIA's parser, which wants libraries of CUDA 12.

Matrix products become convolutions over the whole picture, so that a network has convolutions, ReLU, pooling, sums and
reshapes only. Whatever has these five methods can be the network.
"""

from array import array
from typing import Protocol

from onnx_file import Graph, Node

Size = tuple[int, int]


class Network(Protocol):
    """`conv` and the others give back the tensor that they make."""

    def conv(self, x: object, maps: int, kernel: Size, weights: array, bias: array, stride: Size, padding: Size) -> object: ...
    def relu(self, x: object) -> object: ...
    def pool(self, x: object, kind: str, window: Size, stride: Size, padding: Size) -> object: ...
    def add(self, x: object, y: object) -> object: ...
    def reshape(self, x: object, dims: list[int]) -> object: ...


def convert(graph: Graph, network: Network, x: object, row: tuple[int, int, int]) -> object:
    """Adds the nodes of `graph`, whose input is `x` of `row` channels, height and width; the output, a matrix."""
    tensors, shapes = {}, {}
    (source,) = {name for node in graph.nodes for name in node.inputs} - set(graph.weights) - {o for n in graph.nodes for o in n.outputs}
    tensors[source], shapes[source] = x, row
    for node in graph.nodes:
        tensors[node.outputs[0]], shapes[node.outputs[0]] = _add(graph, network, node, tensors, shapes)
    (classes, _, _) = shapes[graph.output]
    return network.reshape(tensors[graph.output], [0, classes])


def _add(graph: Graph, network: Network, node: Node, tensors: dict, shapes: dict) -> tuple[object, tuple[int, int, int]]:
    x, (channels, height, width) = tensors[node.inputs[0]], shapes[node.inputs[0]]
    stride, padding = _pair(node, "strides", 1), _pair(node, "pads", 0)
    if node.operator == "Conv":
        weights, bias = (graph.weights[name] for name in node.inputs[1:3])
        maps, kernel = weights.dims[0], (weights.dims[2], weights.dims[3])
        y = network.conv(x, maps, kernel, weights.values, bias.values, stride, padding)
        return y, (maps, *_windows((height, width), kernel, stride, padding))
    if node.operator == "Gemm":
        weights, bias = (graph.weights[name] for name in node.inputs[1:3])
        if node.attributes.get("transB") != 1:
            raise ValueError("Gemm without transB")
        return network.conv(x, weights.dims[0], (height, width), weights.values, bias.values, (1, 1), (0, 0)), (weights.dims[0], 1, 1)
    if node.operator == "MaxPool":
        window = _pair(node, "kernel_shape", 1)
        return network.pool(x, "max", window, stride, padding), (channels, *_windows((height, width), window, stride, padding))
    if node.operator == "GlobalAveragePool":
        return network.pool(x, "average", (height, width), (1, 1), (0, 0)), (channels, 1, 1)
    if node.operator == "Relu":
        return network.relu(x), (channels, height, width)
    if node.operator == "Add":
        return network.add(x, tensors[node.inputs[1]]), (channels, height, width)
    if node.operator in ("Flatten", "Identity"):
        return x, (channels, height, width)  # the convolution that stands for the product takes it as it is
    raise ValueError(f"operator {node.operator} is not known here")


def _pair(node: Node, name: str, default: int) -> Size:
    numbers = node.attributes.get(name, [default] * 2)
    return numbers[0], numbers[1]


def _windows(size: Size, window: Size, stride: Size, padding: Size) -> Size:
    height, width = ((s + 2 * p - w) // t + 1 for s, w, t, p in zip(size, window, stride, padding))
    return height, width
