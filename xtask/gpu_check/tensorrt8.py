"""Builds a version-compatible engine with TensorRT 8.6 through its C++ vtables.

Slots and structures are those of the 8.6 headers (Itanium C++ ABI, Linux): a public object is a pointer to its vtable, and
behind it one to the implementation, whose vtable is called here. Seen to run against a stand-in compiled from NVIDIA's 8.6.1
headers; the real library needs a GPU from its first object on, and has not been driven so far.
"""

import ctypes
import pathlib
from array import array

import onnx_convert
import onnx_file
from outcome import Failed
from onnx_convert import Size

EXPLICIT_BATCH = 1 << 0  # NetworkDefinitionCreationFlag
VERSION_COMPATIBLE = 15  # BuilderFlag
WORKSPACE = 0  # MemoryPoolType
WORKSPACE_BYTES = 1 << 30
# Edge-mask and JIT convolutions only: cuBLAS and cuDNN would have to be those of CUDA 12.
TACTIC_SOURCES = 1 << 3 | 1 << 4
MIN, OPT, MAX = 0, 1, 2  # OptProfileSelector

# Slots of the implementations' vtables in 8.6.
SLOTS = {
    "VBuilder": {"createBuilderConfig": 9, "createNetworkV2": 11, "createOptimizationProfile": 12, "buildSerializedNetwork": 17},
    "VBuilderConfig": {"setFlag": 15, "addOptimizationProfile": 29, "setTacticSources": 42, "setMemoryPoolLimit": 47},
    "VOptimizationProfile": {"setDimensions": 2},
    "VHostMemory": {"data": 2, "size": 3},
    "VNetworkDefinition": {"addInput": 2, "markOutput": 3, "addActivation": 6, "addElementWise": 13, "addShuffle": 16, "addConvolutionNd": 42, "addPoolingNd": 43},
    "VTensor": {"setName": 2},
    "VLayer": {"getOutput": 8},
    "VConvolutionLayer": {"setStrideNd": 26, "setPaddingNd": 28},
    "VPoolingLayer": {"setStrideNd": 22, "setPaddingNd": 24},
    "VShuffleLayer": {"setReshapeDimensions": 4},
}


class Dims(ctypes.Structure):
    _fields_ = [("count", ctypes.c_int32), ("d", ctypes.c_int32 * 8)]


class Weights(ctypes.Structure):
    _fields_ = [("datatype", ctypes.c_int32), ("values", ctypes.c_void_p), ("count", ctypes.c_int64)]


def dims(*numbers: int) -> Dims:
    return Dims(len(numbers), (ctypes.c_int32 * 8)(*numbers))


class Object:
    """A public object. `offset` is where in it the pointer to the implementation is: a layer has two of them."""

    def __init__(self, address: int | None, what: str) -> None:
        if not address:
            raise Failed(f"TensorRT 8 gave no {what}: {Logger.last()}")
        self.address = address

    def call(self, kind: str, method: str, result: object, *arguments: object, offset: int = 8) -> object:
        implementation = ctypes.c_void_p.from_address(self.address + offset).value
        table = ctypes.c_void_p.from_address(implementation).value
        function = ctypes.c_void_p.from_address(table + 8 * SLOTS[kind][method]).value
        types = [type(a) if isinstance(a, (ctypes.Structure, ctypes._SimpleCData)) else ctypes.c_void_p for a in arguments]
        prototype = ctypes.CFUNCTYPE(result, ctypes.c_void_p, *types)
        return prototype(function)(implementation, *arguments)


class Logger:
    """An `ILogger`: its only own virtual method, then the two destructors. Keeps the errors."""

    messages: list[str] = []

    def __init__(self) -> None:
        log_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p)
        destructor_type = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        self._functions = (log_type(self._log), destructor_type(lambda _: None))
        pointers = [ctypes.cast(f, ctypes.c_void_p).value for f in (self._functions[0], self._functions[1], self._functions[1])]
        self._table = (ctypes.c_void_p * 3)(*pointers)
        self.object = (ctypes.c_void_p * 1)(ctypes.addressof(self._table))

    @classmethod
    def _log(cls, _this: int, severity: int, message: bytes) -> None:
        if severity <= 2:  # internal errors, errors, warnings
            cls.messages.append(message.decode(errors="replace"))

    @classmethod
    def last(cls) -> str:
        return " / ".join(cls.messages[-3:]) or "it said nothing"


