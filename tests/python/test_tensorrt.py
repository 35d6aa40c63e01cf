"""TensorRT engines through the real server and the real clients. There is no GPU: the driver and TensorRT are stand-ins, found
as the real ones would be, and plans are texts that they understand."""

import contextlib
import pathlib

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

import fakes
import models
from nereid_process import Nereid, serving

ADD_SUB = """\
op add_sub
in A 0 -1x4 1x4 4x4 8x4
in B 0 -1x4 1x4 4x4 8x4
out SUM 0 -1x4
out DIFF 0 -1x4
"""
CLIENTS = {"http": httpclient, "grpc": grpcclient}
LOADS = 100

fakes.NAMES |= {f"fake_nvinfer_{major}": f"libnvinfer.so.{major}" for major in (10, 11)}


def write(repository: pathlib.Path, name: str, plan: str | bytes, config: str = "") -> None:
    version = repository / name / "1"
    version.mkdir(parents=True, exist_ok=True)
    content = plan if isinstance(plan, bytes) else f"FAKEPLAN\n{plan}end\n".encode()
    (version / "model.plan").write_bytes(content)
    (repository / name / "config.pbtxt").write_text(f'platform: "tensorrt_plan"\n{config}')


@pytest.fixture(params=[10, 11])
def environment(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> dict[str, str]:
    """Of a server that finds a driver and TensorRT."""
    return fakes.environment(tmp_path / "lib", "fake_cuda", f"fake_nvinfer_{request.param}")


@pytest.fixture
def repository(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def infer(server: Nereid, protocol: str, model: str, **inputs: np.ndarray):
    library = CLIENTS[protocol]
    tensors = []
    for name, value in inputs.items():
        tensors.append(library.InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype)))
        tensors[-1].set_data_from_numpy(value)
    with library.InferenceServerClient(getattr(server, protocol)) as client:
        return client.infer(model, tensors)


def check_add_sub(server: Nereid, protocol: str = "http", rows: int = 2, model: str = "add_sub") -> None:
    a = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    b = np.full_like(a, 10)
    result = infer(server, protocol, model, A=a, B=b)
    np.testing.assert_array_equal(result.as_numpy("SUM"), a + b)
    np.testing.assert_array_equal(result.as_numpy("DIFF"), a - b)


def explicit(repository: pathlib.Path, log: pathlib.Path, environment: dict[str, str], *models: str) -> contextlib.AbstractContextManager[Nereid]:
    flags = ["--model-control-mode=explicit", *(f"--load-model={model}" for model in models)]
    return serving(repository, log, *flags, environment=environment)


def load_error(server: Nereid, model: str) -> str:
    answer = server.post(f"/v2/repository/models/{model}/load")
    assert answer.status == 400, answer.body
    return answer.error()


