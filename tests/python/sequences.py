"""Models with sequences, and the answers that they give. `OUTPUT` is the sum of the sequence's inputs so far."""

import pathlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import models

CONTROLS = {
    "START": 'kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ]',
    "END": 'kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ]',
    "READY": 'kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ]',
}


def value(name: str, kind: int, *dims: int | str) -> object:
    return helper.make_tensor_value_info(name, kind, list(dims))


def accumulator(corrid: int | None = None, *, start: bool = True, batches: bool = True) -> bytes:
    """Adds `INPUT` to the state unless the row is not ready, from 0 with a START. With `corrid`, a type, gives `CORRID` back
    as `ID`; also says in `FLAGS` what START, END and READY are."""
    ints = TensorProto.INT32
    rows = ["N"] if batches else []
    nodes = [
        helper.make_node("Mul", ["INPUT", "READY"], ["in"]),
        helper.make_node("Mul", ["IN_STATE", "go_on"], ["before"]),
        helper.make_node("Add", ["in", "before"], ["OUTPUT"]),
        helper.make_node("Identity", ["OUTPUT"], ["OUT_STATE"]),
        helper.make_node("Concat", ["START", "END", "READY"], ["FLAGS"], axis=len(rows)),
    ]
    nodes.insert(0, helper.make_node("Sub", ["one", "START"], ["go_on"]) if start else helper.make_node("Identity", ["one"], ["go_on"]))
    inputs = [value(name, ints, *rows, 1) for name in ["INPUT", "START", "END", "READY", "IN_STATE"]]
    outputs = [value("OUTPUT", ints, *rows, 1), value("OUT_STATE", ints, *rows, 1), value("FLAGS", ints, *rows, 3)]
    if corrid is not None:
        nodes.append(helper.make_node("Identity", ["CORRID"], ["ID"]))
        inputs.append(value("CORRID", corrid, *rows, 1))
        outputs.append(value("ID", corrid, *rows, 1))
    one = numpy_helper.from_array(np.ones((1,), np.int32), "one")
    graph = helper.make_graph(nodes, "accumulator", inputs, outputs, [one])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def config(
    *,
    max_batch_size: int = 4,
    strategy: str = "",
    instances: int = 1,
    idle_us: int = 60_000_000,
    corrid: str | None = None,
    initial: str = "",
    more: str = "",
    outputs: str = "",
    warm_up: str | None = None,
) -> str:
    controls = [f'{{ name: "{name}" control [ {{ {what} }} ] }}' for name, what in CONTROLS.items()]
    if corrid:
        controls.append(f'{{ name: "CORRID" control [ {{ kind: CONTROL_SEQUENCE_CORRID data_type: {corrid} }} ] }}')
        outputs += f', {{ name: "ID" data_type: {corrid} dims: [ 1 ] }}'
    sample = 'key: "INPUT" value { data_type: TYPE_INT32 dims: [ 1 ] random_data: true }'
    warm = "" if warm_up is None else f'model_warmup [ {{ name: "sample" batch_size: 1 inputs {{ {sample} }} {warm_up} }} ]'
    return f"""platform: "onnxruntime_onnx" max_batch_size: {max_batch_size}
input [ {{ name: "INPUT" data_type: TYPE_INT32 dims: [ 1 ] }} ]
output [ {{ name: "OUTPUT" data_type: TYPE_INT32 dims: [ 1 ] }}, {{ name: "FLAGS" data_type: TYPE_INT32 dims: [ 3 ] }}{outputs} ]
instance_group [ {{ kind: KIND_CPU count: {instances} }} ]
sequence_batching {{
  max_sequence_idle_microseconds: {idle_us} {strategy} {more}
  control_input [ {", ".join(controls)} ]
  state [ {{ input_name: "IN_STATE" output_name: "OUT_STATE" data_type: TYPE_INT32 dims: [ 1 ] {initial} }} ]
}}
{warm}
"""


def write(repository: pathlib.Path, name: str, *, start: bool = True, **options: object) -> pathlib.Path:
    """A model whose correlation ids are of the type `corrid`, if it looks at them. Returns its folder."""
    kinds = {"TYPE_UINT64": TensorProto.UINT64, "TYPE_INT32": TensorProto.INT32, "TYPE_STRING": TensorProto.STRING}
    corrid = options.get("corrid")
    batches = options.get("max_batch_size") != 0
    model = accumulator(kinds[corrid] if corrid else None, start=start, batches=batches)
    models.write(repository, name, model, config(**options))
    return repository / name
