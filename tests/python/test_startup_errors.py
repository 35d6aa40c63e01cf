"""Starts that must fail: each with exit code 1, and with a last line that names the thing and says how to mend it."""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator

import pytest

import models
from nereid_process import Nereid, binary, free_ports, serving

REPOSITORY = models.ROOT / "model_repository"
SOMEBODY = 65532  # who the server is in our images


class Start:
    """A command line in the making."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.http, self.grpc, self.metrics = free_ports(3)
        self.repository: object = REPOSITORY
        self.flags: list[str] = []
        self.environment: dict[str, str] = {}
        self.user = os.getuid()
        self.held = contextlib.ExitStack()

    def model(self, name: str, config: str, file: bytes | None = None, of: str = "model.onnx") -> pathlib.Path:
        """A repository with this one alone."""
        self.repository = self.path / "repository"
        version = self.path / "repository" / name / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text(config)
        if file is not None:
            (version / of).write_bytes(file)
        return version / of

    def hold(self) -> int:
        """A port that somebody listens on."""
        listener = self.held.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        return listener.getsockname()[1]

    def run(self) -> tuple[int, str]:
        """The exit code and all that was said."""
        ports = [f"--http-port={self.http}", f"--grpc-port={self.grpc}", f"--metrics-port={self.metrics}"]
        where = [] if self.repository is None else [f"--model-repository={self.repository}"]
        command = [binary(), *where, "--http-address=127.0.0.1", "--grpc-address=127.0.0.1", *ports, *self.flags]
        with self.held:
            done = subprocess.run(
                command,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=False,
                **({"user": self.user, "group": self.user, "extra_groups": []} if self.user != os.getuid() else {}),
            )
        return done.returncode, done.stdout.decode()


def absent(start: Start) -> None:
    start.repository = "/mnt/absent"


def a_bucket(start: Start) -> None:
    start.repository = "s3://bucket/models"


def a_file(start: Start) -> None:
    start.repository = REPOSITORY / "mnist_mlp/1/model.onnx"


def one_too_high(start: Start) -> None:
    shutil.copytree(REPOSITORY, start.path / "volume/models")
    start.repository = start.path / "volume"


def without_a_version(start: Start) -> None:
    shutil.copytree(REPOSITORY / "mnist_mlp/1", start.path / "repository/mnist")
    start.repository = start.path / "repository"


def unreadable(start: Start) -> None:
    start.repository = start.path / "locked"
    (start.path / "locked").mkdir(mode=0o700)
    start.user = SOMEBODY


def an_unreadable_model(start: Start) -> None:
    start.model("m", "", (REPOSITORY / "mnist_mlp/1/model.onnx").read_bytes()).chmod(0o600)
    start.user = SOMEBODY


def no_repository(start: Start) -> None:
    start.repository = None


def another_model(start: Start) -> None:
    start.flags = ["--model-control-mode=explicit", "--load-model=resnet"]


def taken_http(start: Start) -> None:
    start.http = start.hold()


def taken_grpc(start: Start) -> None:
    start.grpc = start.hold()


def taken_metrics(start: Start) -> None:
    start.metrics = start.hold()


def a_low_port(start: Start) -> None:
    start.http, start.user = 81, SOMEBODY


def a_strange_address(start: Start) -> None:
    start.flags = ["--http-address=192.0.2.1"]


def no_library(start: Start) -> None:
    start.environment = {"ORT_DYLIB_PATH": "/nowhere/libonnxruntime.so"}


def library(start: Start, content: bytes) -> None:
    (start.path / "libonnxruntime.so").write_bytes(content)
    start.environment = {"ORT_DYLIB_PATH": str(start.path / "libonnxruntime.so")}


def a_library_that_is_text(start: Start) -> None:
    library(start, b"version https://git-lfs.github.com/spec/v1\n")


def a_library_of_another_machine(start: Start) -> None:
    library(start, struct.pack("<16sHHI", b"\x7fELF\x02\x01\x01", 3, 8, 1).ljust(4096, b"\0"))


def another_library(start: Start) -> None:
    start.environment = {"ORT_DYLIB_PATH": "libz.so.1"}


def no_gpu(start: Start) -> None:
    start.model("m", "instance_group [ { kind: KIND_GPU } ]", b"")
    start.environment = {"CUDA_VISIBLE_DEVICES": "-1"}


def a_plan_without_a_gpu(start: Start) -> None:
    start.model("m", "", b"", "model.plan")
    start.environment = {"CUDA_VISIBLE_DEVICES": "-1"}


def an_unknown_backend(start: Start) -> None:
    start.model("m", 'backend: "mine"')


def a_log_file(start: Start) -> None:
    start.flags = ["--log-file=/proc/nereid/log"]


def no_certificate(start: Start) -> None:
    start.flags = ["--grpc-use-ssl=1", "--grpc-server-cert=/nowhere.crt", "--grpc-server-key=/nowhere.key"]


def an_unknown_flag(start: Start) -> None:
    start.flags = ["--model-repositories=/models"]


ALL = "error: creating server: Internal - failed to load all models: "
ORT = ALL + ".*unable to load ONNX Runtime .*; set ORT_DYLIB_PATH to the path of its libonnxruntime.so. Tried: "

# what is wrong, and what the last line must match: Triton's text first, where it has one
WRONG: dict[Callable[[Start], None], str] = {
    absent: "error: creating server: Internal - failed to stat file /mnt/absent: No such file or directory; is the volume .* mounted",
    a_bucket: "error: creating server: Internal - failed to stat file s3://bucket/models: .*mount the bucket",
    a_file: "error: creating server: Internal - repository path is not a valid directory: '.*model.onnx'; --model-repository must be the folder",
    one_too_high: ALL + "'models': .*'.*/volume/models' holds folders of models, such as 'mnist_mlp': .*try --model-repository=.*/volume/models",
    without_a_version: ALL + "'mnist': .*'.*/mnist' has no folder of a version: move 'model.onnx', .*to '1/model.onnx'",
    unreadable: f"error: creating server: Internal - failed to open directory .*/locked: Permission denied; user {SOMEBODY} must be able to read it",
    an_unreadable_model: ALL + f".*failed to open file .*/m/1/model.onnx: Permission denied; user {SOMEBODY} must be able to read it",
    no_repository: "--model-repository must be specified: .*--model-repository=/models",
    another_model: ALL + "'resnet': .*model not found in any model repository; there are 'mnist_mlp'",
    taken_http: r"error: creating server: HTTP service: cannot take 127.0.0.1:\d+: Address already in use .*another port with --http-port",
    taken_grpc: r"error: creating server: gRPC service: cannot take 127.0.0.1:\d+: Address already in use .*another port with --grpc-port",
    taken_metrics: r"error: creating server: metrics service: cannot take 127.0.0.1:\d+: Address already in use .*another port with --metrics-port",
    a_low_port: r"error: creating server: HTTP service: cannot take 127.0.0.1:81: Permission denied .*ports below 1024 .*another with --http-port",
    a_strange_address: "error: creating server: HTTP service: cannot take 192.0.2.1:.*--http-address must be an address of this machine",
    no_library: ORT + r"'/nowhere/libonnxruntime.so' \(cannot open shared object file",
    a_library_that_is_text: ORT + "'.*/libonnxruntime.so' ",
    a_library_of_another_machine: ORT + r"'.*/libonnxruntime.so' \(it is built for ELF machine 8, and this machine is ",
    another_library: ORT + r"'libz.so.1' \(it does not export OrtGetApiBase",
    no_gpu: ALL + "'m': .*KIND_GPU but no GPUs are available; no GPU is used here, .*nvidia.com/gpu",
    a_plan_without_a_gpu: ALL + "'m': .*TensorRT backend supports only GPU device.*; no GPU is used here, .*nvidia.com/gpu",
    an_unknown_backend: ALL + "'m': .*unable to find backend library for backend 'mine'",
    a_log_file: "error: Failed to open log file '/proc/nereid/log': No such file or directory .*--log-file must be in a folder",
    no_certificate: "error: creating server: --grpc-server-cert /nowhere.crt: cannot be read: No such file",
    an_unknown_flag: "unrecognized option; did you mean \"--model-repository\"?",
}
NEEDS_ROOT = {unreadable, an_unreadable_model, a_low_port}


@pytest.fixture
def start() -> Iterator[Start]:
    """In a folder that another user may look into, which pytest's are not."""
    with tempfile.TemporaryDirectory(prefix="nereid-start-") as folder:
        path = pathlib.Path(folder)
        path.chmod(0o755)
        yield Start(path)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda f: f.__name__)
