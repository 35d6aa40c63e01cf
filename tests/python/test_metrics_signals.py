"""What autoscalers and alerts go by: how busy the instances of a model are, and which models are ready."""

import contextlib
import pathlib
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

import models
from exposition import families, shown, value
from nereid_process import Nereid, serving, wait_until

BUSY = ["nereid_instance_busy_seconds", "nereid_instances", "nereid_model_busy_ratio"]
WINDOW_S = 6
BODY = {"inputs": [{"name": "INPUT0", "shape": [1], "datatype": "FP32", "data": [1]}]}
CPU = "instance_group [ {{ count: {} kind: KIND_CPU }} ]"


def write(repository: pathlib.Path, name: str, instances: int, delay_ms: int) -> None:
    models.write_identity(repository, name, [("FP32", [1])], parameters={"execute_delay_ms": delay_ms}, more=CPU.format(instances))


def ask(server: Nereid, model: str) -> int:
    return server.post(f"/v2/models/{model}/infer", BODY).status


def seconds(server: Nereid, model: str) -> float:
    (sample,) = [s for s in families(server)["nereid_instance_busy_seconds"].samples if s.labels["model"] == model]
    assert sample.name == "nereid_instance_busy_seconds_total" and sample.labels == {"model": model, "version": "1"}
    return sample.value


def ratio(server: Nereid, model: str) -> float:
    return value(server, "nereid_model_busy_ratio", model=model, version="1")


