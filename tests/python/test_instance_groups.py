"""Instance groups with the real clients: kinds, counts and names, passive instances, CPUs by host policy, changes in place."""

import json
import pathlib
import threading

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

import models
from nereid_process import Nereid, serving, wait_until

CLIENTS = {"http": httpclient, "grpc": grpcclient}
WEEKS_MS = 2_000_000_000
WAIT_S = 30


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def infer(server: Nereid, protocol: str, model: str) -> None:
    library = CLIENTS[protocol]
    tensor = library.InferInput("INPUT0", [1], "FP32")
    tensor.set_data_from_numpy(np.array([1], np.float32))
    with library.InferenceServerClient(getattr(server, protocol)) as client:
        client.infer(model, [tensor])


def group(text: str = "") -> str:
    return f"instance_group [ {{ {text} }} ]\n"


# what the config says, and the groups that clients are shown
SHOWN = {
    "": [("m", "KIND_CPU", 1)],
    group("count: 3"): [("m_0", "KIND_CPU", 3)],
    group("kind: KIND_AUTO"): [("m_0", "KIND_CPU", 1)],
    group("kind: KIND_AUTO gpus: [ 77 ]"): "has kind KIND_CPU but specifies one or more GPUs",
    group("kind: KIND_CPU count: 0"): [("m_0", "KIND_CPU", 1)],
    group("kind: KIND_CPU count: -3"): [("m_0", "KIND_CPU", 1)],
    group("kind: KIND_MODEL"): [("m_0", "KIND_MODEL", 1)],
    group('name: "mine" kind: KIND_MODEL count: 2') + group("kind: KIND_CPU"): [("mine", "KIND_MODEL", 2), ("m_1", "KIND_CPU", 1)],
    group("kind: KIND_CPU gpus: [ 0 ]"): "instance group m_0 of model m has kind KIND_CPU but specifies one or more GPUs",
    group("kind: KIND_MODEL gpus: [ 0 ]"): "instance group m_0 of model m has kind KIND_MODEL but specifies one or more GPUs",
    group('profile: [ "0" ]'): "specifies profile field which is only supported for TensorRT models",
}


