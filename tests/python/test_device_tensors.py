"""Tensors that clients have in CUDA shared memory and a model takes there: nothing of them passes through the host. On
stand-ins for the driver and for TensorRT, whose copies are counted."""

import collections
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

import fakes
from nereid_process import Nereid, serving
from test_cuda_shared_memory import Gpu

PLAN = """FAKEPLAN
name identity
op identity
in INPUT0 3 -1x16 1x16 4x16 8x16
out OUTPUT0 3 -1x16
end
"""
CONFIG = """
platform: "tensorrt_plan"
max_batch_size: 8
input [ { name: "INPUT0" data_type: TYPE_INT32 dims: [ 16 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 16 ] } ]
instance_group [ { kind: KIND_GPU gpus: [ 0 ] } ]
dynamic_batching { }
"""
RAMP, SEVENS = np.arange(16, dtype=np.int32).reshape(1, 16), np.full((1, 16), 7, np.int32)
PROTOCOLS = {"http": httpclient, "grpc": grpcclient}
SPARE = bytes(192)  # up to the next multiple of 256


class Server:
    """A server with the plan, and the copies that its driver has made."""

    def __init__(self, process: Nereid, copies: pathlib.Path) -> None:
        self.process, self.path, self.seen = process, copies, 0

    def copies(self) -> collections.Counter[str]:
        """Those since the last call, by direction."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        new, self.seen = lines[self.seen :], len(lines)
        return collections.Counter(line.split()[0] for line in new)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("device_tensors")
    version = folder / "models/identity/1"
    version.mkdir(parents=True)
    (version / "model.plan").write_text(PLAN)
    (version.parent / "config.pbtxt").write_text(CONFIG)
    copies = folder / "copies"
    environment = fakes.environment(folder / "fakes", "fake_cuda", FAKE_CUDA_DEVICES="2", FAKE_CUDA_COPIES=str(copies))
    flags = [
        "--allow-client-shm=true",
        f"--backend-config=tensorrt,lib={fakes.library('fake_nvinfer_10')}",
        f"--trace-config=triton,file={folder / 'trace'}",
    ]
    with serving(folder / "models", folder / "log", *flags, environment=environment) as process:
        yield Server(process, copies)


class Client:
    def __init__(self, protocol: str, server: Server, gpu: Gpu, device: int = 0) -> None:
        self.module, self.server, self.gpu = PROTOCOLS[protocol], server, gpu
        address = server.process.http if protocol == "http" else server.process.grpc
        self.library = self.module.InferenceServerClient(address)
        self.memory = gpu.allocate(RAMP, np.frombuffer(SPARE, np.int32), SEVENS)
        self.library.register_cuda_shared_memory("r", gpu.handle(self.memory), device, 320)
        server.copies()

    def close(self) -> None:
        self.library.unregister_cuda_shared_memory()
        self.gpu.free(self.memory)
        self.library.close()

    def infer(self, source: bool, place: int | None):
        """With the input at the start of the region or in the request, the output to so many bytes at byte 256 or back."""
        tensor = self.module.InferInput("INPUT0", [1, 16], "INT32")
        tensor.set_shared_memory("r", 64) if source else tensor.set_data_from_numpy(RAMP * 2)
        output = self.module.InferRequestedOutput("OUTPUT0")
        if place is not None:
            output.set_shared_memory("r", place, 256)
        return self.library.infer("identity", [tensor], outputs=[output])

    def written(self) -> np.ndarray:
        return self.gpu.read(self.memory, 80)[64:].reshape(1, 16)


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    return Gpu()


@pytest.fixture(params=PROTOCOLS)
def client(request: pytest.FixtureRequest, server: Server, gpu: Gpu) -> Iterator[Client]:
    client = Client(request.param, server, gpu)
    yield client
    client.close()


def test_nothing_passes_through_the_host(client: Client) -> None:
    client.infer(True, 64)
    copies = client.server.copies()
    assert copies["HtoD"] == 0 and copies["DtoH"] == 0, copies
    np.testing.assert_array_equal(client.written(), RAMP)


def test_one_side_on_the_host(client: Client) -> None:
    client.infer(False, 64)
    copies = client.server.copies()
    assert copies["HtoD"] == 1 and copies["DtoH"] == 0, copies
    np.testing.assert_array_equal(client.written(), RAMP * 2)
    np.testing.assert_array_equal(client.infer(True, None).as_numpy("OUTPUT0"), RAMP)
    copies = client.server.copies()
    assert copies["HtoD"] == 0 and copies["DtoH"] == 1, copies


def test_a_place_that_is_too_small(client: Client) -> None:
    with pytest.raises(InferenceServerException) as error:
        client.infer(True, 63)
    text = "shared memory size specified with the request for output 'OUTPUT0' (63 bytes) should be at least 64 bytes to hold the results"
    assert text in str(error.value)
    np.testing.assert_array_equal(client.written(), SEVENS)


def test_regions_on_another_gpu(server: Server, gpu: Gpu) -> None:
    """The answers are the same, through the host."""
    client = Client("http", server, gpu, device=1)
    client.infer(True, 64)
    copies = server.copies()
    assert copies["HtoD"] == 2 and copies["DtoH"] == 2, copies
    np.testing.assert_array_equal(client.written(), RAMP)
    client.close()


def test_traces_show_tensors(client: Client) -> None:
    """Through the host, as long as they do."""
    path = "/v2/models/identity/trace/setting"
    settings = {"trace_level": ["TENSORS"], "trace_rate": "1"}
    assert client.server.process.post(path, settings).status == 200
    client.infer(True, 64)
    copies = client.server.copies()
    assert copies["HtoD"] == 2 and copies["DtoH"] == 2, copies
    np.testing.assert_array_equal(client.written(), RAMP)
    assert client.server.process.post(path, {"trace_level": ["OFF"]}).status == 200
    client.infer(True, 64)
    copies = client.server.copies()
    assert copies["HtoD"] == 0 and copies["DtoH"] == 0, copies