def test_a_model_without_more_config(environment: dict[str, str], repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write(repository, "add_sub", ADD_SUB)
    with serving(repository, tmp_path / "log", environment=environment) as server:
        config = server.get("/v2/models/add_sub/config").json()
        assert (config["backend"], config["max_batch_size"]) == ("tensorrt", 8)
        inputs = [(tensor["name"], tensor["data_type"], tensor["dims"]) for tensor in config["input"]]
        assert inputs == [("A", "TYPE_FP32", [4]), ("B", "TYPE_FP32", [4])]
        assert "dynamic_batching" in config
        assert config["instance_group"][0]["kind"] == "KIND_GPU"
        metadata = server.get("/v2/models/add_sub").json()
        assert metadata["platform"] == "tensorrt_plan"
        assert metadata["outputs"] == [{"name": name, "datatype": "FP32", "shape": [-1, 4]} for name in ("SUM", "DIFF")]
        for protocol in CLIENTS:
            for rows in (1, 8):
                check_add_sub(server, protocol, rows)
        with pytest.raises(InferenceServerException, match="inference request batch-size must be <= 8"):
            infer(server, "http", "add_sub", A=np.zeros((9, 4), np.float32), B=np.zeros((9, 4), np.float32))


def test_requests_share_executions(environment: dict[str, str], repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    together = "max_batch_size: 8 dynamic_batching { preferred_batch_size: [8] max_queue_delay_microseconds: 60000000 }"
    write(repository, "add_sub", ADD_SUB, together)
    with serving(repository, tmp_path / "log", environment=environment) as server, httpclient.InferenceServerClient(server.http, concurrency=4) as client:
        a = np.ones((2, 4), np.float32)
        inputs = [httpclient.InferInput(name, [2, 4], "FP32") for name in "AB"]
        for tensor in inputs:
            tensor.set_data_from_numpy(a)
        answers = [client.async_infer("add_sub", inputs) for _ in range(4)]
        for answer in answers:
            np.testing.assert_array_equal(answer.get_result().as_numpy("SUM"), a + a)
        statistics = client.get_inference_statistics("add_sub")["model_stats"][0]
        assert (statistics["inference_count"], statistics["execution_count"]) == (8, 1)
        assert statistics["batch_stats"][0]["batch_size"] == 8


def test_sizes_and_dependent_outputs(environment: dict[str, str], repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write(repository, "nonzero", "op nonzero\nin X 0 -1x-1 1x1 4x4 64x64\nout AT 8 2x-1\n", "max_batch_size: 0\ninput { name: 'X' data_type: TYPE_FP32 dims: [-1, -1] }")
    write(
        repository,
        "reshape",
        "op reshape\nin X 0 12\nin SHAPE 8 2 location=host shape_io values=1,1:3,4:12,12\nout Y 0 -1x-1\n",
        "max_batch_size: 0\ninput [ { name: 'X' data_type: TYPE_FP32 dims: [12] }, { name: 'SHAPE' data_type: TYPE_INT64 dims: [2] is_shape_tensor: true } ]\n"
        "output { name: 'Y' data_type: TYPE_FP32 dims: [-1, -1] }",
    )
    with serving(repository, tmp_path / "log", environment=environment) as server:
        x = np.array([[0, 1, 0], [2, 0, 0]], np.float32)
        for protocol in CLIENTS:
            result = infer(server, protocol, "nonzero", X=x)
            np.testing.assert_array_equal(result.as_numpy("AT"), np.stack(np.nonzero(x)))
            values = np.arange(12, dtype=np.float32)
            result = infer(server, protocol, "reshape", X=values, SHAPE=np.array([4, 3]))
            np.testing.assert_array_equal(result.as_numpy("Y"), values.reshape(4, 3))
            with pytest.raises(InferenceServerException, match="The shape value at index 0 is expected to be in range from 1 to 12, Got: 24"):
                infer(server, protocol, "reshape", X=values, SHAPE=np.array([24, 1]))


def test_graphs(environment: dict[str, str], repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write(repository, "add_sub", ADD_SUB, "optimization { cuda { graphs: true busy_wait_events: true output_copy_stream: true } }")
    with serving(repository, tmp_path / "log", environment=environment) as server:
        for rows in (1, 8, 3, 1):
            check_add_sub(server, "grpc", rows)
        assert "CUDA graph" not in server.log(), "what cannot be captured is logged"


def test_files_that_cannot_be_loaded(environment: dict[str, str], repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    whole = f"FAKEPLAN\n{ADD_SUB}end\n".encode()
    engine = "unable to create TensorRT engine: "
    for name, content, parts in [
        ("empty", b"", [engine, "the plan is empty"]),
        ("truncated", whole[:-6], [engine, "does not match archive size", "copy it again"]),
        ("onnx", b"\x08\x07\x12\x07pytorch", [engine, "an ONNX model", "nereid trt-build"]),
        ("garbage", bytes(range(256)), [engine, "Magic tag does not match", "compute capability 9.0"]),
        ("older", b"FAKEPLAN\nversion 8.6.1\n" + whole[9:], [engine, "Version tag does not match", "build it again here"]),
        ("large", whole.replace(b"add_sub", b"oom"), [engine, "too little memory left", "Unload models"]),
    ]:
        write(repository, name, content)
        (repository / name / "expected").write_text("\n".join(parts))
    write(repository, "add_sub", ADD_SUB)
    with explicit(repository, tmp_path / "log", environment, "add_sub") as server:
        for folder in sorted(repository.iterdir()):
            if folder.name == "add_sub":
                continue
            error = load_error(server, folder.name)
            for part in (folder / "expected").read_text().splitlines():
                assert part in error, f"{folder.name}: {error}"
            check_add_sub(server)
        write(repository, "empty", ADD_SUB)
        assert server.post("/v2/repository/models/empty/load").status == 200, "what was repaired loads"
        check_add_sub(server, model="empty")


def test_no_tensorrt(repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    environment = fakes.environment(tmp_path / "lib", "fake_cuda")
    write(repository, "add_sub", ADD_SUB)
    models.write_identity(repository, "identity")
    with explicit(repository, tmp_path / "log", environment, "identity") as server:
        error = load_error(server, "add_sub")
        for part in ("TensorRT", "libnvinfer.so.11", "libnvinfer.so.10", "install libnvinfer 10 or 11"):
            assert part in error, error
        infer(server, "http", "identity", INPUT0=np.ones(3, np.float32))


def test_no_driver(repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    environment = fakes.environment(tmp_path / "lib", "fake_nvinfer_10")
    write(repository, "add_sub", ADD_SUB)
    models.write_identity(repository, "identity")
    with explicit(repository, tmp_path / "log", environment, "identity") as server:
        error = load_error(server, "add_sub")
        for part in ("unable to load model 'add_sub', TensorRT backend supports only GPU device", "libcuda.so.1"):
            assert part in error, error
        infer(server, "http", "identity", INPUT0=np.ones(3, np.float32))


def test_a_hundred_loads(environment: dict[str, str], repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The GPU has room for three models: what is not given back is missed soon."""
    row = 1 << 18
    wide = f"op identity\nin X 0 -1x{row} 1x{row} 1x{row} 1x{row}\nout Y 0 -1x{row}\n"
    write(repository, "wide", wide)
    x = np.ones((1, row), np.float32)
    with explicit(repository, tmp_path / "log", environment | {"FAKE_CUDA_MEMORY": str(7 << 20)}) as server:
        grown = 0
        for number in range(LOADS):
            assert server.post("/v2/repository/models/wide/load").status == 200, server.log()
            np.testing.assert_array_equal(infer(server, "http", "wide", X=x).as_numpy("Y"), x)
            assert server.post("/v2/repository/models/wide/unload").status == 200
            if number == LOADS // 2:
                grown = server.resident()
        assert server.resident() < grown + (16 << 20)


def test_execution_errors(environment: dict[str, str], repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write(repository, "fails", "op fail\nin X 0 -1x1 1x1 1x1 4x1\nout Y 0 -1x1\n")
    write(repository, "add_sub", ADD_SUB)
    with serving(repository, tmp_path / "log", environment=environment) as server:
        for protocol in CLIENTS:
            with pytest.raises(InferenceServerException, match="unable to enqueue for inference fails_0.*an illegal memory access was encountered"):
                infer(server, protocol, "fails", X=np.ones((1, 1), np.float32))
            check_add_sub(server, protocol)
