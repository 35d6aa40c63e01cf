"""KServe's command line for Triton, and the layouts in which a model gets to /mnt/models there."""

import os
import pathlib
import shutil
import subprocess
from collections.abc import Callable, Iterator

import numpy as np
import onnx
import pytest
import tritonclient.grpc as grpc
import tritonclient.http as http
from onnx import external_data_helper

import digits
import models
from nereid_process import Nereid, binary, free_ports, serving

MODEL = models.ROOT / "model_repository/mnist_mlp/1/model.onnx"
CONFIG = [models.ROOT / "model_repository/mnist_mlp" / file for file in ("config.pbtxt", "labels.txt")]


class KServe(Nereid):
    """A server with the arguments of KServe's runtime, and none besides but for its ports and `more`."""

    def __init__(self, words: list[str], store: pathlib.Path, log: pathlib.Path, *more: str) -> None:
        self.http_port, self.grpc_port, self.metrics_port = free_ports(3)
        self.log_path = log
        ports = [f"--grpc-port={self.grpc_port}", f"--http-port={self.http_port}"]
        flags = [f"--model-store={store}", *ports, "--allow-grpc=true", "--allow-http=true"]
        rest = [f"--metrics-port={self.metrics_port}", "--http-address=127.0.0.1", "--grpc-address=127.0.0.1"]
        with open(log, "wb") as sink:
            self.process = subprocess.Popen([*words, *flags, *rest, *more], stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT)


def answers(server: Nereid, name: str) -> None:
    """The seven, over both protocols."""
    seven = digits.images()[7:8]
    over_http, over_grpc = http.InferenceServerClient(server.http), grpc.InferenceServerClient(server.grpc)
    try:
        for client, module in ((over_http, http), (over_grpc, grpc)):
            assert client.is_server_ready() and client.is_model_ready(name)
            given = module.InferInput("input", seven.shape, "FP32")
            given.set_data_from_numpy(seven)
            assert int(np.argmax(client.infer(name, [given]).as_numpy("output"))) == 7
            [listed] = list(client.get_model_repository_index().models if module is grpc else client.get_model_repository_index())
            state = listed.state if module is grpc else listed["state"]
            assert state == "READY"
    finally:
        over_http.close()
        over_grpc.close()


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    path = tmp_path / "mnt/models"
    path.mkdir(parents=True)
    yield path


@pytest.mark.parametrize("first", [[], ["tritonserver"], ["/opt/tritonserver/bin/tritonserver"]], ids=["args", "tritonserver", "path"])
def test_the_command_line(store: pathlib.Path, tmp_path: pathlib.Path, first: list[str]) -> None:
    shutil.copy(MODEL, store / "model.onnx")
    server = KServe([binary(), *first], store, tmp_path / "log")
    try:
        answers(server.wait_ready(), "model")
        assert f"'{store}' holds the model file 'model.onnx' and no folders of models: it is served as model 'model'" in server.log()
    finally:
        assert server.stop() == 0, server.log()


def test_under_the_name_of_tritons_program(store: pathlib.Path, tmp_path: pathlib.Path) -> None:
    shutil.copy(MODEL, store / "model.onnx")
    (tmp_path / "bin").mkdir()
    os.symlink(binary(), tmp_path / "bin/tritonserver")
    server = KServe([str(tmp_path / "bin/tritonserver")], store, tmp_path / "log")
    try:
        answers(server.wait_ready(), "model")
    finally:
        assert server.stop() == 0, server.log()


def original_name(store: pathlib.Path) -> None:
    shutil.copy(MODEL, store / "digits.onnx")


def with_a_config(store: pathlib.Path) -> None:
    shutil.copy(MODEL, store / "model.onnx")
    configure(store)


def configure(store: pathlib.Path) -> None:
    for file in CONFIG:
        shutil.copy(file, store)


def version(store: pathlib.Path) -> None:
    (store / "1").mkdir()
    shutil.copy(MODEL, store / "1/model.onnx")


def version_with_a_config(store: pathlib.Path) -> None:
    version(store)
    configure(store)


def repository(store: pathlib.Path) -> None:
    shutil.copytree(models.ROOT / "model_repository/mnist_mlp", store / "mnist_mlp")


def config_map(store: pathlib.Path) -> None:
    """Every file is a link into a folder that another link leads to."""
    (store / "..2026").mkdir()
    shutil.copy(MODEL, store / "..2026/model.onnx")
    os.symlink("..2026", store / "..data")
    os.symlink("..data/model.onnx", store / "model.onnx")


def external(store: pathlib.Path, folder: str = "") -> None:
    """Weights beside the model, or in a folder beside it."""
    model = onnx.load(MODEL)
    external_data_helper.convert_model_to_external_data(model, location=f"{folder}model.data", size_threshold=0)
    (store / folder).mkdir(exist_ok=True)
    onnx.save(model, store / "model.onnx")
    assert (store / folder / "model.data").stat().st_size > (store / "model.onnx").stat().st_size


def external_in_a_folder(store: pathlib.Path) -> None:
    external(store, "weights/")


# how the model lies there, and what it is called
LAYOUTS: dict[Callable[[pathlib.Path], None], str] = {
    original_name: "digits",
    with_a_config: "mnist_mlp",
    version: "models",
    version_with_a_config: "mnist_mlp",
    repository: "mnist_mlp",
    config_map: "model",
    external: "model",
    external_in_a_folder: "model",
}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda f: f.__name__)
def test_layouts(store: pathlib.Path, tmp_path: pathlib.Path, layout: Callable[[pathlib.Path], None]) -> None:
    layout(store)
    with serving(store, tmp_path / "log") as server:
        answers(server, LAYOUTS[layout])


def test_a_name_for_the_inference_service(store: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What `{{.Name}}` in a runtime's arguments becomes."""
    with_a_config(store)
    with serving(store, tmp_path / "log", "--bare-model-name=sklearn-iris") as server:
        answers(server, "sklearn-iris")
        assert server.get("/v2/models/sklearn-iris/config").json()["name"] == "sklearn-iris"
        assert server.get("/v2/models/mnist_mlp").status == 404
        assert 'model="sklearn-iris"' in server.metrics()


def test_it_is_loaded_and_unloaded_like_others(store: pathlib.Path, tmp_path: pathlib.Path) -> None:
    original_name(store)
    flags = ["--model-control-mode=explicit", "--load-model=digits"]
    with serving(store, tmp_path / "log", *flags) as server:
        answers(server, "digits")
        assert server.post("/v2/repository/models/digits/unload").status == 200
        assert server.get("/v2/models/digits/ready").status != 200
        assert server.post("/v2/repository/models/model/load").status != 200
        assert server.post("/v2/repository/models/digits/load").status == 200
        answers(server, "digits")


def test_a_file_beside_models_is_named(store: pathlib.Path, tmp_path: pathlib.Path) -> None:
    repository(store)
    shutil.copy(MODEL, store / "model.onnx")
    with serving(store, tmp_path / "log") as server:
        answers(server, "mnist_mlp")
        assert f"ignore 'model.onnx' in the model repository '{store}'" in server.log()
