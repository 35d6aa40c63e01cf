"""Ragged batching: requests of different shapes in one batch, inputs that tell about the batch, outputs scattered by shape.

`TRITONSERVER_DELAY_SCHEDULER` holds the first batch until all requests are there; a stream keeps their order.
"""

import pathlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient

import models
from batches import executions, streaming
from nereid_process import Nereid, serving

SEER = """
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "RAGGED" data_type: TYPE_FP32 dims: [ %s ] allow_ragged_batch: true } ]
output [
  { name: "RAGGED_OUTPUT" data_type: TYPE_FP32 dims: [ -1 ] },
  { name: "SIZE_OUTPUT" data_type: TYPE_FP32 dims: [ -1 ] },
  { name: "ABOUT_OUTPUT" data_type: TYPE_FP32 dims: [ -1 ] }
]
batch_input [
  { kind: %s target_name: "SIZE" data_type: TYPE_FP32 source_input: "RAGGED" },
  { kind: %s target_name: "ABOUT" data_type: TYPE_FP32 source_input: "RAGGED" }
]
instance_group [ { kind: KIND_CPU count: 1 } ]
dynamic_batching { }
"""

ITEMS = """
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "RAGGED" data_type: TYPE_FP32 dims: [ -1, -1 ] allow_ragged_batch: true } ]
output [ { name: "SHAPES" data_type: TYPE_INT32 dims: [ 2 ] } ]
batch_input [ { kind: BATCH_ITEM_SHAPE target_name: "ITEMS" data_type: TYPE_INT32 source_input: "RAGGED" } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
dynamic_batching { }
"""

SCATTER = """
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "IN" data_type: %s dims: [ -1 ] allow_ragged_batch: true } ]
output [ { name: "OUT" data_type: %s dims: [ -1 ] } ]
batch_output [ { target_name: "OUT" kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "IN" } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
dynamic_batching { }
"""


def stream(server: Nereid, model: str, inputs: list[list[grpcclient.InferInput]]) -> list[grpcclient.InferResult]:
    """One request for each, in order."""
    with streaming(server) as requests:
        for tensors in inputs:
            requests.send(model, tensors)
        return requests.results(len(inputs))


def tensor(name: str, values: np.ndarray, module=grpcclient):
    made = module.InferInput(name, list(values.shape), "FP32" if values.dtype == np.float32 else "BYTES")
    made.set_data_from_numpy(values)
    return made


def filled(*shapes: list[int]) -> list[list[grpcclient.InferInput]]:
    """A request for each shape, filled with the number of its elements."""
    return [[tensor("RAGGED", np.full(shape, np.prod(shape), np.float32))] for shape in shapes]


@pytest.mark.parametrize(
    ("kinds", "sizes", "about"),
    [
        (("BATCH_ELEMENT_COUNT", "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO"), [2, 4, 1, 3], [0, 2, 6, 7, 10]),
        (("BATCH_ACCUMULATED_ELEMENT_COUNT", "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE"), [2, 6, 7, 10], [0, 0, 0, 0]),
    ],
)
def test_a_batch_of_different_lengths(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, kinds, sizes, about) -> None:
    """`L0_batch_input`: test_ragged_input, test_*element_count*, test_max_element_count_as_shape."""
    monkeypatch.setenv("TRITONSERVER_DELAY_SCHEDULER", "4")
    models.write(tmp_path / "repository", "seer", models.batch_seer(), SEER % ("-1", *kinds))
    with serving(tmp_path / "repository", tmp_path / "log") as server:
        for result in stream(server, "seer", filled([1, 2], [1, 4], [1, 1], [1, 3])):
            np.testing.assert_array_equal(result.as_numpy("RAGGED_OUTPUT"), [[2, 2, 4, 4, 4, 4, 1, 3, 3, 3]])
            np.testing.assert_array_equal(result.as_numpy("SIZE_OUTPUT"), [sizes])
            np.testing.assert_array_equal(result.as_numpy("ABOUT_OUTPUT"), [about])
        assert executions(server, "seer") == {4: 1}
        config = server.get("/v2/models/seer/config").json()
        shown = [(b["kind"], b["target_name"], b["data_type"], b["source_input"]) for b in config["batch_input"]]
        assert shown == [(kind, [name], "TYPE_FP32", ["RAGGED"]) for kind, name in zip(kinds, ("SIZE", "ABOUT"))]
        assert [tensor["name"] for tensor in server.get("/v2/models/seer").json()["inputs"]] == ["RAGGED"]