class Network8:
    """A network of TensorRT 8 as `onnx_convert` wants it. Keeps the weights, which TensorRT reads while it builds."""

    def __init__(self, definition: Object) -> None:
        self.definition, self._kept = definition, []

    def _layer(self, method: str, *arguments: object) -> Object:
        address = self.definition.call("VNetworkDefinition", method, ctypes.c_void_p, *arguments)
        return Object(address, f"layer ({method})")

    @staticmethod
    def _output(layer: Object) -> Object:
        return Object(layer.call("VLayer", "getOutput", ctypes.c_void_p, ctypes.c_int32(0)), "output of a layer")

    def _weights(self, values: array) -> Weights:
        self._kept.append(values)
        return Weights(0, values.buffer_info()[0], len(values))

    def conv(self, x: Object, maps: int, kernel: Size, weights: array, bias: array, stride: Size, padding: Size) -> Object:
        tensors = (self._weights(weights), self._weights(bias))
        layer = self._layer("addConvolutionNd", x.address, ctypes.c_int32(maps), dims(*kernel), *tensors)
        layer.call("VConvolutionLayer", "setStrideNd", None, dims(*stride), offset=16)
        layer.call("VConvolutionLayer", "setPaddingNd", None, dims(*padding), offset=16)
        return self._output(layer)

    def relu(self, x: Object) -> Object:
        return self._output(self._layer("addActivation", x.address, ctypes.c_int32(0)))

    def pool(self, x: Object, kind: str, window: Size, stride: Size, padding: Size) -> Object:
        layer = self._layer("addPoolingNd", x.address, ctypes.c_int32(0 if kind == "max" else 1), dims(*window))
        layer.call("VPoolingLayer", "setStrideNd", None, dims(*stride), offset=16)
        layer.call("VPoolingLayer", "setPaddingNd", None, dims(*padding), offset=16)
        return self._output(layer)

    def add(self, x: Object, y: Object) -> Object:
        return self._output(self._layer("addElementWise", x.address, y.address, ctypes.c_int32(0)))

    def reshape(self, x: Object, numbers: list[int]) -> Object:
        layer = self._layer("addShuffle", x.address)
        layer.call("VShuffleLayer", "setReshapeDimensions", None, dims(*numbers), offset=16)
        return self._output(layer)


def build(library: pathlib.Path, onnx: pathlib.Path, rows: tuple[int, int, int], row: tuple[int, int, int]) -> bytes:
    """The plan of `onnx`, a model of one input `input` of `row` channels, height and width, for at least, usually and at most
    so many rows. The lean runtime is within it, so that TensorRT 10 needs nothing else to run it."""
    loaded, logger = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL), Logger()
    loaded.createInferBuilder_INTERNAL.restype = ctypes.c_void_p
    version = ctypes.c_int32(loaded.getInferLibVersion())
    builder = Object(loaded.createInferBuilder_INTERNAL(logger.object, version), "builder")
    config = Object(builder.call("VBuilder", "createBuilderConfig", ctypes.c_void_p), "builder config")
    config.call("VBuilderConfig", "setFlag", None, ctypes.c_int32(VERSION_COMPATIBLE))
    config.call("VBuilderConfig", "setTacticSources", ctypes.c_bool, ctypes.c_uint32(TACTIC_SOURCES))
    config.call("VBuilderConfig", "setMemoryPoolLimit", None, ctypes.c_int32(WORKSPACE), ctypes.c_size_t(WORKSPACE_BYTES))
    definition = Object(builder.call("VBuilder", "createNetworkV2", ctypes.c_void_p, ctypes.c_uint32(EXPLICIT_BATCH)), "network")
    address = definition.call("VNetworkDefinition", "addInput", ctypes.c_void_p, ctypes.c_char_p(b"input"), ctypes.c_int32(0), dims(-1, *row))
    network = Network8(definition)
    output = onnx_convert.convert(onnx_file.read(onnx), network, Object(address, "input"), row)
    output.call("VTensor", "setName", None, ctypes.c_char_p(b"output"))
    definition.call("VNetworkDefinition", "markOutput", None, output.address)
    profile = Object(builder.call("VBuilder", "createOptimizationProfile", ctypes.c_void_p), "optimisation profile")
    for selector, count in zip((MIN, OPT, MAX), rows):
        arguments = (ctypes.c_char_p(b"input"), ctypes.c_int32(selector), dims(count, *row))
        if not profile.call("VOptimizationProfile", "setDimensions", ctypes.c_bool, *arguments):
            raise Failed(f"TensorRT 8 refuses a profile of {count} rows: {logger.last()}")
    config.call("VBuilderConfig", "addOptimizationProfile", ctypes.c_int32, profile.address)
    arguments = (definition.address, config.address)
    memory = Object(builder.call("VBuilder", "buildSerializedNetwork", ctypes.c_void_p, *arguments), "engine")
    data = memory.call("VHostMemory", "data", ctypes.c_void_p)
    return ctypes.string_at(data, memory.call("VHostMemory", "size", ctypes.c_size_t))
