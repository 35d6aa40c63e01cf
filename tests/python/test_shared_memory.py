"""Shared memory with the real client library, over both protocols; and owners and requests that mean no good."""

import os
import pathlib
import threading
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

from nereid_process import Nereid, serving, wait_until

RAMP, ONES = np.arange(16, dtype=np.int32).reshape(1, 16), np.ones((1, 16), np.int32)
PROTOCOLS = {"http": httpclient, "grpc": grpcclient}
HUGE = 2**64 - 1
ROUNDS = 300  # of the model `slow`: long enough to find the next request waiting


@pytest.fixture(scope="module")
def sharing(repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    with serving(repository, tmp_path_factory.mktemp("sharing") / "log", "--allow-client-shm=true") as process:
        yield process


class Memory:
    """A client and its objects in shared memory, each registered under its name; all gone at the end."""

    def __init__(self, module: ModuleType, server: Nereid) -> None:
        self.module, self.handles = module, {}
        options = {"network_timeout": 60.0} if module is httpclient else {}
        self.client = module.InferenceServerClient(server.http if module is httpclient else server.grpc, **options)

    def create(self, name: str, size: int, *values: np.ndarray) -> None:
        self.handles[name] = shm.create_shared_memory_region(name, self.key(name), size)
        if values:
            shm.set_shared_memory_region(self.handles[name], list(values))

    def register(self, name: str, size: int, *values: np.ndarray) -> None:
        self.create(name, size, *values)
        self.client.register_system_shared_memory(name, self.key(name), size)

    def key(self, name: str) -> str:
        return f"/nereid_test_{os.getpid()}_{self.module.__name__.rsplit('.', 1)[1]}_{name}"

    def truncate(self, name: str, size: int) -> None:
        os.truncate(f"/dev/shm{self.key(name)}", size)

    def contents(self, name: str, dtype: type, shape: list[int], offset: int = 0) -> np.ndarray:
        return shm.get_contents_as_numpy(self.handles[name], dtype, shape, offset)

    def input(self, name: str, value: np.ndarray, datatype: str, place: tuple | None = None):
        tensor = self.module.InferInput(name, list(value.shape), datatype)
        tensor.set_shared_memory(*place) if place else tensor.set_data_from_numpy(value)
        return tensor

    def output(self, name: str, place: tuple | None = None):
        output = self.module.InferRequestedOutput(name)
        if place:
            output.set_shared_memory(*place)
        return output

    def add_sub(self, first: tuple | None = None, outputs: dict[str, tuple | None] | None = None):
        """INPUT0 at `first`, or in the message; the outputs each at its place, or in the message."""
        inputs = [self.input("INPUT0", RAMP, "INT32", first), self.input("INPUT1", ONES, "INT32")]
        wanted = [self.output(name, place) for name, place in (outputs or {"OUTPUT0": None}).items()]
        return self.client.infer("add_sub", inputs, outputs=wanted)

    def honest(self) -> None:
        np.testing.assert_array_equal(self.add_sub().as_numpy("OUTPUT0"), RAMP + 1)

    def names(self) -> list[str]:
        status = self.client.get_system_shared_memory_status()
        return [r["name"] for r in status] if isinstance(status, list) else sorted(status.regions)

    def close(self) -> None:
        for handle in self.handles.values():
            shm.destroy_shared_memory_region(handle)
        self.client.close()


@pytest.fixture(params=PROTOCOLS)
def memory(request: pytest.FixtureRequest, sharing: Nereid) -> Iterator[Memory]:
    memory = Memory(PROTOCOLS[request.param], sharing)
    yield memory
    memory.client.unregister_system_shared_memory()
    memory.close()


def refused(act: Callable[[], object], *parts: str) -> None:
    with pytest.raises(InferenceServerException) as error:
        act()
    assert all(part in str(error.value) for part in parts), error.value


def test_inputs_and_outputs(memory: Memory) -> None:
    memory.register("in", 128, RAMP, ONES)
    memory.register("out", 128)
    inputs = [memory.input("INPUT0", RAMP, "INT32", ("in", 64)), memory.input("INPUT1", ONES, "INT32", ("in", 64, 64))]
    outputs = [memory.output("OUTPUT0", ("out", 64)), memory.output("OUTPUT1", ("out", 64, 64))]
    result = memory.client.infer("add_sub", inputs, outputs=outputs)
    np.testing.assert_array_equal(memory.contents("out", np.int32, [1, 16]), RAMP + 1)
    np.testing.assert_array_equal(memory.contents("out", np.int32, [1, 16], 64), RAMP - 1)
    response = result.get_response()
    if memory.module is httpclient:
        assert response["outputs"] == [{"name": n, "datatype": "INT32", "shape": [1, 16]} for n in ("OUTPUT0", "OUTPUT1")]
    else:
        assert list(response.raw_output_contents) == [b"", b""]
        assert [list(o.shape) for o in response.outputs] == [[1, 16]] * 2


def test_shared_and_sent_tensors_mix(memory: Memory) -> None:
    """Only INPUT1 is in the message: it gets what was sent, although it comes second."""
    memory.register("in", 64, RAMP)
    memory.register("out", 64)
    result = memory.add_sub(("in", 64), {"OUTPUT1": None, "OUTPUT0": ("out", 64)})
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), RAMP - 1)
    np.testing.assert_array_equal(memory.contents("out", np.int32, [1, 16]), RAMP + 1)