def test_what_is_wrong_is_the_last_word(start: Start, wrong: Callable[[Start], None]) -> None:
    if wrong in NEEDS_ROOT and os.getuid() != 0:
        pytest.skip("only root can be somebody else")
    wrong(start)
    try:
        code, said = start.run()
    except PermissionError:
        pytest.skip("another user cannot run the server from where it is")
    assert code == 1, said[-4000:]
    last = said.rstrip("\n").split("\n")[-1]
    assert re.match(WRONG[wrong], last), said[-4000:]
    # What Kubernetes shows of the end of the log.
    assert len(last.encode()) < 2048, last
    assert "panicked" not in said


def nothing(repository: pathlib.Path) -> None:
    pass


def files(repository: pathlib.Path) -> None:
    (repository / "README.md").write_text("")
    (repository / "labels.txt").write_text("")


def hidden(repository: pathlib.Path) -> None:
    shutil.copytree(REPOSITORY / "mnist_mlp", repository / ".snapshot/mnist_mlp")


def two_models(repository: pathlib.Path) -> None:
    for name in ("encoder", "decoder"):
        shutil.copy(REPOSITORY / "mnist_mlp/1/model.onnx", repository / f"{name}.onnx")


# what is there instead of models, and how the log calls it
EMPTY = {
    nothing: "it is empty",
    files: "it holds no folders, only 2 file(s), 'README.md', 'labels.txt'",
    hidden: "it holds only hidden entries",
    two_models: "ignore 'decoder.onnx', 'encoder.onnx' in the model repository",
}


