"""Models that cannot be loaded, and repositories that are not there: what the process does at its start."""

import pathlib
import shutil

import numpy as np
import pytest

import digits
import models
from nereid_process import Nereid, serving

TYPO = 'name: "typo"\nbackend: "onnxruntime"\nmax_batch_sizes: 8\n'


def broken_file(repository: pathlib.Path) -> None:
    models.write(repository, "broken", b"this is no protobuf \xff\xfe")


def truncated_file(repository: pathlib.Path) -> None:
    models.write(repository, "broken", models.identity("FP32").SerializeToString()[:-20])


def empty_file(repository: pathlib.Path) -> None:
    models.write(repository, "broken", b"")


def missing_file(repository: pathlib.Path) -> None:
    (repository / "broken/1").mkdir(parents=True)
    (repository / "broken/config.pbtxt").write_text(models.ADD_SUB_CONFIG)


def no_version(repository: pathlib.Path) -> None:
    (repository / "broken").mkdir(parents=True)
    (repository / "broken/config.pbtxt").write_text(models.ADD_SUB_CONFIG)


def config_with_a_typo(repository: pathlib.Path) -> None:
    models.write(repository, "broken", models.identity("FP32"), TYPO.replace('"typo"', '"broken"'))


def config_against_the_model(repository: pathlib.Path) -> None:
    models.write(repository, "broken", models.add_sub(), models.ADD_SUB_CONFIG.replace("INT32", "FP32"))


def wrong_name(repository: pathlib.Path) -> None:
    models.write(repository, "broken", models.add_sub(), 'name: "other"\n' + models.ADD_SUB_CONFIG)


def gpu_that_is_not_there(repository: pathlib.Path) -> None:
    models.write(repository, "broken", models.add_sub(), models.ADD_SUB_CONFIG + "instance_group [ { kind: KIND_GPU } ]\n")


# how the model is broken, and what the log says about it
BROKEN = {
    broken_file: "broken",
    truncated_file: "broken",
    empty_file: "broken",
    missing_file: "failed to stat file",
    no_version: "at least one version must be available under the version policy of model 'broken'",
    config_with_a_typo: "max_batch_sizes",
    config_against_the_model: "configuration expects datatype TYPE_FP32",
    wrong_name: "unexpected directory name 'broken' for model 'other', directory name must equal model name",
    gpu_that_is_not_there: "GPU",
}


def with_a_healthy_model(tmp_path: pathlib.Path) -> pathlib.Path:
    repository = tmp_path / "repository"
    shutil.copytree(models.ROOT / "model_repository/mnist_mlp", repository / "mnist_mlp")
    return repository


def infers(server: Nereid) -> None:
    answer = server.post("/v2/models/mnist_mlp/infer", digits.body("eight"))
    assert answer.status == 200 and int(np.argmax(answer.json()["outputs"][0]["data"])) == 8


@pytest.mark.parametrize("breaks", BROKEN, ids=lambda f: f.__name__)
def test_a_broken_model_ends_the_start(tmp_path: pathlib.Path, breaks) -> None:
    repository = with_a_healthy_model(tmp_path)
    breaks(repository)
    server = Nereid(repository, tmp_path / "log")
    assert server.ended() == 1
    assert "failed to load all models" in server.log()
    assert BROKEN[breaks] in server.log()


@pytest.mark.parametrize("breaks", BROKEN, ids=lambda f: f.__name__)
def test_with_exit_on_error_false_the_others_are_served(tmp_path: pathlib.Path, breaks) -> None:
    repository = with_a_healthy_model(tmp_path)
    breaks(repository)
    flags = ["--exit-on-error=false", "--strict-readiness=false"]
    with serving(repository, tmp_path / "log", *flags) as server:
        infers(server)
        assert BROKEN[breaks] in server.log()
        assert server.get("/v2/models/broken/ready").status != 200
        refused = server.post("/v2/models/broken/infer", {"inputs": []})
        assert refused.status in (400, 404, 503) and "broken" in refused.error()
        infers(server)


def test_strict_readiness_says_that_a_model_is_missing(tmp_path: pathlib.Path) -> None:
    repository = with_a_healthy_model(tmp_path)
    missing_file(repository)
    server = Nereid(repository, tmp_path / "log", "--exit-on-error=false")
    try:
        server.wait_for("/v2/models/mnist_mlp/ready")
        assert server.get("/v2/health/live").status == 200
        ready = server.get("/v2/health/ready")
        assert (ready.status, ready.body) == (400, b"")
        infers(server)
        index = {entry["name"]: entry for entry in server.post("/v2/repository/index").json()}
        assert index["mnist_mlp"]["state"] == "READY"
        assert index["broken"]["state"] == "UNAVAILABLE"
        assert "failed to stat file" in index["broken"]["reason"]
    finally:
        assert server.stop() == 0


def test_a_typo_is_reported_with_line_and_column(tmp_path: pathlib.Path) -> None:
    repository = with_a_healthy_model(tmp_path)
    config_with_a_typo(repository)
    server = Nereid(repository, tmp_path / "log")
    assert server.ended() == 1
    assert "3:" in server.log() and "max_batch_sizes" in server.log()


def test_a_repository_that_is_not_there(tmp_path: pathlib.Path) -> None:
    server = Nereid(tmp_path / "absent", tmp_path / "log")
    assert server.ended() == 1
    assert "absent" in server.log()


def test_files_beside_the_models_are_ignored(tmp_path: pathlib.Path) -> None:
    repository = with_a_healthy_model(tmp_path)
    (repository / "README.md").write_text("not a model")
    (repository / "mnist_mlp/notes.txt").write_text("not a version")
    (repository / "mnist_mlp/old").mkdir()
    with serving(repository, tmp_path / "log") as server:
        infers(server)
        assert [e["name"] for e in server.post("/v2/repository/index").json()] == ["mnist_mlp"]


def test_nothing_is_left_in_the_home_folder_or_among_temporary_files(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's telemetry would leave an identifier and a database there, before it asks for Microsoft's address."""
    home, repository = tmp_path / "home", tmp_path / "models"
    home.mkdir()
    for variable in ("HOME", "TMPDIR"):
        monkeypatch.setenv(variable, str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    models.write(repository, "identity", models.identity("FP32"))
    with serving(repository, tmp_path / "log"):
        assert list(home.rglob("*")) == []
    assert list(home.rglob("*")) == []
