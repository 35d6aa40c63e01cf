"""CUDA shared memory with the real client library, over both protocols, on a stand-in for the driver; and which GPUs there are."""

import base64
import ctypes
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

import fakes
from nereid_process import Answer, Nereid, serving

RAMP, ONES = np.arange(16, dtype=np.int32).reshape(1, 16), np.ones((1, 16), np.int32)
PROTOCOLS = {"http": httpclient, "grpc": grpcclient}
GPUS = 2
INVALID = "failed to register shared memory region: invalid args"


@pytest.fixture(scope="module")
def on_cpu(repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """`add_sub` alone, which leaves open where it runs. ONNX Runtime has no CUDA provider here."""
    folder = tmp_path_factory.mktemp("on_cpu")
    shutil.copytree(repository / "add_sub", folder / "add_sub")
    return folder


@pytest.fixture(scope="module")
def sharing(on_cpu: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    folder = tmp_path_factory.mktemp("sharing")
    environment = fakes.environment(folder / "fakes", "fake_cuda", FAKE_CUDA_DEVICES=str(GPUS))
    with serving(on_cpu, folder / "log", "--allow-client-shm=true", environment=environment) as process:
        yield process


class Gpu:
    """A client's GPU: memory on it, and handles by which the server opens that."""

    def __init__(self) -> None:
        self.driver, context = ctypes.CDLL(str(fakes.library("fake_cuda"))), ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
        self.call("cuCtxSetCurrent", context)

    def call(self, name: str, *arguments: object) -> None:
        assert getattr(self.driver, name)(*arguments) == 0, name

    def allocate(self, *values: np.ndarray) -> ctypes.c_uint64:
        data = b"".join(value.tobytes() for value in values)
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(len(data)))
        self.call("cuMemcpyHtoD_v2", address, data, ctypes.c_size_t(len(data)))
        return address

    def free(self, address: ctypes.c_uint64) -> None:
        self.call("cuMemFree_v2", address)

    def read(self, address: ctypes.c_uint64, count: int) -> np.ndarray:
        data = ctypes.create_string_buffer(4 * count)
        self.call("cuMemcpyDtoH_v2", data, address, ctypes.c_size_t(len(data)))
        return np.frombuffer(data.raw, np.int32)

    def handle(self, address: ctypes.c_uint64) -> bytes:
        """As the client library takes it."""
        handle = (ctypes.c_ubyte * 64)()
        self.call("cuIpcGetMemHandle", handle, address)
        return base64.b64encode(bytes(handle))


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    return Gpu()


class Client:
    def __init__(self, module: ModuleType, server: Nereid) -> None:
        self.module, self.server = module, server
        self.library = module.InferenceServerClient(server.http if module is httpclient else server.grpc)

    def register(self, name: str, handle: bytes, size: int, device: int = 0) -> None:
        self.library.register_cuda_shared_memory(name, handle, device, size)

    def add_sub(self, first: tuple | None = None, out: tuple | None = None):
        inputs = [self.module.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
        inputs[0].set_shared_memory(*first) if first else inputs[0].set_data_from_numpy(RAMP)
        inputs[1].set_data_from_numpy(ONES)
        output = self.module.InferRequestedOutput("OUTPUT0")
        if out:
            output.set_shared_memory(*out)
        return self.library.infer("add_sub", inputs, outputs=[output])

    def honest(self) -> None:
        np.testing.assert_array_equal(self.add_sub().as_numpy("OUTPUT0"), RAMP + 1)

    def regions(self, name: str = "") -> dict[str, tuple[int, int]]:
        """Device and size by name."""
        status = self.library.get_cuda_shared_memory_status(name)
        if isinstance(status, list):
            return {r["name"]: (r["device_id"], r["byte_size"]) for r in status}
        return {r.name: (r.device_id, r.byte_size) for r in status.regions.values()}


@pytest.fixture(params=PROTOCOLS)
def client(request: pytest.FixtureRequest, sharing: Nereid) -> Iterator[Client]:
    client = Client(PROTOCOLS[request.param], sharing)
    yield client
    client.library.unregister_cuda_shared_memory()
    assert client.regions() == {}
    client.library.close()


def refused(act: Callable[[], object], text: str) -> None:
    with pytest.raises(InferenceServerException) as error:
        act()
    assert text in str(error.value)


def test_inputs_and_outputs(client: Client, gpu: Gpu) -> None:
    source, target = gpu.allocate(ONES, RAMP), gpu.allocate(ONES * 7, ONES * 7, ONES * 7)
    client.register("in", gpu.handle(source), 128)
    client.register("out", gpu.handle(target), 192)
    client.add_sub(("in", 64, 64), ("out", 64, 64))
    written = gpu.read(target, 48).reshape(3, 16)
    np.testing.assert_array_equal(written, np.concatenate([ONES * 7, RAMP + 1, ONES * 7]))
    gpu.call("cuMemcpyHtoD_v2", source, (RAMP * 3).tobytes(), ctypes.c_size_t(64))
    np.testing.assert_array_equal(client.add_sub(("in", 64)).as_numpy("OUTPUT0"), RAMP * 3 + 1)
    client.library.unregister_cuda_shared_memory()
    gpu.free(source)
    gpu.free(target)


def test_status_and_unregister(client: Client, gpu: Gpu) -> None:
    memory = gpu.allocate(RAMP)
    client.register("b", gpu.handle(memory), 64)
    client.register("a", gpu.handle(memory), 63, device=1)
    assert client.regions() == {"a": (1, 63), "b": (0, 64)}
    assert client.regions("b") == {"b": (0, 64)}
    refused(lambda: client.regions("x"), "Unable to find cuda shared memory region: 'x'")
    refused(lambda: client.register("a", gpu.handle(memory), 64), "shared memory region 'a' already in manager")
    client.library.unregister_cuda_shared_memory("a")
    np.testing.assert_array_equal(client.add_sub(("b", 64)).as_numpy("OUTPUT0"), RAMP + 1)
    client.library.unregister_cuda_shared_memory("b")
    refused(lambda: client.add_sub(("b", 64)), "Unable to find shared memory region: 'b'")
    gpu.free(memory)


def test_what_cannot_be_registered(client: Client, gpu: Gpu) -> None:
    memory = gpu.allocate(RAMP)
    handle, stale = gpu.handle(memory), gpu.allocate(RAMP)
    stale_handle = gpu.handle(stale)
    gpu.free(stale)
    for handle, size, device, text in [
        (base64.b64encode(b"x" * 64), 64, 0, INVALID),
        (stale_handle, 64, 0, INVALID),
        (handle, 64, GPUS, INVALID),
        (handle, 64, 2**40, INVALID),
        (handle, 65, 0, "failed to register shared memory region 'r': invalid args"),
        (handle, 2**63, 0, "failed to register shared memory region 'r': invalid args"),
    ]:
        refused(lambda: client.register("r", handle, size, device), text)
        client.honest()
    assert "there is no GPU 2" in client.server.log()
    assert "cuIpcOpenMemHandle_v2 failed with error 1: CUDA_ERROR_INVALID_VALUE" in client.server.log()
    assert client.regions() == {}
    gpu.free(memory)


def test_places_that_do_not_fit(client: Client, gpu: Gpu) -> None:
    memory = gpu.allocate(RAMP, ONES)
    client.register("r", gpu.handle(memory), 128)
    refused(lambda: client.add_sub(("r", 60)), "input byte size mismatch for input 'INPUT0' for model 'add_sub'. Expected 64, got 60")
    refused(lambda: client.add_sub(None, ("r", 32)), "(32 bytes) should be at least 64 bytes to hold the results")
    refused(lambda: client.add_sub(("r", 64, 65)), "Invalid offset + byte size for shared memory region: 'r'")
    client.honest()
    np.testing.assert_array_equal(gpu.read(memory, 32).reshape(2, 16), np.concatenate([RAMP, ONES]))
    client.library.unregister_cuda_shared_memory("r")
    gpu.free(memory)


def test_which_gpus_there_are(sharing: Nereid) -> None:
    lines = [line for line in sharing.log().splitlines() if "GPUs: " in line]
    assert len(lines) == 1 and lines[0].startswith("I"), sharing.log()
    for number in range(GPUS):
        assert f"{number} is Fake GPU (GPU-00000000-0000-0000-0000-00000000000{number}), compute capability 9.0, 1024 MiB" in lines[0]


def test_without_a_cuda_provider_models_run_on_the_cpu(sharing: Nereid) -> None:
    groups = sharing.get("/v2/models/add_sub/config").json()["instance_group"]
    assert [(group["kind"], group["gpus"]) for group in groups] == [("KIND_CPU", [])]
    assert sharing.log().count("ONNX Runtime has no CUDA provider here") == 1


def load(server: Nereid, **group: object) -> Answer:
    """Loads the model `g`, whose instances are on GPUs."""
    sides = {side: [{"name": f"{side.upper()}0", "data_type": "TYPE_FP32", "dims": [1]}] for side in ("input", "output")}
    config = {"backend": "identity", **sides, "instance_group": [{"kind": "KIND_GPU", **group}]}
    return server.post("/v2/repository/models/g/load", {"parameters": {"config": json.dumps(config), "file:1/x": ""}})


def values(server: Nereid) -> dict[str, str]:
    return dict(line.split() for line in server.metrics().splitlines() if line.startswith("nv_pinned_memory_pool_"))


def test_the_pinned_memory_pool(sharing: Nereid) -> None:
    assert values(sharing) == {"nv_pinned_memory_pool_total_bytes": "268435456", "nv_pinned_memory_pool_used_bytes": "0"}


def test_gpus_that_are_too_old(repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Models use those that are left, and say so."""
    variables = {"FAKE_CUDA_DEVICES": "3", "FAKE_CUDA_CAPABILITY": "6.1,8.0,8.6"}
    environment = fakes.environment(tmp_path / "fakes", "fake_cuda", **variables)
    flags = ["--min-supported-compute-capability=8", "--pinned-memory-pool-byte-size=1000", "--model-control-mode=explicit"]
    with serving(repository, tmp_path / "log", *flags, environment=environment) as server:
        assert "gpu 0 has compute capability '6.1' which is less than the minimum supported of '8.000000'" in server.log()
        assert "gpu 1 has compute capability" not in server.log()
        assert values(server)["nv_pinned_memory_pool_total_bytes"] == "1000"
        answer = load(server, gpus=[0])
        expected = "specifies invalid or unsupported gpu id 0. GPUs with at least the minimum required CUDA compute compatibility of 8.000000 are: 1, 2"
        assert answer.status == 400 and expected in answer.error(), answer.body
        assert load(server).status == 200
        assert server.get("/v2/models/g/config").json()["instance_group"][0]["gpus"] == [1, 2]


def test_a_limit_for_loading(repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    environment = fakes.environment(tmp_path / "fakes", "fake_cuda", FAKE_CUDA_DEVICES="2", FAKE_CUDA_MEMORY="1000", FAKE_CUDA_USED="501")
    flags = ["--model-load-gpu-limit=0:0.5", "--model-load-gpu-limit=1:0.6", "--model-control-mode=explicit"]
    with serving(repository, tmp_path / "log", *flags, environment=environment) as server:
        answer = load(server, gpus=[0])
        assert answer.status == 400 and "memory limit set for GPU 0 has exceeded, model loading is rejected." in answer.error(), answer.body
        assert load(server, gpus=[1]).status == 200


def test_no_driver_that_works(on_cpu: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The server serves, without GPUs, and says why."""
    environment = fakes.environment(tmp_path / "fakes", "fake_cuda", FAKE_CUDA_INIT_ERROR="803")
    with serving(on_cpu, tmp_path / "log", "--allow-client-shm=true", environment=environment) as server:
        reason = "the NVIDIA driver does not work: cuInit failed with error 803: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
        assert server.log().count(f"No GPU is used: {reason}") == 1
        client = Client(httpclient, server)
        refused(lambda: client.register("r", base64.b64encode(bytes(64)), 64), "failed to register CUDA shared memory region: 'r', GPUs not supported")
        client.honest()
        assert values(server)["nv_pinned_memory_pool_total_bytes"] == "0"
        client.library.close()