@pytest.mark.skipif(any(pathlib.Path("/dev").glob("nvidia[0-9]*")), reason="without GPUs, KIND_AUTO is KIND_CPU")
def test_kinds_counts_and_names(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    models.write_identity(folder, "m")
    path = folder / "m/config.pbtxt"
    base = path.read_text()
    with serving(folder, tmp_path / "log", "--model-control-mode=explicit") as server:
        for groups, expected in SHOWN.items():
            path.write_text(base + groups)
            answer = server.post("/v2/repository/models/m/load")
            if isinstance(expected, str):
                assert answer.status == 400 and expected in answer.error(), answer.body
                continue
            assert answer.status == 200, answer.body
            shown = server.get("/v2/models/m/config").json()["instance_group"]
            assert [(g["name"], g["kind"], g["count"]) for g in shown] == expected
            infer(server, "http", "m")


@pytest.mark.parametrize("protocol", CLIENTS)
def test_passive_instances_take_no_requests(folder: pathlib.Path, tmp_path: pathlib.Path, protocol: str) -> None:
    """The passive instance is the second one, and would take weeks."""
    delays = {"execute_delay_ms": 1, "instance_wise_delay_multiplier": WEEKS_MS}
    passive = group("kind: KIND_CPU passive: true")
    models.write_identity(folder, "some", parameters=delays, more=group("kind: KIND_CPU") + passive)
    models.write_identity(folder, "all", more=passive)
    models.write_identity(folder, "all_batching", max_batch_size=4, more=passive + "dynamic_batching {}")
    with serving(folder, tmp_path / "log") as server:
        threads = [threading.Thread(target=infer, args=[server, protocol, "some"]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()
        (stats,) = server.get("/v2/models/some/stats").json()["model_stats"]
        assert stats["inference_stats"]["success"]["count"] == 8
        assert server.get("/v2/models/all/ready").status == 200
        with pytest.raises(InferenceServerException, match="Unable to find the payload queue for the model all$"):
            infer(server, protocol, "all")
        body = {"inputs": [{"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "data": [1]}]}
        answer = server.post("/v2/models/all_batching/infer", body)
        assert (answer.status, answer.error()) == (500, "Unable to find the payload queue for the model all_batching")


def cpus(server: Nereid, name: str) -> set[str]:
    """The CPUs that the threads of this name may use."""
    tasks = pathlib.Path(f"/proc/{server.process.pid}/task").iterdir()
    found = set()
    for task in tasks:
        if (task / "comm").read_text().strip().startswith(name):
            status = (task / "status").read_text()
            found.add(status.split("Cpus_allowed_list:")[1].split()[0])
    return found


def test_instances_keep_to_the_cpus_of_their_policy(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    models.write_identity(folder, "cpu", more=group("kind: KIND_CPU count: 2"))
    models.write_identity(folder, "other", more=group('kind: KIND_CPU host_policy: "elsewhere"'))
    pool = 'parameters { key: "intra_op_thread_count" value { string_value: "3" } }'
    models.write(folder, "scaled", models.scaled(2), models.SCALED_CONFIG + pool + group("kind: KIND_CPU"))
    all_cpus = set(pathlib.Path("/proc/self/status").read_text().split("Cpus_allowed_list:")[1].split()[:1])
    with serving(folder, tmp_path / "log", "--host-policy=cpu,cpu-cores=0-0", "--model-control-mode=explicit", "--http-thread-count=1") as server:
        server.post("/v2/repository/models/other/load")
        before = cpus(server, "")
        for _ in range(20):  # fast enough for an event loop, which must not be taken along
            infer(server, "http", "other")
        assert cpus(server, "") == before == all_cpus
        for model in ("cpu", "scaled"):
            server.post(f"/v2/repository/models/{model}/load")
        for _ in range(20):
            infer(server, "http", "cpu")
        assert cpus(server, "instance-") == all_cpus | {"0"}
        assert cpus(server, "host-policy") == {"0"}, "the pool of ONNX Runtime, whose threads go by the name of their maker"
        assert cpus(server, "tokio") | cpus(server, "model") <= all_cpus


# flags, and why an instance is not made
POLICIES = {
    "cpu-cores=3": "host policy setting 'cpu-cores' format is '<lower_cpu_core_id>-<upper_cpu_core_id>'. Got 3",
    "cpu-cores=a-b": "Parsing 'cpu-cores' value: Can't parse 'a' to integer",
    "cpu-cores=900-1000": "Unable to set NUMA thread affinity: Invalid argument",
    "numa-node=near": "Parsing 'numa-node' value: Can't parse 'near' to integer",
}


@pytest.mark.parametrize("setting", POLICIES)
def test_policies_that_make_no_sense(folder: pathlib.Path, tmp_path: pathlib.Path, setting: str) -> None:
    models.write_identity(folder, "bad", more=group("kind: KIND_CPU"))
    models.write_identity(folder, "good", more=group("kind: KIND_MODEL"))
    with serving(folder, tmp_path / "log", f"--host-policy=cpu,{setting}", "--model-control-mode=explicit", "--load-model=good") as server:
        answer = server.post("/v2/repository/models/bad/load")
        assert POLICIES[setting] in answer.error()
        infer(server, "http", "good")


@pytest.mark.parametrize("mode", ["explicit", "poll"])
def test_groups_and_version_policy_change_in_place(folder: pathlib.Path, tmp_path: pathlib.Path, mode: str) -> None:
    """The model takes a second to load, statistics go on, and what runs ends where it began."""
    models.write_identity(folder, "m", parameters={"creation_delay_sec": 1, "execute_delay_ms": 300}, more=group("kind: KIND_CPU count: 2"))
    path = folder / "m/config.pbtxt"
    base = path.read_text().split("instance_group")[0]
    flags = {"explicit": ["--load-model=*"], "poll": ["--repository-poll-secs=1"]}[mode]

    def load() -> None:
        if mode == "explicit":
            assert server.post("/v2/repository/models/m/load").status == 200

    with serving(folder, tmp_path / "log", f"--model-control-mode={mode}", *flags) as server:
        shown = lambda: server.get("/v2/models/m/config").json()
        loads = lambda: server.log().count("loading: m:1")
        statistics = lambda: server.get("/v2/models/m/stats").json()["model_stats"][0]["inference_stats"]
        infer(server, "http", "m")
        counted = 1
        for more, changed in (
            (group("kind: KIND_CPU count: 1"), lambda config: config["instance_group"][0]["count"] == 1),
            (group('name: "mine" kind: KIND_MODEL count: 3'), lambda config: config["instance_group"][0]["kind"] == "KIND_MODEL"),
            (group("kind: KIND_CPU count: 2 passive: true") + group("kind: KIND_CPU"), lambda config: len(config["instance_group"]) == 2),
            (group("kind: KIND_CPU") + "version_policy { specific { versions: [ 1 ] } }", lambda config: "specific" in config["version_policy"]),
        ):
            runs = threading.Thread(target=infer, args=[server, "http", "m"])
            runs.start()
            path.write_text(base + more)
            load()
            wait_until(lambda: changed(shown()), WAIT_S, more)
            infer(server, "http", "m")
            runs.join()
            counted += 2
            assert statistics()["success"]["count"] == counted, "statistics go on"
        assert loads() == 1, "the model itself was loaded once"
        path.write_text(base + group("kind: KIND_CPU") + "dynamic_batching {}\n")
        load()
        wait_until(lambda: "dynamic_batching" in shown(), WAIT_S, "other changes load the model again")
        assert (loads(), statistics()["success"]["count"]) == (2, 0)


@pytest.mark.parametrize("protocol", CLIENTS)
def test_groups_given_with_a_load_request_change_in_place(folder: pathlib.Path, tmp_path: pathlib.Path, protocol: str) -> None:
    """As in L0_model_update: the config as it is shown, with another count."""
    models.write_identity(folder, "m", more=group("kind: KIND_CPU"))
    with serving(folder, tmp_path / "log", "--model-control-mode=explicit", "--load-model=m") as server:
        infer(server, protocol, "m")
        config = server.get("/v2/models/m/config").json()
        config["instance_group"][0]["count"] += 1
        with CLIENTS[protocol].InferenceServerClient(getattr(server, protocol)) as client:
            client.load_model("m", config=json.dumps(config))
        infer(server, protocol, "m")
        assert server.get("/v2/models/m/config").json() == config
        (stats,) = server.get("/v2/models/m/stats").json()["model_stats"]
        assert (stats["inference_stats"]["success"]["count"], server.log().count("loading: m:1")) == (2, 1)
