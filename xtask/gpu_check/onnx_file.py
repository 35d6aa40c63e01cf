"""Reads an ONNX file as far as converting the bundle's models takes: nodes with numbers as attributes, and FP32 weights.
Nothing but protobuf's wire format is known here."""

import pathlib
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Node:
    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, int | float | list[int]]


@dataclass
class Weights:
    dims: list[int]
    values: array


@dataclass
class Graph:
    nodes: list[Node] = field(default_factory=list)
    weights: dict[str, Weights] = field(default_factory=dict)
    output: str = ""


def read(path: pathlib.Path) -> Graph:
    """The graph of the model in `path`."""
    (graph,) = (value for number, value in _fields(memoryview(path.read_bytes())) if number == 7)
    result = Graph()
    for number, value in _fields(graph):
        if number == 1:
            result.nodes.append(_node(value))
        elif number == 5:
            name, weights = _tensor(value)
            result.weights[name] = weights
        elif number == 12:
            result.output = next(_text(v) for n, v in _fields(value) if n == 1)
    return result


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers and values of a message's fields; what has a length comes as its bytes."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(data, position)
        else:
            length = {1: 8, 5: 4}.get(kind)
            if length is None:
                length, position = _varint(data, position)
            value, position = data[position : position + length], position + length
        yield key >> 3, value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _numbers(value: int | memoryview) -> list[int]:
    """A repeated number, packed or not."""
    if isinstance(value, int):
        return [_signed(value)]
    numbers, position = [], 0
    while position < len(value):
        number, position = _varint(value, position)
        numbers.append(_signed(number))
    return numbers


def _text(value: memoryview) -> str:
    return bytes(value).decode()


def _node(data: memoryview) -> Node:
    node = Node("", [], [], {})
    for number, value in _fields(data):
        if number == 1:
            node.inputs.append(_text(value))
        elif number == 2:
            node.outputs.append(_text(value))
        elif number == 4:
            node.operator = _text(value)
        elif number == 5:
            name, attribute = _attribute(value)
            node.attributes[name] = attribute
    return node


def _attribute(data: memoryview) -> tuple[str, int | float | list[int]]:
    name, ints, value = "", [], None
    for number, found in _fields(data):
        if number == 1:
            name = _text(found)
        elif number == 2:
            value = struct.unpack("<f", found)[0]
        elif number == 3:
            value = _signed(found)
        elif number == 8:
            ints += _numbers(found)
    return name, ints if value is None else value


def _tensor(data: memoryview) -> tuple[str, Weights]:
    name, weights = "", Weights([], array("f"))
    for number, value in _fields(data):
        if number == 1:
            weights.dims += _numbers(value)
        elif number in (4, 9):
            weights.values.frombytes(bytes(value))
        elif number == 8:
            name = _text(value)
    return name, weights
