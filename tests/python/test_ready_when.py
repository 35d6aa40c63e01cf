"""--ready-when: what makes a server ready, told alike over HTTP, gRPC and grpc.health.v1."""

import pathlib
import threading

import grpc
import pytest
import tritonclient.grpc as grpcclient

import models
from nereid_process import Nereid, serving, wait_until

CREATION_S = 2


def ready(server: Nereid) -> bool:
    """What all three say."""
    with grpcclient.InferenceServerClient(server.grpc) as client, grpc.insecure_channel(server.grpc) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        said = {
            "HTTP": {200: True, 400: False}[server.get("/v2/health/ready").status],
            "gRPC": client.is_server_ready(),
            "health": {b"\x08\x01": True, b"\x08\x02": False}[check(b"", timeout=20)],
        }
    assert len(set(said.values())) == 1, said
    return said["HTTP"]


def state(server: Nereid, name: str) -> str:
    return next(entry.get("state", "") for entry in server.post("/v2/repository/index").json() if entry["name"] == name)


@pytest.mark.parametrize(("when", "expected"), [("all", False), ("startup", True), ("any", True), ("server", True)])
def test_while_a_model_is_loaded(tmp_path: pathlib.Path, when: str, expected: bool) -> None:
    repository = tmp_path / "repository"
    models.write_identity(repository, "served")
    models.write_identity(repository, "late", parameters={"creation_delay_sec": CREATION_S})
    with serving(repository, tmp_path / "log", "--model-control-mode=explicit", "--load-model=served", f"--ready-when={when}") as server:
        assert ready(server)
        answers = []
        loading = threading.Thread(target=lambda: answers.append(server.post("/v2/repository/models/late/load").status))
        loading.start()
        wait_until(lambda: state(server, "late") == "LOADING", 20, "the load has begun")
        seen = ready(server)
        assert state(server, "late") == "LOADING", "asked too late"
        assert seen == expected
        loading.join(60)
        assert answers == [200] and ready(server)
        assert server.post("/v2/repository/models/late/unload").status == 200
        assert server.post("/v2/repository/models/served/unload").status == 200
        wait_until(lambda: {state(server, name) for name in ("served", "late")} == {"UNAVAILABLE"}, 20, "both are gone")
        assert ready(server) == (when != "any")


def test_a_model_that_fails_at_start_is_waited_for(tmp_path: pathlib.Path) -> None:
    repository = tmp_path / "repository"
    models.write_identity(repository, "good")
    models.write_identity(repository, "bad", parameters={"execute_delay_ms": "soon"})
    flags = ["--model-control-mode=explicit", "--load-model=*", "--exit-on-error=false", "--ready-when=startup"]
    with serving(repository, tmp_path / "log", *flags, ready=lambda server: server.wait_for("/v2/health/live")) as server:
        assert not ready(server)
        config = repository / "bad/config.pbtxt"
        config.write_text(config.read_text().replace("soon", "1"))
        assert server.post("/v2/repository/models/bad/load").status == 200
        assert ready(server)


def test_flags_that_contradict_each_other(tmp_path: pathlib.Path) -> None:
    server = Nereid(models.ROOT / "model_repository", tmp_path / "log", "--strict-readiness=false", "--ready-when=startup")
    assert server.ended(20) == 1
    assert "--strict-readiness and --ready-when contradict each other" in server.log()
