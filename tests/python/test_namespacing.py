"""`--model-namespacing`: two repositories with a model of the same name, and one with a model that only it has."""

import pathlib
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

import models
from control import Client
from exposition import families, value
from nereid_process import Nereid, serving

AMBIGUOUS = "There are 2 identifiers of model 'scaled' in global map, model namespace must be provided to resolve ambiguity."
INPUT = {"inputs": [{"name": "INPUT", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}
NAMESPACING = ["--model-namespacing=true", "--model-control-mode=explicit", "--load-model=*"]


@pytest.fixture
def folders(tmp_path: pathlib.Path) -> list[pathlib.Path]:
    """`scaled` in both, `own` in the second."""
    folders = [tmp_path / "first", tmp_path / "second"]
    for factor, folder in enumerate(folders, 2):
        models.write(folder, "scaled", models.scaled(factor), models.SCALED_CONFIG)
    models.write(folders[1], "own", models.scaled(5), models.SCALED_CONFIG)
    return folders


@pytest.fixture
def server(folders: list[pathlib.Path], tmp_path: pathlib.Path) -> Iterator[Nereid]:
    with serving(folders[0], tmp_path / "log", f"--model-repository={folders[1]}", *NAMESPACING) as server:
        yield server


@pytest.fixture(params=["http", "grpc"])
def client(server: Nereid, request: pytest.FixtureRequest) -> Client:
    return Client(server, request.param)


def names(server: Nereid) -> list[str]:
    """Of all statistics."""
    return [model["name"] for model in server.get("/v2/models/stats").json()["model_stats"]]


def test_a_name_of_one_model_is_enough(client: Client) -> None:
    assert client.factor("own") == 5
    assert client.ready("own") and client.successes("own") == 1
    assert not client.ready("scaled")


def test_a_name_of_two_models_is_refused(server: Nereid) -> None:
    paths = ["", "/config", "/ready", "/versions/1", "/versions/1/ready", "/trace/setting"]
    answers = {path: server.get(f"/v2/models/scaled{path}") for path in paths}
    answers["infer"] = server.post("/v2/models/scaled/infer", INPUT)
    for path, answer in answers.items():
        assert (answer.status, answer.error()) == (400, AMBIGUOUS), path
    stats = server.get("/v2/models/scaled/stats")
    assert (stats.status, stats.error()) == (400, "requested model 'scaled' is not available")
    unknown = server.get("/v2/models/x")
    assert (unknown.status, unknown.error()) == (400, "Request for unknown model: 'x' is not found")


def test_a_name_of_two_models_is_refused_over_grpc(server: Nereid) -> None:
    with grpcclient.InferenceServerClient(server.grpc) as client:
        tensor = grpcclient.InferInput("INPUT", [1, 4], "FP32")
        tensor.set_data_from_numpy(np.ones([1, 4], np.float32))
        calls = {
            "infer": lambda: client.infer("scaled", [tensor]),
            "metadata": lambda: client.get_model_metadata("scaled"),
            "config": lambda: client.get_model_config("scaled"),
            "ready": lambda: client.is_model_ready("scaled"),
            "trace": lambda: client.get_trace_settings("scaled"),
        }
        for name, call in calls.items():
            with pytest.raises(InferenceServerException) as error:
                call()
            assert (error.value.status(), error.value.message()) == ("StatusCode.INVALID_ARGUMENT", AMBIGUOUS), name
        with pytest.raises(InferenceServerException, match="requested model 'scaled' is not available"):
            client.get_inference_statistics("scaled")


def test_lists_show_both(server: Nereid, folders: list[pathlib.Path]) -> None:
    first, second = map(str, folders)
    ready = {"version": "1", "state": "READY"}
    assert server.post("/v2/repository/index").json() == [{"name": name, **ready} for name in ["scaled", "own", "scaled"]]
    assert names(server) == [f"{first}::scaled", f"{second}::own", f"{second}::scaled"]
    assert server.post("/v2/models/own/infer", INPUT).status == 200
    for model, namespace, count in [("scaled", first, 0), ("scaled", second, 0), ("own", second, 1)]:
        assert value(server, "nv_inference_count", model=model, namespace=namespace, version="1") == count
    with_model = [s.labels for family in families(server).values() for s in family.samples if "model" in s.labels]
    assert with_model and all(labels["namespace"] in [first, second] for labels in with_model)


def test_load_and_unload_mean_both(client: Client, server: Nereid, folders: list[pathlib.Path]) -> None:
    client.unload_model("scaled")
    assert names(server) == [f"{folders[1]}::own"]
    gone = server.get("/v2/models/scaled")
    assert (gone.status, gone.error()) == (404, "Identifier of model 'scaled' is not found in global map")
    client.load_model("scaled")
    assert len(names(server)) == 3
    (folders[1] / "scaled/1/model.onnx").write_bytes(b"broken")
    with pytest.raises(InferenceServerException) as error:
        client.load_model("scaled")
    assert error.value.message().startswith(f"load failed for model '{folders[1]}::scaled': version 1 is at UNAVAILABLE state: ")
    assert len(names(server)) == 3, "what served goes on"


def test_without_it_the_name_is_served_by_neither(folders: list[pathlib.Path], tmp_path: pathlib.Path) -> None:
    flags = [f"--model-repository={folders[1]}", "--exit-on-error=false"]
    with serving(folders[0], tmp_path / "log", *flags) as server:
        assert names(server) == ["own"]
        unknown = server.get("/v2/models/scaled")
        assert (unknown.status, unknown.error()) == (404, "Request for unknown model: 'scaled' is not found")
        duplicate, own = server.post("/v2/repository/index").json()[::-1]
        assert duplicate == {"name": "scaled", "state": "UNAVAILABLE", "reason": "model appears in two or more repositories"}
        assert value(server, "nv_inference_count", model="own", version="1") == 0, own