@pytest.mark.parametrize("what", EMPTY, ids=lambda f: f.__name__)
def test_without_a_model_it_is_ready_as_triton_and_says_what_it_saw(tmp_path: pathlib.Path, what: Callable[[pathlib.Path], None]) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    what(repository)
    with serving(repository, tmp_path / "log") as server:
        assert f"no model was found in the model repository '{repository}'" in server.log()
        assert EMPTY[what] in server.log()
        assert server.post("/v2/repository/index").json() == []


def test_what_file_systems_find_is_no_model(tmp_path: pathlib.Path) -> None:
    shutil.copytree(REPOSITORY, tmp_path / "repository")
    (tmp_path / "repository/lost+found").mkdir()
    with serving(tmp_path / "repository", tmp_path / "log") as server:
        assert [entry["name"] for entry in server.post("/v2/repository/index").json()] == ["mnist_mlp"]


def test_probes_while_models_load_and_when_one_has_failed(tmp_path: pathlib.Path) -> None:
    """Nothing answers before the models are loaded; then live is 200 and ready is not, and the index has the reason."""
    repository = tmp_path / "repository"
    shutil.copytree(REPOSITORY, repository)
    models.write(repository, "broken", b"this is no protobuf \xff\xfe")
    late = {"creation_delay_sec": 2}
    models.write_identity(repository, "late", parameters=late)
    server = Nereid(repository, tmp_path / "log", "--exit-on-error=false")
    try:
        refused = 0
        while "successfully loaded 'late'" not in server.log():
            assert server.alive(), server.log()
            with contextlib.suppress(ConnectionRefusedError):
                server.get("/v2/health/live")
                assert "successfully loaded 'late'" in server.log(), "it answers before its models are there"
            refused += 1
        assert refused > 0
        server.wait_for("/v2/health/live")
        assert server.get("/v2/health/ready").status == 400
        reasons = {entry["name"]: entry.get("reason", "") for entry in server.post("/v2/repository/index").json()}
        assert "Protobuf parsing failed" in reasons["broken"] and not reasons["mnist_mlp"]
    finally:
        assert server.stop() == 0


def test_a_trace_file_that_cannot_be_written_is_told_before_there_is_a_trace(tmp_path: pathlib.Path) -> None:
    trace = ["--trace-config=triton,file=/proc/nereid/trace", "--trace-config=level=TIMESTAMPS", "--trace-config=rate=1"]
    with serving(REPOSITORY, tmp_path / "log", *trace) as server:
        assert "traces cannot be written to '/proc/nereid/trace': No such file or directory" in server.log()
