"""Warm-up with the real clients: what ran before a model was ready can be seen in its statistics, over both protocols."""

import pathlib
import signal
import threading
from collections.abc import Iterator

import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

import models
from nereid_process import Nereid, serving, wait_until

ONE = "instance_group [ { count: 1 kind: KIND_CPU } ]\n"


def sample(name: str, inputs: dict[str, str], batch_size: int = 1, count: int = 0) -> str:
    values = "".join(f'inputs {{ key: "{key}" value {{ {value} }} }} ' for key, value in inputs.items())
    return f'model_warmup {{ name: "{name}" batch_size: {batch_size} count: {count} {values}}}\n'


PICK_CONFIG = """
backend: "onnxruntime"
input [ { name: "INDEX" data_type: TYPE_INT64 dims: [ 1 ] } ]
output [ { name: "OUTPUT" data_type: TYPE_INT64 dims: [ 1 ] } ]
"""


def write_pick(repository: pathlib.Path, name: str, index: int) -> None:
    """A model that takes 0, 1 or 2, warmed up by a file that holds `index`."""
    warm_up = sample("from file", {"INDEX": 'data_type: TYPE_INT64 dims: 1 input_data_file: "index"'})
    models.write(repository, name, models.pick(), PICK_CONFIG + ONE + warm_up)
    (repository / name / "warmup").mkdir()
    (repository / name / "warmup/index").write_bytes(index.to_bytes(8, "little"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    """As in Triton's own test: additions of zeros and random numbers, strings, files; and models that fail."""
    repository = tmp_path_factory.mktemp("warmup")
    numbers = {"INPUT0": "data_type: TYPE_INT32 dims: 16 zero_data: true", "INPUT1": "data_type: TYPE_INT32 dims: 16 random_data: true"}
    warm_up = sample("regular sample", numbers) + sample("large", numbers, batch_size=8, count=3)
    two = "instance_group [ { count: 2 kind: KIND_CPU } ]\n"
    models.write(repository, "add_sub", models.add_sub(), models.ADD_SUB_CONFIG + two + warm_up)
    strings = [sample(f"{kind} string", {"INPUT0": f"data_type: TYPE_STRING dims: 16 {kind}_data: true"}) for kind in ("zero", "random")]
    strings.append(sample("provided", {"INPUT0": 'data_type: TYPE_STRING dims: 1 input_data_file: "raw_string_data"'}, batch_size=8))
    models.write_identity(repository, "strings", [("BYTES", [-1])], max_batch_size=8, more=ONE + "".join(strings))
    (repository / "strings/warmup").mkdir()
    (repository / "strings/warmup/raw_string_data").write_bytes(b"\3\0\0\x00233")
    write_pick(repository, "fits", 2)
    write_pick(repository, "fails", 3)
    broken = sample("broken", {"INPUT0": "data_type: TYPE_FP32 dims: -1 zero_data: true"})
    models.write_identity(repository, "broken", more=broken)
    flags = ["--exit-on-error=false", "--strict-readiness=false", "--log-verbose=1"]
    with serving(repository, tmp_path_factory.mktemp("log") / "log", *flags) as process:
        yield process


def statistics(server: Nereid, protocol: str, model: str) -> tuple[int, int, int, list[int]]:
    """Successes, inferences, executions and the sizes of batches."""
    if protocol == "http":
        with httpclient.InferenceServerClient(server.http) as client:
            (stats,) = client.get_inference_statistics(model)["model_stats"]
    else:
        with grpcclient.InferenceServerClient(server.grpc) as client:
            (stats,) = client.get_inference_statistics(model, as_json=True)["model_stats"]
    sizes = [int(batch["batch_size"]) for batch in stats["batch_stats"]]
    return int(stats["inference_stats"]["success"]["count"]), int(stats["inference_count"]), int(stats["execution_count"]), sizes


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize(
    ("model", "expected"),
    [("add_sub", (50, 50, 8, [1, 8])), ("strings", (10, 10, 3, [1, 8])), ("fits", (1, 1, 1, [1]))],
)
def test_it_counts(server: Nereid, protocol: str, model: str, expected: tuple[int, int, int, list[int]]) -> None:
    """Requests of a sample are of one row each, and each instance runs each sample."""
    assert statistics(server, protocol, model) == expected


def test_metrics(server: Nereid) -> None:
    page = server.metrics()
    assert 'nv_inference_request_success{model="add_sub",version="1"} 50\n' in page
    assert 'nv_inference_exec_count{model="add_sub",version="1"} 8\n' in page
    assert 'nv_inference_request_failure{model="fails",reason="BACKEND",version="1"} 1\n' in page


def test_the_log_says_what_runs(server: Nereid) -> None:
    log = server.log()
    for instance in (0, 1):
        for iteration in (1, 2, 3):
            assert f"model 'add_sub' instance add_sub_0_{instance} is running warmup sample 'large' for iteration {iteration}" in log
    assert log.count("failed to run warmup sample 'from file'") > 0


def test_failures_keep_their_model_from_loading(server: Nereid) -> None:
    with grpcclient.InferenceServerClient(server.grpc) as client:
        index = client.get_model_repository_index(as_json=True)["models"]
        assert client.is_model_ready("fits")
        with pytest.raises(InferenceServerException, match="'fails' has no available versions"):
            client.is_model_ready("fails")
    reasons = {entry["name"]: entry["reason"] for entry in index if "reason" in entry}
    assert set(reasons) == {"fails", "broken"}
    assert reasons["fails"].startswith("Invalid argument: failed to run warmup sample 'from file': ")
    assert "indices element out of data bounds, idx=3" in reasons["fails"] and reasons["fails"].endswith("; ")
    assert reasons["broken"] == (
        "Invalid argument: warmup setting expects all variable-size dimensions are specified for input 'INPUT0'"
    )


def test_a_failure_ends_a_strict_server(tmp_path: pathlib.Path) -> None:
    write_pick(tmp_path / "repository", "fails", 7)
    server = Nereid(tmp_path / "repository", tmp_path / "log")
    assert server.ended() == 1
    assert "failed to run warmup sample 'from file': " in server.log()


def test_a_signal_ends_a_server_that_warms_up(tmp_path: pathlib.Path) -> None:
    """The model would take weeks."""
    warm_up = sample("endless", {"INPUT0": "data_type: TYPE_FP32 dims: 1 zero_data: true"})
    weeks_ms = 2_000_000_000
    models.write_identity(tmp_path / "repository", "slow", parameters={"execute_delay_ms": weeks_ms}, more=warm_up)
    models.write_identity(tmp_path / "repository", "other")
    flags = ["--model-control-mode=explicit", "--load-model=other", "--log-verbose=1"]
    server = Nereid(tmp_path / "repository", tmp_path / "log", *flags).wait_ready()
    try:
        answers: list[str] = []
        loading = threading.Thread(target=lambda: answers.append(server.post("/v2/repository/models/slow/load").error()))
        loading.start()
        wait_until(lambda: "is running warmup sample 'endless'" in server.log(), 30, "it runs")
        assert server.get("/v2/models/slow/ready").status != 200
        server.process.send_signal(signal.SIGTERM)
        assert server.ended() == 0
        loading.join()
    finally:
        server.process.kill()
    assert "warm-up of model 'slow' was stopped: the server is ending" in answers[0]