def test_strings(memory: Memory) -> None:
    value = np.array([["a", "", "b\0c"], ["ä" * 50, "x", "y"]], dtype=object)
    packed = np.frombuffer(serialize_byte_tensor(value).item(), np.uint8)
    memory.register("in", 1024, packed)
    memory.register("out", 1024)
    inputs = [memory.input("INPUT0", value, "BYTES", ("in", packed.size))]
    memory.client.infer("identity_bytes", inputs, outputs=[memory.output("OUTPUT0", ("out", 1024))])
    found = memory.contents("out", np.object_, [2, 3])
    assert [[s.decode() for s in row] for row in found] == value.tolist()


def test_large_tensors(memory: Memory) -> None:
    value = np.random.default_rng(1).random((4, 1_000_000), np.float32)
    memory.register("in", value.nbytes, value)
    memory.register("out", value.nbytes)
    inputs = [memory.input("INPUT0", value, "FP32", ("in", value.nbytes))]
    memory.client.infer("identity_fp32", inputs, outputs=[memory.output("OUTPUT0", ("out", value.nbytes))])
    np.testing.assert_array_equal(memory.contents("out", np.float32, [4, 1_000_000]), value)


def test_requests_on_a_stream(sharing: Nereid) -> None:
    memory, answers = Memory(grpcclient, sharing), []
    memory.register("in", 64, RAMP)
    memory.register("out", 640)
    arrived = threading.Semaphore(0)
    memory.client.start_stream(lambda result, error: (answers.append(error or result), arrived.release()))
    for number in range(10):
        inputs = [memory.input("INPUT0", RAMP, "INT32", ("in", 64)), memory.input("INPUT1", ONES * number, "INT32")]
        memory.client.async_stream_infer("add_sub", inputs, outputs=[memory.output("OUTPUT0", ("out", 64, 64 * number))])
    assert all(arrived.acquire(timeout=30) for _ in range(10))
    memory.client.stop_stream()
    assert not [a for a in answers if isinstance(a, Exception)]
    np.testing.assert_array_equal(memory.contents("out", np.int32, [10, 16]), RAMP + np.arange(10).reshape(10, 1))
    memory.client.unregister_system_shared_memory()
    memory.close()


