"""Loading, unloading and overriding models over both protocols, with the real clients."""

import json
import os
import pathlib
import threading

import grpc
import pytest
import tritonclient.grpc.service_pb2 as messages
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub
from tritonclient.utils import InferenceServerException

import control
import models
from control import Client
from nereid_process import Nereid, serving, wait_until

NOT_POLLED = "failed to load '{}', failed to poll from model repository"
CONFIG = json.dumps({"backend": "onnxruntime", "max_batch_size": 4})


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return control.repository(tmp_path / "models")


@pytest.fixture
def server(folder: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    with control.explicit(folder, tmp_path / "log") as server:
        yield server
    assert temporary(tmp_path) == [], "temporary directories are gone at the end"


def temporary(tmp_path: pathlib.Path) -> list[pathlib.Path]:
    return list((tmp_path / "tmp").glob("nereid-*"))


@pytest.fixture(params=["http", "grpc"])
def client(server: Nereid, request: pytest.FixtureRequest) -> Client:
    return Client(server, request.param)


def refused(call, *arguments, **named) -> str:
    with pytest.raises(InferenceServerException) as error:
        call(*arguments, **named)
    return error.value.message()


def test_an_unmodified_model_keeps_its_statistics(client: Client, folder: pathlib.Path) -> None:
    assert client.factor() == 2
    client.load_model("scaled")
    assert client.successes() == 1
    control.rewrite(folder, 3)
    client.load_model("scaled")
    assert (client.successes(), client.factor()) == (0, 3)


def test_instance_groups_change_in_place(client: Client, folder: pathlib.Path) -> None:
    assert client.factor() == 2
    path = folder / "scaled/config.pbtxt"
    path.write_text(models.SCALED_CONFIG + "instance_group [ { count: 3 } ]")
    client.load_model("scaled")
    assert client.factor() == 2
    assert client.successes() == 2


def test_config_override(client: Client, folder: pathlib.Path, server: Nereid) -> None:
    size = lambda: server.get("/v2/models/scaled/config").json()["max_batch_size"]
    client.load_model("scaled", config=CONFIG)
    assert size() == 4
    client.load_model("scaled")
    assert size() == 4, "it stays until the disk changes"
    assert "max_batch_size" in models.SCALED_CONFIG
    for config in ["{", "[" * 250_000, '{"name":"' + "x" * (2 << 20) + '"}', '{"name":"other"}', '{"nosuch":1}']:
        assert refused(client.load_model, "scaled", config=config) == NOT_POLLED.format("scaled")
    assert "Invalid config override: " in server.log()
    assert (size(), client.factor()) == (4, 2)
    control.rewrite(folder, 3)
    client.load_model("scaled")
    assert (size(), client.factor()) == (8, 3)


def test_file_override(client: Client, tmp_path: pathlib.Path, server: Nereid) -> None:
    five, seven = (models.scaled(factor).SerializeToString() for factor in (5, 7))
    assert refused(client.load_model, "scaled", files={"file:1/model.onnx": five}) == NOT_POLLED.format("scaled")
    assert "Load parameter 'config' must be specified for model file override" in server.log()
    assert client.factor() == 2
    client.load_model("scaled", config=CONFIG, files={"file:1/model.onnx": five, "file:2/model.onnx": seven})
    assert (client.factor(), client.ready(version="1")) == (7, False), "the highest of the versions that came along"
    client.load_model("not_on_disk", config=CONFIG, files={"file:1/model.onnx": five})
    assert client.factor("not_on_disk") == 5
    folders = temporary(tmp_path)
    assert len(folders) == 2 and all(folder.stat().st_mode & 0o777 == 0o700 for folder in folders)
    client.load_model("scaled")
    assert client.factor() == 2
    client.unload_model("not_on_disk")
    wait_until(lambda: not temporary(tmp_path), 30, "the files of models that were replaced are gone")


@pytest.mark.parametrize("path", ["../x", "../../etc/x", "/etc/nereid", "1/../../x", "a\\b", "", "..", "x" * 300, "x/" * 5000])
def test_files_stay_in_their_directory(client: Client, tmp_path: pathlib.Path, path: str, server: Nereid) -> None:
    before = sorted(tmp_path.rglob("*"))
    files = {"file:1/model.onnx": models.scaled(5).SerializeToString(), f"file:{path}": b"evil"}
    assert refused(client.load_model, "scaled", config=CONFIG, files=files) == NOT_POLLED.format("scaled")
    assert sorted(tmp_path.rglob("*")) == before and not os.path.exists("/etc/nereid")
    if len(path) < 300:
        assert f"Invalid file parameter 'file:{path}'".replace("\\", "\\\\") in server.log()
    assert client.factor() == 2


def test_large_files(client: Client) -> None:
    """As large as models are, within the limit of HTTP bodies."""
    model = models.scaled(9, weights=8 << 20).SerializeToString()
    assert len(model) > 32 << 20
    client.load_model("large", config=CONFIG, files={"file:1/model.onnx": model})
    assert client.factor("large") == 9


def test_bodies_over_the_limit(server: Nereid) -> None:
    path = "/v2/repository/models/scaled/load"
    answer = server.request("POST", path, headers={"Content-Length": str(1 << 40)})
    assert answer.status == 400
    assert answer.error() == (
        f"request JSON size of {1 << 40} bytes exceeds the maximum allowed input size of 67108864 bytes. "
        "Use --http-max-input-size to increase the limit."
    )
    assert Client(server, "http").factor() == 2


def test_http_texts(server: Nereid) -> None:
    deep = "[" * 250_000
    for action, body, status, text in [
        ("load", "{", 500, "failed to parse the request JSON buffer: Missing a name for object member. at 1"),
        ("load", " ", 500, "failed to parse the request JSON buffer: The document is empty. at 1"),
        ("load", deep, 400, "JSON nesting depth exceeds maximum allowed limit (100)"),
        ("load", '{"parameters":[]}', 500, "attempt to get members for non-object"),
        ("load", '{"parameters":{"config":{}}}', 500, "attempt to access JSON non-string as string"),
        ("load", '{"parameters":{"file:x":1}}', 500, "attempt to access JSON non-string as string"),
        ("load", '{"parameters":{"foo":"x"}}', 500, "unexpected error on creating Triton parameter"),
        ("load", '{"parameters":{"file:x":"%"}}', 400, "'file:x' is not base64: Invalid symbol 37, offset 0."),
        ("unload", "{", 500, "failed to parse the request JSON buffer: Missing a name for object member. at 1"),
        ("unload", deep, 400, "JSON nesting depth exceeds maximum allowed limit (100)"),
    ]:
        answer = server.post(f"/v2/repository/models/scaled/{action}", body.encode())
        assert (answer.status, answer.error()) == (status, text)
        assert answer.headers["Content-Type"] == "application/json"
    assert server.post("/v2/repository/index", deep.encode()).status == 400
    assert Client(server, "http").factor() == 2, "nothing of this has changed anything"
    quirk = server.post("/v2/repository/models/scaled/unload", {"parameters": {"unload_dependents": "x"}})
    assert (quirk.status, quirk.body) == (200, b"")
    assert not Client(server, "http").ready()


def test_grpc_texts(server: Nereid) -> None:
    text, data, flag = (messages.ModelRepositoryParameter(**{kind: value}) for kind, value in
                        [("string_param", "{}"), ("bytes_param", b"x"), ("int64_param", 1)])
    with grpc.insecure_channel(server.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)

        def failing(call, request) -> tuple[grpc.StatusCode, str]:
            with pytest.raises(grpc.RpcError) as error:
                call(request, timeout=60)
            return error.value.code(), error.value.details()

        for parameters, expected in [
            ({"config": data}, "invalid value type for load parameter 'config', expected string_param."),
            ({"file:x": text}, "invalid value type for load parameter 'file:x', expected bytes_param."),
            ({"foo": text}, "unrecognized load parameter 'foo'."),
        ]:
            request = messages.RepositoryModelLoadRequest(model_name="scaled", parameters=parameters)
            assert failing(stub.RepositoryModelLoad, request) == (grpc.StatusCode.INVALID_ARGUMENT, expected)
        request = messages.RepositoryModelUnloadRequest(model_name="scaled", parameters={"unload_dependents": flag})
        expected = "invalid value type for 'unload_dependents' parameter, expected bool_param."
        assert failing(stub.RepositoryModelUnload, request) == (grpc.StatusCode.INVALID_ARGUMENT, expected)
        for call, message in [
            (stub.RepositoryModelLoad, messages.RepositoryModelLoadRequest(repository_name="r", model_name="scaled")),
            (stub.RepositoryModelUnload, messages.RepositoryModelUnloadRequest(repository_name="r", model_name="scaled")),
            (stub.RepositoryIndex, messages.RepositoryIndexRequest(repository_name="r")),
        ]:
            assert failing(call, message) == (grpc.StatusCode.UNIMPLEMENTED, "'repository_name' specification is not supported")
    assert Client(server, "grpc").factor() == 2


@pytest.mark.parametrize("dependents", [False, True])
def test_unload(client: Client, dependents: bool) -> None:
    client.unload_model("scaled", unload_dependents=dependents)
    client.unload_model("never heard of")
    assert not client.ready()
    client.load_model("scaled")
    assert client.factor() == 2


NAMES = ["..", ".", "a/b", "../models-evil/m", "/etc", "a\\..\\b", "a\0b", "", " ", "line\nbreak", "x" * 300, "x" * 100_000, ".hidden", "é"]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:12]))
def test_names_over_grpc(server: Nereid, folder: pathlib.Path, tmp_path: pathlib.Path, name: str) -> None:
    models.write(tmp_path / "models-evil", "m", models.scaled(6), models.SCALED_CONFIG)
    models.write(folder, ".hidden", models.scaled(6), models.SCALED_CONFIG)
    client = Client(server, "grpc")
    trimmed = name.strip()
    if not trimmed:
        expected = "Model name cannot be empty. Please enter a valid name to deploy."
    elif trimmed in (".", "..") or set("/\\\0") & set(trimmed):
        expected = f"invalid model name '{name}', model name must not contain path traversal characters"
    else:
        expected = NOT_POLLED.format(name)
    said = refused(client.load_model, name)
    # Long messages are cut, to 4 KiB as they travel: clients take no status of more than 8 KiB.
    cut = len(expected) > 4000 and len(said) > 1000 and said.endswith("...") and expected.startswith(said.removesuffix("..."))
    assert said == expected or cut, said[:500]
    if len(name) > 255 or "\n" in name:
        files = {"file:1/model.onnx": models.scaled(5).SerializeToString()}
        refused(client.load_model, name, config=CONFIG, files=files)
    client.unload_model(name)
    assert not [m for m in client.get_model_repository_index().models if m.name not in ("scaled",)]
    assert client.factor() == 2