def test_shapes_in_one_dimension(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`L0_batch_input`: test_batch_item_shape_flatten."""
    monkeypatch.setenv("TRITONSERVER_DELAY_SCHEDULER", "4")
    config = SEER % ("-1, -1", "BATCH_ACCUMULATED_ELEMENT_COUNT", "BATCH_ITEM_SHAPE_FLATTEN")
    models.write(tmp_path / "repository", "seer", models.batch_seer(), config)
    with serving(tmp_path / "repository", tmp_path / "log") as server:
        for result in stream(server, "seer", filled([1, 4, 1], [1, 1, 2], [1, 1, 2], [1, 2, 2])):
            np.testing.assert_array_equal(result.as_numpy("ABOUT_OUTPUT"), [[4, 1, 1, 2, 1, 2, 2, 2]])
            np.testing.assert_array_equal(result.as_numpy("SIZE_OUTPUT"), [[4, 6, 8, 12]])


def test_the_shape_of_each_row(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`L0_batch_input`: test_batch_item_shape, where one request has two rows."""
    monkeypatch.setenv("TRITONSERVER_DELAY_SCHEDULER", "3")
    graph = models.passes({"RAGGED": ("FP32", ["n"]), "ITEMS": ("INT32", ["rows", 2])}, {"SHAPES": ("ITEMS", "INT32", ["rows", 2])})
    models.write(tmp_path / "repository", "items", graph, ITEMS)
    with serving(tmp_path / "repository", tmp_path / "log") as server:
        results = stream(server, "items", filled([2, 1, 2], [1, 1, 2], [1, 2, 2]))
        shapes = [result.as_numpy("SHAPES").tolist() for result in results]
        assert shapes == [[[1, 2], [1, 2]], [[1, 2]], [[2, 2]]]
        assert executions(server, "items") == {4: 1}


def scatter(repository: pathlib.Path, kind: str) -> None:
    graph = models.passes({"IN": (kind, ["n"])}, {"OUT": ("IN", kind, ["n"])})
    data_type = {"FP32": "TYPE_FP32", "BYTES": "TYPE_STRING"}[kind]
    models.write(repository, f"scatter_{kind.lower()}", graph, SCATTER % (data_type, data_type))


@pytest.mark.parametrize("module", [httpclient, grpcclient], ids=["http", "grpc"])
def test_every_request_gets_its_own_part(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, module) -> None:
    """`L0_batch_input`: test_ragged_output; numbers and strings, with several rows and with none to give."""
    monkeypatch.setenv("TRITONSERVER_DELAY_SCHEDULER", "5")
    for kind in ("FP32", "BYTES"):
        scatter(tmp_path / "repository", kind)
    shapes = [[1, 2], [2, 3], [1, 0], [1, 1], [3, 1]]
    numbers = [np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 10 * i for i, shape in enumerate(shapes)]
    with serving(tmp_path / "repository", tmp_path / "log") as server:

        def one(model: str, values: np.ndarray) -> np.ndarray:
            with module.InferenceServerClient(server.http if module is httpclient else server.grpc) as client:
                return client.infer(model, [tensor("IN", values, module)]).as_numpy("OUT")

        for model, inputs in {
            "scatter_fp32": numbers,
            "scatter_bytes": [np.array([f"{x}\0é" for x in values.flat], object).reshape(values.shape) for values in numbers],
        }.items():
            with ThreadPoolExecutor(len(shapes)) as pool:
                answers = list(pool.map(lambda values: one(model, values), inputs))
            for answer, values in zip(answers, inputs, strict=True):
                expected = values if values.dtype == np.float32 else np.vectorize(str.encode, otypes=[object])(values)
                np.testing.assert_array_equal(answer, expected)
                assert answer.shape == values.shape
            assert executions(server, model) == {8: 1}


def test_configs_that_are_refused(tmp_path: pathlib.Path) -> None:
    right = SEER % ("-1", "BATCH_ELEMENT_COUNT", "BATCH_ITEM_SHAPE_FLATTEN")
    ragged = "input with shape [-1]  for ragged input 'IN', model provides [-1,-1]"
    shallow = SCATTER % ("TYPE_FP32", "TYPE_FP32")
    cases = {
        "integer": (models.batch_seer(), right.replace('TYPE_FP32 source_input', 'TYPE_INT64 source_input'), "batch input data type must be TYPE_INT32 or TYPE_FP32 for integer"),
        "unsourced": (models.batch_seer(), right.replace('source_input: "RAGGED"', "", 1), "batch input kind 'BATCH_ELEMENT_COUNT' expects 1 source input, got 0 for unsourced"),
        "missing": (models.batch_seer(), right.replace('"ABOUT"', '"SOUGHT"'), "unexpected inference input 'SOUGHT', allowed inputs are: ABOUT, RAGGED, SIZE"),
        "matrix": (models.passes({"IN": ("FP32", ["n", "m"])}, {"OUT": ("IN", "FP32", ["n", "m"])}), shallow, f"unable to load model 'matrix', configuration expects model provides {ragged}"),
        "unknown": (models.identity("FP32"), shallow.replace('target_name: "OUT"', 'target_name: "UP"'), "unknown target output name 'UP' for unknown"),
    }
    for name, (graph, config, _) in cases.items():
        models.write(tmp_path / "repository", name, graph, config)
    with serving(tmp_path / "repository", tmp_path / "log", "--exit-on-error=false", "--strict-readiness=false") as server:
        index = server.post("/v2/repository/index", {}).json()
        reasons = {entry["name"]: entry["reason"] for entry in index}
        assert reasons == {name: f"Invalid argument: {reason}" for name, (_, _, reason) in cases.items()}
