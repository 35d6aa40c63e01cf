"""Small ONNX models and model repositories for the tests, built here so that their answers are known."""

import pathlib
import shutil
from collections.abc import Iterable

import onnx
from onnx import TensorProto, helper

ROOT = pathlib.Path(__file__).parents[2]

TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
"""Protocol name to ONNX type."""


def build(repository: pathlib.Path) -> pathlib.Path:
    """The repository that most tests share: mnist_mlp as committed, and models with plain answers."""
    shutil.copytree(ROOT / "model_repository/mnist_mlp", repository / "mnist_mlp")
    for name in TYPES:
        write(repository, f"identity_{name.lower()}", identity(name))
    write(repository, "add_sub", add_sub(), ADD_SUB_CONFIG)
    write(repository, "slow", slow(), SLOW_CONFIG)
    return repository


def write(repository: pathlib.Path, name: str, model: onnx.ModelProto | bytes, config: str | None = None) -> None:
    version = repository / name / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    if config is not None:
        (repository / name / "config.pbtxt").write_text(config)


def write_identity(
    repository: pathlib.Path,
    name: str,
    tensors: Iterable[tuple[str, list[int]]] = (("FP32", [-1]),),
    *,
    max_batch_size: int = 0,
    parameters: dict[str, object] | None = None,
    more: str = "",
) -> None:
    """A model of the `identity` backend, which needs no model file: `OUTPUT<n> = INPUT<n>`, each a protocol name and dims.

    `execute_delay_ms` among the parameters says how long it takes. `more` is the rest of its config.
    """
    sides = []
    for side in ("INPUT", "OUTPUT"):
        parts = [
            f'{{ name: "{side}{n}" data_type: TYPE_{"STRING" if datatype == "BYTES" else datatype} dims: {dims} }}'
            for n, (datatype, dims) in enumerate(tensors)
        ]
        sides.append(f"{side.lower()} [ {', '.join(parts)} ]\n")
    entries = [f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n' for key, value in (parameters or {}).items()]
    (repository / name / "1").mkdir(parents=True)
    config = f'backend: "identity"\nmax_batch_size: {max_batch_size}\n' + "".join(sides + entries) + more
    (repository / name / "config.pbtxt").write_text(config)


def write_ensemble(
    repository: pathlib.Path,
    name: str,
    inputs: dict[str, tuple],
    outputs: dict[str, tuple],
    steps: Iterable[tuple[str, dict[str, str], dict[str, str]]],
    *,
    max_batch_size: int = 8,
    more: str = "",
) -> None:
    """An ensemble. Tensors are a protocol name, dims and, if there is something, more; a step is a model, its inputs' and its
    outputs' tensors. `more` is the rest of `ensemble_scheduling`."""
    sides = []
    for side, tensors in (("input", inputs), ("output", outputs)):
        parts = [f'{{ name: "{key}" data_type: TYPE_{kind} dims: {dims} {" ".join(rest)} }}' for key, (kind, dims, *rest) in tensors.items()]
        sides.append(f"{side} [ {', '.join(parts)} ]\n")
    parts = []
    for model, *maps in steps:
        pairs = [
            f'{side}_map {{ key: "{key}" value: "{value}" }}'
            for side, pairs in zip(("input", "output"), maps, strict=True)
            for key, value in pairs.items()
        ]
        parts.append(f'{{ model_name: "{model}" model_version: -1 {" ".join(pairs)} }}')
    (repository / name / "1").mkdir(parents=True)
    config = f'platform: "ensemble"\nmax_batch_size: {max_batch_size}\n{"".join(sides)}ensemble_scheduling {{ step [ {", ".join(parts)} ] {more} }}\n'
    (repository / name / "config.pbtxt").write_text(config)


def write_nested_ensembles(repository: pathlib.Path) -> None:
    """`outer` goes through `inner`, an ensemble of `a` and `b`, and through `c`: 16 INT32 from `x` to `y`."""
    row = ("INT32", [16])
    for name in "abc":
        write_identity(repository, name, [row], max_batch_size=8)
    write_ensemble(repository, "inner", {"x": row}, {"y": row}, [("a", {"INPUT0": "x"}, {"OUTPUT0": "t"}), ("b", {"INPUT0": "t"}, {"OUTPUT0": "y"})])
    write_ensemble(repository, "outer", {"x": row}, {"y": row}, [("inner", {"x": "x"}, {"y": "t"}), ("c", {"INPUT0": "t"}, {"OUTPUT0": "y"})])


def identity(datatype: str) -> onnx.ModelProto:
    """`OUTPUT0 = INPUT0`, of any shape `[N, M]`; comes without a config."""
    element = TYPES[datatype]
    return _model(
        [helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])],
        [helper.make_tensor_value_info("INPUT0", element, ["N", "M"])],
        [helper.make_tensor_value_info("OUTPUT0", element, ["N", "M"])],
    )


