"""GPUs on the metrics page, with stand-ins for the driver's libraries. No GPU is needed, and none is used."""

import pathlib

import numpy as np
import pytest
import tritonclient.http as httpclient

import fakes
import models
from exposition import families, value
from nereid_process import Nereid, serving, wait_until
from nvml import Nvml

FIRST, SECOND = (f"GPU-00000000-0000-0000-0000-{number:012x}" for number in (0, 1))
HOPPER = f"gpu uuid={FIRST} name=NVIDIA_H100 pci=00000000:01:00.0 mig=off utilization=37 total=1000 used=400 power=123456 limit=700000 energy=5000\n"
OLD = f"gpu uuid={SECOND} name=Tesla_K80 pci=00000000:02:00.0 utilization=0 total=50 used=1\n"
GAUGES = {
    "nv_gpu_utilization": 0.37,
    "nv_gpu_memory_total_bytes": 1000,
    "nv_gpu_memory_used_bytes": 400,
    "nv_gpu_power_usage": 123.456,
    "nv_gpu_power_limit": 700,
}
ENERGY = "nv_energy_consumption"
ABSENT = "GPU metrics will not be available"


@pytest.fixture
def driver(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Nvml:
    """A machine with a driver and two GPUs, the second of which tells little."""
    for name, text in fakes.environment(tmp_path / "driver", "fake_cuda", FAKE_CUDA_DEVICES="2").items():
        monkeypatch.setenv(name, text)
    return Nvml(tmp_path / "driver", HOPPER + OLD)


@pytest.fixture
def empty(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def of_gpus(server: Nereid) -> dict[str, dict[str, float]]:
    """All samples of the families of GPUs, by uuid."""
    page = families(server)
    names = [name for name in page if name.startswith("nv_gpu") or name == ENERGY]
    for name in names:
        assert page[name].type == ("counter" if name == ENERGY else "gauge")
        assert all(s.labels.keys() == {"gpu_uuid"} for s in page[name].samples)
    return {name: {s.labels["gpu_uuid"]: s.value for s in page[name].samples} for name in names}


def test_every_gpu_has_its_lines(driver: Nvml, empty: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(empty, tmp_path / "log", "--metrics-interval-ms=1") as server:
        shown = of_gpus(server)
        log = server.log()
        assert {name: gpus[FIRST] for name, gpus in shown.items()} == GAUGES | {ENERGY: 0}
        assert {name: gpus.get(SECOND) for name, gpus in shown.items() if SECOND in gpus} == {
            "nv_gpu_utilization": 0,
            "nv_gpu_memory_total_bytes": 50,
            "nv_gpu_memory_used_bytes": 1,
        }
        names = [line for line in server.metrics().splitlines() if line.startswith("# TYPE ")]
        order = [name.split()[2] for name in names]
        first = [ENERGY, "nv_pinned_memory_pool_total_bytes", "nv_pinned_memory_pool_used_bytes", *GAUGES]
        assert order[: len(first)] == first
        assert [log.count(f"Collecting metrics for GPU {n}: {name}") for n, name in enumerate(["NVIDIA H100", "Tesla K80"])] == [1, 1]
        driver.say(HOPPER.replace("energy=5000", "energy=7500").replace("utilization=37", "utilization=100") + OLD)
        wait_until(lambda: of_gpus(server)[ENERGY] == {FIRST: 2.5}, 30, "the energy of the meantime")
        assert of_gpus(server)["nv_gpu_utilization"] == {FIRST: 1, SECOND: 0}
        for what in ("power usage", "power limit", "energy consumption"):
            assert server.log().count(f"Unable to get {what} for GPU 1 ") == 1, "said once"
        assert ABSENT not in server.log()


def test_readings_are_as_old_as_they_may_be(driver: Nvml, empty: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(empty, tmp_path / "log", "--metrics-interval-ms=3600000") as server:
        wait_until(lambda: of_gpus(server), 30, "the first reading")
        driver.say(HOPPER.replace("used=400", "used=401"))
        assert of_gpus(server)["nv_gpu_memory_used_bytes"] == {FIRST: 400, SECOND: 1}


@pytest.mark.parametrize(("visible", "shown"), [("1", [SECOND]), (f"{SECOND},0", [SECOND, FIRST]), ("1,7,0", [SECOND])])
def test_gpus_that_cuda_does_not_use_are_left_out(
    driver: Nvml, empty: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, visible: str, shown: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with serving(empty, tmp_path / "log") as server:
        assert list(of_gpus(server)["nv_gpu_memory_total_bytes"]) == shown


def test_parts_of_a_gpu_have_names_of_their_own(driver: Nvml, empty: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CUDA_MIG", "1")
    parts = [f"MIG-ff000000-0000-0000-0000-{number:012x}" for number in (0, 1)]
    lines = [f"mig uuid={uuid} name=NVIDIA_H100_MIG_1g.10gb total={10 + n} used={n}\n" for n, uuid in enumerate(parts)]
    driver.say(HOPPER.replace("mig=off", "mig=on").replace("utilization=37", "") + "".join(lines))
    models.write_identity(empty, "m", more="instance_group [ { kind: KIND_GPU count: 1 gpus: [ 1 ] } ]\n")
    with serving(empty, tmp_path / "log") as server:
        assert {s.labels.get("gpu_uuid") for s in families(server)["nv_inference_count"].samples} == {None, parts[1]}
        assert of_gpus(server) == {
            "nv_gpu_memory_total_bytes": {parts[0]: 10, parts[1]: 11},
            "nv_gpu_memory_used_bytes": {parts[0]: 0, parts[1]: 1},
            "nv_gpu_power_usage": {FIRST: 123.456},
            "nv_gpu_power_limit": {FIRST: 700},
            ENERGY: {FIRST: 0},
        }
        assert server.log().count("Collecting metrics for GPU 1: NVIDIA H100 MIG 1g.10gb") == 1


def test_a_driver_that_hangs_holds_nothing_up(driver: Nvml, empty: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(empty, tmp_path / "log", "--metrics-interval-ms=1") as server:
        wait_until(lambda: of_gpus(server), 30, "the first reading")
        driver.say("hang\n" + HOPPER.replace("used=400", "used=401") + OLD)
        for _ in range(3):
            assert of_gpus(server)["nv_gpu_memory_used_bytes"] == {FIRST: 400, SECOND: 1}, "the last values"
            assert server.get("/v2/health/ready").status == 200
        assert server.log().count("GPU metrics are not up to date") == 1
        driver.say(HOPPER.replace("used=400", "used=402") + OLD)
        wait_until(lambda: of_gpus(server)["nv_gpu_memory_used_bytes"][FIRST] == 402, 30, "it answers again")


def test_a_driver_that_hangs_from_the_start(driver: Nvml, empty: pathlib.Path, tmp_path: pathlib.Path) -> None:
    driver.say("hang\n" + HOPPER)
    with serving(empty, tmp_path / "log") as server:
        assert of_gpus(server) == {}
        assert "nv_cpu_utilization" in families(server)


@pytest.mark.parametrize("why", ["no library", "driver not loaded", "no CUDA", "no GPU", "switched off", "CPU only"])
def test_without_a_gpu_there_is_one_line_in_the_log(
    driver: Nvml, empty: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    flags, lines = [], 1
    match why:
        case "no library":
            (driver.folder / "libnvidia-ml.so.1").unlink()
        case "driver not loaded":
            driver.say("init=9\n")
        case "no CUDA":
            monkeypatch.setenv("FAKE_CUDA_INIT_ERROR", "803")
        case "no GPU":
            driver.say("")
            monkeypatch.setenv("FAKE_CUDA_DEVICES", "0")
        case "switched off":
            flags, lines = ["--allow-gpu-metrics=false"], 0
        case "CPU only":
            monkeypatch.setenv("TRITON_SERVER_CPU_ONLY", "1")
    with serving(empty, tmp_path / "log", *flags) as server:
        assert of_gpus(server) == {}
        assert "Collecting metrics for GPU" not in server.log()
        if lines:
            wait_until(lambda: ABSENT in server.log(), 30, "the reason")
        assert server.log().count(ABSENT) == lines


@pytest.mark.parametrize("allowed", [True, False])
def test_what_a_model_does_on_a_gpu_has_its_label(driver: Nvml, empty: pathlib.Path, tmp_path: pathlib.Path, allowed: bool) -> None:
    models.write_identity(empty, "m", more="instance_group [ { kind: KIND_GPU count: 1 gpus: [ 1 ] } ]\n")
    plain, on_gpu = {"model": "m", "version": "1"}, {"model": "m", "version": "1", "gpu_uuid": SECOND}
    with serving(empty, tmp_path / "log", f"--allow-gpu-metrics={str(allowed).lower()}") as server:
        with httpclient.InferenceServerClient(server.http) as client:
            tensor = httpclient.InferInput("INPUT0", [4], "FP32")
            tensor.set_data_from_numpy(np.zeros(4, np.float32))
            client.infer("m", [tensor])
        samples = [s.labels for s in families(server)["nv_inference_count"].samples]
        assert samples == ([plain, on_gpu] if allowed else [plain])
        for name in ("nv_inference_count", "nv_inference_exec_count", "nv_inference_request_success"):
            assert value(server, name, **plain) == (0 if allowed else 1)
            if allowed:
                assert value(server, name, **on_gpu) == 1
        if allowed:
            assert value(server, "nv_model_load_duration_secs", **on_gpu) == 0 < value(server, "nv_model_load_duration_secs", **plain)
            assert value(server, "nv_inference_request_failure", reason="BACKEND", **on_gpu) == 0
        (stats,) = server.get("/v2/models/m/stats").json()["model_stats"]
        assert (stats["inference_count"], stats["execution_count"], len(stats["batch_stats"])) == (1, 1, 1)