def test_status_and_unregister(memory: Memory) -> None:
    client = memory.client
    assert memory.names() == []
    memory.register("b", 64)
    memory.register("a", 64)
    assert memory.names() == ["a", "b"]
    client.register_system_shared_memory("c", memory.key("a"), 63, offset=1)  # no page's start
    status = client.get_system_shared_memory_status("c")
    one = status[0] if isinstance(status, list) else {f.name: v for f, v in status.regions["c"].ListFields()}
    assert one == {"name": "c", "key": memory.key("a"), "offset": 1, "byte_size": 63}
    refused(lambda: client.register_system_shared_memory("a", memory.key("b"), 64), "shared memory region 'a' already in manager")
    refused(lambda: client.get_system_shared_memory_status("x"), "Unable to find system shared memory region: 'x'")
    refused(lambda: client.get_cuda_shared_memory_status("a"), "The region named 'a' is registered as system shared memory, not CUDA shared memory")
    client.unregister_system_shared_memory("a")
    client.unregister_system_shared_memory("a")
    client.unregister_cuda_shared_memory("b")
    assert memory.names() == ["b", "c"]
    client.unregister_system_shared_memory()
    assert memory.names() == []
    refused(lambda: memory.add_sub(("b", 64)), "Unable to find shared memory region: 'b'")


@pytest.mark.parametrize("module", PROTOCOLS.values(), ids=PROTOCOLS)
def test_off_by_default(server: Nereid, module: ModuleType) -> None:
    memory = Memory(module, server)
    memory.create("in", 64, RAMP)
    off = "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable."
    code = "501" if module is httpclient else "StatusCode.UNIMPLEMENTED"
    client = memory.client
    refused(lambda: client.register_system_shared_memory("in", memory.key("in"), 64), off, code)
    refused(lambda: client.register_cuda_shared_memory("in", b"A" * 88, 0, 64), off, code)
    refused(client.unregister_system_shared_memory, off, code)
    refused(client.unregister_cuda_shared_memory, off, code)
    assert memory.names() == []
    refused(lambda: memory.add_sub(("in", 64)), "Unable to find shared memory region: 'in'")
    memory.honest()
    memory.close()


def test_an_owner_who_unlinks_or_truncates(memory: Memory) -> None:
    memory.register("in", 64, RAMP)
    memory.register("out", 64)
    os.unlink(f"/dev/shm{memory.key('out')}")
    memory.add_sub(("in", 64), {"OUTPUT0": ("out", 64)})
    np.testing.assert_array_equal(memory.contents("out", np.int32, [1, 16]), RAMP + 1)
    for size in (63, 0):
        memory.truncate("in", size)
        refused(lambda: memory.add_sub(("in", 64)), "shared memory region 'in' has become shorter", f"it has {size} bytes now")
        memory.honest()
    memory.register("out2", 4096)
    memory.truncate("out2", 32)
    refused(lambda: memory.add_sub(None, {"OUTPUT0": ("out2", 64)}), "shared memory region 'out2' has become shorter")
    assert os.stat(f"/dev/shm{memory.key('out2')}").st_size == 32
    memory.honest()
    pathlib.Path(f"/dev/shm{memory.key('out')}").touch()  # for the client's library, which unlinks it too


def test_an_owner_who_truncates_under_load(memory: Memory) -> None:
    """Each request is answered or refused, whenever the owner changes the length."""
    value = np.ones((1, 500_000), np.float32)
    memory.register("in", value.nbytes, value)
    stop = threading.Event()

    def shake() -> None:
        while not stop.is_set():
            memory.truncate("in", 1)
            memory.truncate("in", value.nbytes)

    shaker = threading.Thread(target=shake)
    shaker.start()
    try:
        for _ in range(50):
            try:
                memory.client.infer("identity_fp32", [memory.input("INPUT0", value, "FP32", ("in", value.nbytes))])
            except InferenceServerException as error:
                assert "shared memory region 'in' has become shorter" in str(error)
    finally:
        stop.set()
        shaker.join()
    memory.honest()