ADD_SUB_CONFIG = """
backend: "onnxruntime"
max_batch_size: 8
input [
  { name: "INPUT0" data_type: TYPE_INT32 dims: [ 16 ] },
  { name: "INPUT1" data_type: TYPE_INT32 dims: [ 16 ] }
]
output [
  { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 16 ] },
  { name: "OUTPUT1" data_type: TYPE_INT32 dims: [ 16 ] }
]
"""


def add_sub() -> onnx.ModelProto:
    """`OUTPUT0 = INPUT0 + INPUT1`, `OUTPUT1 = INPUT0 - INPUT1`."""
    names = ["INPUT0", "INPUT1"], ["OUTPUT0", "OUTPUT1"]
    inputs, outputs = ([helper.make_tensor_value_info(n, TensorProto.INT32, ["N", 16]) for n in part] for part in names)
    return _model([helper.make_node("Add", names[0], ["OUTPUT0"]), helper.make_node("Sub", names[0], ["OUTPUT1"])], inputs, outputs)


ECHO_CONFIG = """
backend: "onnxruntime"
max_batch_size: 0
input [
  { name: "PROMPT" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "STREAM" data_type: TYPE_BOOL dims: [ 1 ] }
]
output [
  { name: "TEXT" data_type: TYPE_STRING dims: [ 1 ] },
  { name: "FLAG" data_type: TYPE_BOOL dims: [ 1 ] }
]
"""


def echo() -> onnx.ModelProto:
    """`TEXT = PROMPT`, `FLAG = STREAM`: shaped like a language model, as users of `generate` have them."""
    pairs = {"PROMPT": ("TEXT", TensorProto.STRING), "STREAM": ("FLAG", TensorProto.BOOL)}
    return _model(
        [helper.make_node("Identity", [name], [out]) for name, (out, _) in pairs.items()],
        [helper.make_tensor_value_info(name, kind, [1]) for name, (_, kind) in pairs.items()],
        [helper.make_tensor_value_info(out, kind, [1]) for out, kind in pairs.values()],
    )


def gather() -> onnx.ModelProto:
    """`OUTPUT = [0, 10, 20, 30][INPUT]`, `[N, 1]`; an index of 4 or more fails in the model."""
    return _model(
        [helper.make_node("Gather", ["table", "INPUT"], ["OUTPUT"], axis=0)],
        [helper.make_tensor_value_info("INPUT", TensorProto.INT64, ["N", 1])],
        [helper.make_tensor_value_info("OUTPUT", TensorProto.INT64, ["N", 1])],
        [helper.make_tensor("table", TensorProto.INT64, [4], [0, 10, 20, 30])],
    )


SCALED_CONFIG = """
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "INPUT" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "OUTPUT" data_type: TYPE_FP32 dims: [ 4 ] } ]
"""


def scaled(factor: float, weights: int = 4) -> onnx.ModelProto:
    """`OUTPUT = factor * INPUT`: tells which file answered. With that many weights, at least four, that are not used."""
    values = [helper.make_tensor("factor", TensorProto.FLOAT, [4], [factor] * 4)]
    values.append(helper.make_tensor("ballast", TensorProto.FLOAT, [weights], b"\1" * 4 * weights, raw=True))
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("INPUT", "OUTPUT")]
    return _model([helper.make_node("Mul", ["INPUT", "factor"], ["OUTPUT"])], tensors[:1], tensors[1:], values)


