"""Optional inputs: those of ONNX models are initializers that a request may override (`L0_initializer_as_input`); with the
identity backend, requests share a batch only if they leave out the same ones (`L0_optional_input`).
"""

import pathlib
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

import models
from batches import executions, streaming, wait_pending
from nereid_process import Nereid, serving

HOUR = 3_600_000_000

CONFIG = """
backend: "onnxruntime"
max_batch_size: %d
input [
  { name: "INPUT" data_type: TYPE_FP32 dims: [ 2 ] },
  { name: "OFFSET" data_type: TYPE_FP32 dims: [ 2 ] optional: true },
  { name: "FACTOR" data_type: TYPE_FP32 dims: [ 2 ] optional: true }
]
output [ { name: "OUTPUT" data_type: TYPE_FP32 dims: [ 2 ] } ]
dynamic_batching { }
"""


def graph(rows: list) -> onnx.ModelProto:
    """`OUTPUT = INPUT * FACTOR + OFFSET`, where the latter two are 10 and 1 unless they are given."""
    names = ["INPUT", "FACTOR", "OFFSET"]
    nodes = [helper.make_node("Mul", ["INPUT", "FACTOR"], ["product"]), helper.make_node("Add", ["product", "OFFSET"], ["OUTPUT"])]
    shapes = {"INPUT": [*rows, 2], "FACTOR": [2], "OFFSET": [2]}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name]) for name in names]
    outputs = [helper.make_tensor_value_info("OUTPUT", TensorProto.FLOAT, shapes["INPUT"])]
    defaults = [helper.make_tensor("FACTOR", TensorProto.FLOAT, [2], [10, 10]), helper.make_tensor("OFFSET", TensorProto.FLOAT, [2], [1, 1])]
    made = helper.make_graph(nodes, "optional", inputs, outputs, defaults)
    return helper.make_model(made, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    folder = tmp_path_factory.mktemp("optional")
    models.write(folder / "repository", "optional", graph([]), CONFIG % 0)
    models.write(folder / "repository", "batching", graph(["rows"]), CONFIG % 8)
    with serving(folder / "repository", folder / "log", "--exit-on-error=false", "--strict-readiness=false") as process:
        yield process


def tensor(module, name: str, value: float, shape: tuple[int, ...] = (2,)):
    made = module.InferInput(name, list(shape), "FP32")
    made.set_data_from_numpy(np.full(shape, value, np.float32))
    return made


@pytest.mark.parametrize("module", [httpclient, grpcclient], ids=["http", "grpc"])
def test_initializers_may_be_overridden(server: Nereid, module) -> None:
    with module.InferenceServerClient(server.http if module is httpclient else server.grpc) as client:

        def infer(**values: float) -> list[float]:
            return client.infer("optional", [tensor(module, name, value) for name, value in values.items()]).as_numpy("OUTPUT").tolist()

        for _ in range(2):  # what one request gives is gone with it
            assert infer(INPUT=2) == [21, 21]
            assert infer(FACTOR=3, INPUT=2) == [7, 7]
            assert infer(INPUT=2, OFFSET=5) == [25, 25]
            assert infer(OFFSET=5, FACTOR=3, INPUT=2) == [11, 11]
        with pytest.raises(InferenceServerException) as caught:
            infer(FACTOR=3, OFFSET=5)
        assert "but missing required input(s) ['INPUT']. Please provide all required input(s)." in caught.value.message()
        with pytest.raises(InferenceServerException) as caught:
            infer(INPUT=1, FACTOR=3, OFFSET=5, FOURTH=1)
        assert "expected number of inputs between 1 and 3 but got 4 inputs for model 'optional'" in caught.value.message()


def test_onnx_models_that_batch_have_none(server: Nereid) -> None:
    index = {entry["name"]: entry.get("reason") for entry in server.post("/v2/repository/index", {}).json()}
    text = "unable to load model 'batching', optional input 'OFFSET' is not supported for models that support batching"
    assert index == {"optional": None, "batching": f"Invalid argument: {text}"}


BOTH, FIRST, SECOND = ("INPUT0", "INPUT1"), ("INPUT0",), ("INPUT1",)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([BOTH, BOTH, BOTH, BOTH], {4: 1}),  # test_all_inputs
        ([SECOND, SECOND, SECOND, SECOND], {4: 1}),  # test_optional_same_input
        ([FIRST, SECOND, FIRST, SECOND], {1: 3}),  # test_optional_mix_inputs: the last one waits
        ([FIRST, BOTH, FIRST, BOTH], {1: 3}),  # test_optional_mix_inputs_2
        ([FIRST, FIRST, BOTH, BOTH, SECOND], {2: 2}),
    ],
)
def test_requests_with_the_same_inputs_share_a_batch(tmp_path: pathlib.Path, given: list[tuple[str, ...]], expected: dict[int, int]) -> None:
    """Where the next request has other inputs, the batch goes at once, whatever the queue delay."""
    batching = f"dynamic_batching {{ preferred_batch_size: [ 4 ] max_queue_delay_microseconds: {HOUR} }}"
    models.write_identity(tmp_path / "repository", "m", [("FP32", [1]), ("FP32", [1])], max_batch_size=4, more=batching)
    config = tmp_path / "repository" / "m" / "config.pbtxt"
    text = config.read_text()
    for name in BOTH:
        text = text.replace(f'name: "{name}"', f'name: "{name}" optional: true')
    config.write_text(text)
    answered = sum(size * count for size, count in expected.items())
    with serving(tmp_path / "repository", tmp_path / "log") as server, streaming(server) as requests:
        for number, names in enumerate(given):
            requests.send("m", [tensor(grpcclient, name, number + 1, (1, 1)) for name in names])
        for number, (names, result) in enumerate(zip(given, requests.results(answered))):
            for name in BOTH:
                value = number + 1 if name in names else 0
                assert result.as_numpy(name.replace("IN", "OUT")).tolist() == [[value]]
        wait_pending(server, "m", len(given) - answered)
        assert executions(server, "m") == expected