@pytest.mark.parametrize("name", ["..", ".", "%2e%2e", "..%2fmodels-evil", "a%00b", "a%0ab", "x" * 300, "x" * 60_000, "x" * 100_000, ".hidden"], ids=lambda name: name[:12])
def test_names_over_http(server: Nereid, folder: pathlib.Path, name: str) -> None:
    """Paths are not decoded, so that `%2e%2e` is a name like others."""
    models.write(folder, ".hidden", models.scaled(6), models.SCALED_CONFIG)
    for action in ("load", "unload"):
        answer = server.post(f"/v2/repository/models/{name}/{action}")
        assert answer.status in ((400, 414, 500) if action == "load" else (200, 414)), answer.body[:200]
    assert Client(server, "http").factor() == 2


def test_loads_of_one_model_take_turns(server: Nereid, folder: pathlib.Path) -> None:
    failures = []

    def load(protocol: str) -> None:
        client = Client(server, protocol)
        try:
            for factor in range(3, 8):
                control.rewrite(folder, factor, version=1 + factor % 2)
                client.load_model("scaled")
        except Exception as e:  # noqa: BLE001
            failures.append(e)

    threads = [threading.Thread(target=load, args=[protocol]) for protocol in ("http", "grpc")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The other thread may have renamed the very file; what counts is that every load was answered and the end is right.
    assert not [f for f in failures if not isinstance(f, FileNotFoundError)]
    Client(server, "http").load_model("scaled")
    assert Client(server, "http").factor() in (6, 7)


def test_other_modes_refuse(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(folder, tmp_path / "log") as server:
        for client in (Client(server, "http"), Client(server, "grpc")):
            for call in (client.load_model, client.unload_model):
                assert refused(call, "scaled") == "explicit model load / unload is not allowed if polling is enabled"
            assert client.factor() == 2


def test_poll_mode(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(folder, tmp_path / "log", "--model-control-mode=poll", "--repository-poll-secs=1") as server:
        client = Client(server, "grpc")
        assert client.factor() == 2
        control.rewrite(folder, 3)
        wait_until(lambda: client.factor() == 3, 30, "the changed file is served")
        models.write(folder, "second", models.scaled(4), models.SCALED_CONFIG)
        wait_until(lambda: client.ready("second"), 30, "the new model is served")
        os.rename(folder / "scaled", tmp_path / "scaled")
        wait_until(lambda: not client.ready("scaled"), 30, "the removed model is gone")
        assert client.factor("second") == 4


def test_poll_mode_without_polling(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(folder, tmp_path / "log", "--model-control-mode=poll", "--repository-poll-secs=0") as server:
        assert Client(server, "http").factor() == 2
        assert not [t for t in os.listdir(f"/proc/{server.process.pid}/task")
                    if "model-poll" in pathlib.Path(f"/proc/{server.process.pid}/task/{t}/comm").read_text()]


def test_flags_of_the_repository(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Several repositories, a config by name, retries and threads."""
    other = tmp_path / "other"
    models.write(other, "second", models.scaled(4), models.SCALED_CONFIG)
    (other / "second/configs").mkdir()
    (other / "second/configs/small.pbtxt").write_text(models.SCALED_CONFIG.replace("8", "2"))
    models.write(other, "broken", b"garbage")
    flags = [f"--model-repository={other}", "--model-config-name=small", "--model-load-retry-count=2",
             "--model-load-thread-count=1", "--exit-on-error=false", "--strict-readiness=false"]
    with serving(folder, tmp_path / "log", *flags) as server:
        client = Client(server, "http")
        assert (client.factor("scaled"), client.factor("second")) == (2, 4)
        size = lambda model: server.get(f"/v2/models/{model}/config").json()["max_batch_size"]
        assert (size("scaled"), size("second")) == (8, 2)
        assert server.log().count("failed to load 'broken' version 1") == 3