SLOW_CONFIG = """
backend: "onnxruntime"
max_batch_size: 0
input [ { name: "ROUNDS" data_type: TYPE_INT64 dims: [ 1 ] } ]
output [
  { name: "OUTPUT" data_type: TYPE_INT64 dims: [ 1 ] },
  { name: "MEAN" data_type: TYPE_FP32 dims: [ 1 ] }
]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""


def slow() -> onnx.ModelProto:
    """Takes about as many milliseconds as `ROUNDS` says, and gives `ROUNDS` back. One instance."""
    size = 1_000_000
    steps = ["x_in", "a", "b", "c", "x_out"]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going_in"], ["going_out"]),
            *(helper.make_node("Tanh", [x], [y]) for x, y in zip(steps, steps[1:])),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x_in", TensorProto.FLOAT, [size]),
        ],
        [
            helper.make_tensor_value_info("going_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x_out", TensorProto.FLOAT, [size]),
        ],
    )
    half = helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5])
    constants = [helper.make_tensor("size", TensorProto.INT64, [1], [size]), helper.make_tensor("going", TensorProto.BOOL, [], [True])]
    return _model(
        [
            helper.make_node("ConstantOfShape", ["size"], ["start"], value=half),
            helper.make_node("Loop", ["ROUNDS", "going", "start"], ["end"], body=body),
            helper.make_node("ReduceMean", ["end"], ["MEAN"], axes=[0], keepdims=1),
            helper.make_node("Identity", ["ROUNDS"], ["OUTPUT"]),
        ],
        [helper.make_tensor_value_info("ROUNDS", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("OUTPUT", TensorProto.INT64, [1]), helper.make_tensor_value_info("MEAN", TensorProto.FLOAT, [1])],
        constants,
    )


def pick() -> onnx.ModelProto:
    """`OUTPUT = [10, 20, 30][INDEX]`, which fails in the run for any other index."""
    return _model(
        [helper.make_node("Gather", ["values", "INDEX"], ["OUTPUT"])],
        [helper.make_tensor_value_info("INDEX", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("OUTPUT", TensorProto.INT64, [1])],
        [helper.make_tensor("values", TensorProto.INT64, [3], [10, 20, 30])],
    )


def batch_seer() -> onnx.ModelProto:
    """Every row gets what the model sees of the whole batch: `RAGGED`, `SIZE` and `ABOUT`, each `[-1]`, as `[rows, all]`.

    `SIZE` has as many numbers as there are rows; none of them may be 0.
    """
    pairs = {"RAGGED": "RAGGED_OUTPUT", "SIZE": "SIZE_OUTPUT", "ABOUT": "ABOUT_OUTPUT"}
    nodes = [helper.make_node("Div", ["SIZE", "SIZE"], ["ones"]), helper.make_node("Reshape", ["ones", "column"], ["rows"])]
    for name, out in pairs.items():
        nodes += [helper.make_node("Reshape", [name, "row"], [f"{name}_row"]), helper.make_node("MatMul", ["rows", f"{name}_row"], [out])]
    shapes = {"row": [1, -1], "column": [-1, 1]}
    return _model(
        nodes,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"n_{name}"]) for name in pairs],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, ["rows", f"m_{out}"]) for out in pairs.values()],
        [helper.make_tensor(name, TensorProto.INT64, [2], shape) for name, shape in shapes.items()],
    )


def passes(inputs: dict[str, tuple[str, list]], outputs: dict[str, tuple[str, str, list]]) -> onnx.ModelProto:
    """Inputs by name, each with datatype and shape; outputs by name, each the copy of an input, with datatype and shape."""
    return _model(
        [helper.make_node("Identity", [source], [name]) for name, (source, _, _) in outputs.items()],
        [helper.make_tensor_value_info(name, TYPES[kind], shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, TYPES[kind], shape) for name, (_, kind, shape) in outputs.items()],
    )


def _model(nodes: list, inputs: list, outputs: list, constants: list | None = None) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "test", inputs, outputs, constants or [])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    return model