TOO_SMALL = "shared memory size specified with the request for output 'OUTPUT0' (32 bytes) should be at least 64 bytes to hold the results"
PLACES = {
    "unknown_region": (("nope", 64), None, "Unable to find shared memory region: 'nope'"),
    "unknown_output_region": (None, ("nope", 64), "Unable to find shared memory region: 'nope'"),
    "input_too_small": (("r", 60), None, "input byte size mismatch for input 'INPUT0' for model 'add_sub'. Expected 64, got 60"),
    "input_too_large": (("r", 128), None, "input byte size mismatch for input 'INPUT0' for model 'add_sub'. Expected 64, got 128"),
    "output_too_small": (None, ("r", 32), TOO_SMALL),
    "offset_past_the_end": (("r", 64, 128), None, "Invalid offset for shared memory region: 'r'"),
    "end_past_the_end": (("r", 64, 65), None, "Invalid offset + byte size for shared memory region: 'r'"),
    "huge_size": (("r", 2**63 - 1), None, "Invalid offset + byte size for shared memory region: 'r'"),
    "huge_offset": (None, ("r", 64, 2**63 - 1), "Invalid offset for shared memory region: 'r'"),
}


@pytest.mark.parametrize("name", PLACES)
def test_places_that_do_not_fit(memory: Memory, name: str) -> None:
    first, out, text = PLACES[name]
    memory.register("r", 128, RAMP, ONES)
    refused(lambda: memory.add_sub(first, {"OUTPUT0": out}), text)
    memory.honest()
    np.testing.assert_array_equal(memory.contents("r", np.int32, [2, 16]), np.concatenate([RAMP, ONES]))


def test_sums_that_wrap(sharing: Nereid) -> None:
    """Numbers beyond 63 bits, which only JSON can express."""
    memory = Memory(httpclient, sharing)
    memory.register("r", 128)
    for offset, size, text in [
        (1, HUGE, f"Integer overflow detected: byte_size ({HUGE}) + offset (1) exceeds maximum value ({HUGE}) for region 'r'"),
        (HUGE, 1, "Invalid offset for shared memory region: 'r'"),
        (0, HUGE, "Invalid offset + byte size for shared memory region: 'r'"),
    ]:
        place = {"shared_memory_region": "r", "shared_memory_byte_size": size, "shared_memory_offset": offset}
        tensor = {"name": "INPUT0", "shape": [1, 16], "datatype": "INT32", "parameters": place}
        for body in ({"inputs": [tensor]}, {"inputs": [], "outputs": [{"name": "OUTPUT0", "parameters": place}]}):
            answer = sharing.post("/v2/models/add_sub/infer", body)
            assert (answer.status, answer.error()) == (400, text)
    memory.honest()
    memory.client.unregister_system_shared_memory()
    memory.close()


def test_objects_that_cannot_be_registered(memory: Memory) -> None:
    memory.create("r", 128)
    key, register = memory.key("r"), memory.client.register_system_shared_memory
    invalid = "failed to register shared memory region 'x': invalid args"
    for key, size, offset, text in [
        (key, 129, 0, invalid),
        (key, 64, 65, invalid),
        (key, HUGE, 1, invalid),
        (key, 1, HUGE, invalid),
        (key, 0, 0, "failed to register shared memory region 'x': "),
        ("", 1, 0, "cannot register shared memory region 'x' - invalid shm key ''"),
        ("//", 1, 0, "cannot register shared memory region 'x' - invalid shm key '//'"),
        ("/triton_python_backend_shm_region_1", 1, 0, "as the key contains the reserved prefix 'triton_python_backend_shm_region_'"),
        ("/absent", 1, 0, "Unable to open shared memory region: '/absent'"),
        ("/../../etc/passwd", 1, 0, "Unable to open shared memory region: '/../../etc/passwd'"),
        ("/a/b", 1, 0, "Unable to open shared memory region: '/a/b'"),
        ("/nul\0", 1, 0, "Unable to open shared memory region: '/nul"),
        ("k" * 100_000, 1, 0, "Unable to open shared memory region: 'kkk"),
    ]:
        refused(lambda: register("x", key, size, offset), text)
        memory.honest()
    assert memory.names() == []