@contextlib.contextmanager
def loaded(server: Nereid, *clients: str) -> Iterator[None]:
    """A client for each of these models, which sends its next request when it has an answer."""
    done, problems = threading.Event(), []

    def client(model: str) -> None:
        while not done.is_set():
            if ask(server, model) != 200:
                problems.append(f"a request to {model} failed")
                return

    threads = [threading.Thread(target=client, args=(model,)) for model in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert problems == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    repository = tmp_path_factory.mktemp("busy")
    write(repository, "full", instances=1, delay_ms=100)
    write(repository, "half", instances=2, delay_ms=100)
    write(repository, "idle", instances=1, delay_ms=0)
    write(repository, "long", instances=1, delay_ms=3000)
    tensors = {"INPUT0": ("FP32", [1])}, {"OUTPUT0": ("FP32", [1])}
    models.write_ensemble(repository, "chain", *tensors, [("idle", {"INPUT0": "INPUT0"}, {"OUTPUT0": "OUTPUT0"})], max_batch_size=0)
    with serving(repository, tmp_path_factory.mktemp("log") / "log") as process:
        yield process


def test_each_model_with_instances_says_how_many(server: Nereid) -> None:
    page = families(server)
    assert [page[name].type for name in BUSY] == ["counter", "gauge", "gauge"]
    counts = {s.labels["model"]: s.value for s in page["nereid_instances"].samples}
    assert counts == {"full": 1, "half": 2, "idle": 1, "long": 1}, "an ensemble has none"
    assert "nv_inference_count" in shown(server, "chain") and shown(server, "chain").isdisjoint(BUSY)


def test_ratios_follow_the_load_whoever_looks(server: Nereid) -> None:
    """Two clients keep one instance at work all the time, and one client one of two instances."""
    done = threading.Event()

    def look_often() -> None:
        while not done.is_set():
            server.metrics()

    before = seconds(server, "full"), seconds(server, "half")
    start = time.monotonic()
    onlooker = threading.Thread(target=look_often)
    onlooker.start()
    try:
        with loaded(server, "full", "full", "half"):
            wait_until(lambda: ratio(server, "full") > 0.8, 60, "the whole window is busy")
            wait_until(lambda: 0.3 < ratio(server, "half") <= 0.52, 60, "one of two instances is busy")
            assert ratio(server, "idle") == 0
        full, half = seconds(server, "full") - before[0], seconds(server, "half") - before[1]
        took = time.monotonic() - start
        assert 4 < full <= took and 0.8 * half <= full, "one instance each, however many there are"
        wait_until(lambda: ratio(server, "full") == ratio(server, "half") == 0, 10 * WINDOW_S, "the window is over")
    finally:
        done.set()
        onlooker.join()
    (stats,) = server.get("/v2/models/full/stats").json()["model_stats"]
    computed = sum(stats["inference_stats"][part]["ns"] for part in ("compute_input", "compute_infer", "compute_output"))
    assert seconds(server, "full") == pytest.approx(computed / 1e9, rel=1e-6), "batches of one: no more and no less than was computed"


def test_a_run_counts_while_it_goes_on(server: Nereid) -> None:
    before = seconds(server, "long")
    request = threading.Thread(target=ask, args=(server, "long"))
    request.start()
    last, growths = before, 0
    while request.is_alive():
        now = seconds(server, "long")
        assert now >= last
        growths += now > last and value(server, "nv_inference_exec_count", model="long", version="1") == 0
        last = now
    request.join()
    assert growths > 2, "it was seen to grow before the run had ended"
    end = seconds(server, "long")
    assert end >= last and end - before >= 2.9
    assert seconds(server, "long") == end


def test_promtool_finds_nothing_wrong_with_our_own_names(server: Nereid) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool on PATH")
    checked = subprocess.run([program, "check", "metrics"], input=server.metrics().encode(), capture_output=True, timeout=60)
    said = (checked.stdout + checked.stderr).decode()
    assert [line for line in said.splitlines() if "nereid_" in line] == []


def readiness(server: Nereid) -> dict[str, float]:
    """`model/version`, or `model` where no version is known."""
    page = families(server)
    samples = page["nereid_model_ready"].samples if "nereid_model_ready" in page else []
    assert all(s.labels.keys() <= {"model", "version"} for s in samples)
    return {"/".join(s.labels[key] for key in ("model", "version") if key in s.labels): s.value for s in samples}


def control(server: Nereid, action: str, model: str) -> int:
    return server.post(f"/v2/repository/models/{model}/{action}").status


def test_readiness_over_the_life_of_models(tmp_path: pathlib.Path) -> None:
    repository = tmp_path / "repository"
    for name in ("good", "broken", "nonsense", "other"):
        write(repository, name, instances=1, delay_ms=0)
    good = (repository / "broken/config.pbtxt").read_text()
    (repository / "broken/config.pbtxt").write_text(good.replace('"identity"', '"nosuch"'))
    (repository / "nonsense/config.pbtxt").write_text("nonsense {")
    flags = ["--model-control-mode=explicit", "--exit-on-error=false", *(f"--load-model={name}" for name in ("good", "broken", "nonsense", "missing"))]
    with serving(repository, tmp_path / "log", *flags, ready=lambda server: server.wait_for("/v2/health/live")) as server:
        wait_until(lambda: readiness(server), 60, "models were tried")
        failed = {"broken/1": 0, "nonsense": 0, "missing": 0}
        assert readiness(server) == {"good/1": 1} | failed
        assert value(server, "nereid_server_ready") == 0 and server.get("/v2/health/ready").status == 400
        # Unloaded on purpose: nobody misses it. Loaded again: it is back.
        assert control(server, "unload", "good") == 200
        wait_until(lambda: readiness(server) == failed, 60, "the model is gone")
        assert control(server, "load", "good") == 200
        assert readiness(server) == {"good/1": 1} | failed
        # A reload that fails leaves what serves.
        config = repository / "good/config.pbtxt"
        config.write_text(config.read_text().replace('"identity"', '"nosuch"'))
        assert control(server, "load", "good") == 400
        assert readiness(server)["good/1"] == 1
        # Mended, one after the other; what is given up is not missed.
        (repository / "broken/config.pbtxt").write_text(good)
        assert control(server, "load", "broken") == 200
        assert readiness(server) == {"good/1": 1, "broken/1": 1, "nonsense": 0, "missing": 0}
        assert control(server, "unload", "nonsense") == control(server, "unload", "missing") == 200
        assert readiness(server) == {"good/1": 1, "broken/1": 1}
        assert value(server, "nereid_server_ready") == 1 and server.get("/v2/health/ready").status == 200
        assert control(server, "load", "nosuch") >= 400
        assert "nosuch" not in readiness(server), "clients may ask for any name"