def test_classes_are_not_shared(memory: Memory) -> None:
    memory.register("r", 128)
    output = memory.module.InferRequestedOutput("OUTPUT0", class_count=2)
    inputs = [memory.input("INPUT0", RAMP, "INT32"), memory.input("INPUT1", ONES, "INT32")]
    if memory.module is httpclient:
        output._parameters |= {"shared_memory_region": "r", "shared_memory_byte_size": 64}
        output._parameters.pop("binary_data", None)
    else:
        output._output.parameters["shared_memory_region"].string_param = "r"
        output._output.parameters["shared_memory_byte_size"].int64_param = 64
    refused(lambda: memory.client.infer("add_sub", inputs, outputs=[output]), "utput can't set both 'shared_memory_region' and 'classification'")
    memory.honest()


def test_a_region_in_use_is_unregistered_afterwards(memory: Memory, sharing: Nereid) -> None:
    """One request keeps the only instance busy, behind it waits another; the outputs of both go to the region."""
    memory.register("out", 8)

    def slow() -> threading.Thread:
        def run() -> None:
            client = Memory(memory.module, sharing)
            value = np.array([ROUNDS], np.int64)
            outputs = [memory.output("OUTPUT", ("out", 8))]
            client.client.infer("slow", [client.input("ROUNDS", value, "INT64")], outputs=outputs)
            client.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def pending() -> bool:
        (line,) = [line for line in sharing.metrics().splitlines() if line.startswith('nv_inference_pending_request_count{model="slow"')]
        return line.endswith(" 1")

    both = [slow(), slow()]
    wait_until(pending, 30, "one request runs, one waits")
    memory.client.unregister_system_shared_memory("out")
    assert memory.names() == ["out"]
    refused(lambda: memory.client.register_system_shared_memory("out", memory.key("out"), 8), "shared memory region 'out' already in manager")
    for thread in both:
        thread.join()
    assert memory.contents("out", np.int64, [1]) == ROUNDS
    assert memory.names() == []


def test_cuda_handles_that_are_none(memory: Memory) -> None:
    register = memory.client.register_cuda_shared_memory
    if memory.module is httpclient:
        for handle in (b"AAAA", b"?", b"A" * 92):
            refused(lambda: register("x", handle, 0, 64), "'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t")
    # Without a GPU "…, GPUs not supported", with one "…: invalid args"; the client takes base64 for both protocols.
    refused(lambda: register("x", b"A" * 86 + b"==", 0, 64), "failed to register ")
    refused(lambda: register("x", b"A" * 86 + b"==", 2**31, 64), "failed to register ")
    assert not getattr(memory.client.get_cuda_shared_memory_status(), "regions", [])
    memory.honest()


def test_cuda_regions(memory: Memory) -> None:
    """Needs a GPU and cuda-python."""
    try:
        import tritonclient.utils.cuda_shared_memory as cuda

        handles = [cuda.create_shared_memory_region(name, 64, 0) for name in ("in", "out")]
    except Exception as reason:
        pytest.skip(f"no CUDA here: {reason}")
    try:
        cuda.set_shared_memory_region(handles[0], [RAMP])
        for name, handle in zip(("in", "out"), handles):
            memory.client.register_cuda_shared_memory(name, cuda.get_raw_handle(handle), 0, 64)
        memory.add_sub(("in", 64), {"OUTPUT0": ("out", 64)})
        np.testing.assert_array_equal(cuda.get_contents_as_numpy(handles[1], np.int32, [1, 16]), RAMP + 1)
        memory.client.unregister_cuda_shared_memory()
    finally:
        for handle in handles:
            cuda.destroy_shared_memory_region(handle)
