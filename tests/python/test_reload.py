"""Models that are loaded again and again: under traffic no request fails, and memory comes back."""

import pathlib
import threading

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

import control
import models
from control import Client
from nereid_process import Nereid, wait_until

RELOADS = 30
FACTORS = range(1, 9)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return control.repository(tmp_path / "models", factor=1)


class Traffic:
    """Threads that ask all the time, over both protocols. `answers` counts what they got, `failures` is what must not be."""

    def __init__(self, server: Nereid) -> None:
        self.server, self.ended, self.answers, self.failures = server, threading.Event(), 0, []
        self.threads = [threading.Thread(target=self.ask, args=[protocol]) for protocol in ("http", "grpc") * 2]

    def ask(self, protocol: str) -> None:
        client = Client(self.server, protocol)
        while not self.ended.is_set():
            try:
                factor = client.factor()
                if factor not in FACTORS:
                    self.failures.append(f"{protocol}: {factor}")
                self.answers += 1
            except Exception as e:  # noqa: BLE001
                self.failures.append(f"{protocol}: {e!r}")

    def __enter__(self) -> "Traffic":
        for thread in self.threads:
            thread.start()
        self.more(20)
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def more(self, answers: int) -> None:
        """Waits for so many further answers."""
        target = self.answers + answers
        wait_until(lambda: self.answers >= target or self.failures, 60, "requests are answered")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_no_request_fails_while_models_are_reloaded(folder: pathlib.Path, tmp_path: pathlib.Path, protocol: str) -> None:
    config = folder / "scaled/config.pbtxt"
    with control.explicit(folder, tmp_path / "log") as server, Traffic(server) as traffic:
        client = Client(server, protocol)
        for reload in range(RELOADS):
            factor = FACTORS[reload % len(FACTORS)]
            match reload % 4:
                case 0:
                    control.rewrite(folder, factor)
                case 1:
                    control.rewrite(folder, factor, version=reload)
                case 2:
                    config.write_text(models.SCALED_CONFIG + f"instance_group [ {{ count: {1 + reload % 3} }} ]")
                case 3:
                    config.write_text(models.SCALED_CONFIG + "dynamic_batching { }")
            client.load_model("scaled")
            if reload % 4 == 1:
                assert client.factor() == factor, "what is loaded serves"
            traffic.more(5)
            if reload % 10 == 5:
                good = config.read_text()
                config.write_text(good.replace("TYPE_FP32", "TYPE_INT32"))
                with pytest.raises(InferenceServerException, match="configuration expects datatype TYPE_INT32"):
                    client.load_model("scaled")
                traffic.more(5)
                config.write_text(good)
                client.load_model("scaled")
        assert traffic.failures == []
        assert server.log().count("successfully loaded 'scaled'") >= RELOADS


def test_requests_in_flight_end_on_their_version(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "models"
    models.write(folder, "slow", models.slow(), models.SLOW_CONFIG)
    models.write(folder, "scaled", models.scaled(1), models.SCALED_CONFIG)
    with control.explicit(folder, tmp_path / "log", "--load-model=slow") as server:
        client, answers = Client(server, "grpc"), []
        rounds = client.module.InferInput("ROUNDS", [1], "INT64")
        rounds.set_data_from_numpy(np.array([300], np.int64))
        for _ in range(3):
            client.async_infer("slow", [rounds], lambda result, error: answers.append((result, error)))
        wait_until(lambda: "nv_inference_pending_request_count{model=\"slow\",version=\"1\"} 2" in server.metrics(), 30, "one runs, two wait")
        second = folder / "slow/2"
        second.mkdir()
        (second / "model.onnx").write_bytes(models.slow().SerializeToString())
        client.load_model("slow")
        client.client.infer("slow", [rounds])
        client.unload_model("slow")
        wait_until(lambda: len(answers) == 3, 60, "the requests are answered")
        assert [error for _, error in answers] == [None] * 3
        assert [result.get_response().model_version for result, _ in answers] == ["1"] * 3
        index = lambda: {(m.version, m.state, m.reason) for m in client.get_model_repository_index().models if m.name == "slow"}
        gone = {("1", "UNAVAILABLE", "unloaded"), ("2", "UNAVAILABLE", "unloaded")}
        wait_until(lambda: index() == gone, 30, "both versions are gone")


ROUNDS, WARM_UP = 200, 20
MODEL_BYTES = 16 << 20
TOLERANCE_KIB = 12 << 10
"""Less than one model."""


def resident_kib(server: Nereid) -> int:
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def threads(server: Nereid) -> int:
    return len(list(pathlib.Path(f"/proc/{server.process.pid}/task").iterdir()))


def check_flat(server: Nereid, round_) -> None:
    for _ in range(WARM_UP):
        round_()
    before, before_threads = resident_kib(server), threads(server)
    for _ in range(ROUNDS):
        round_()
    wait_until(lambda: threads(server) <= before_threads + 4, 30, "threads end")
    grown = resident_kib(server) - before
    print(f"resident: {before} KiB, then {grown:+} KiB")
    assert grown < TOLERANCE_KIB


def with_large(folder: pathlib.Path) -> bytes:
    model = models.scaled(3, weights=MODEL_BYTES // 4).SerializeToString()
    models.write(folder, "large", model, models.SCALED_CONFIG)
    return model


def test_loads_and_unloads_leave_memory_flat(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with_large(folder)
    with control.explicit(folder, tmp_path / "log") as server:
        client = Client(server, "http")

        def round_() -> None:
            client.load_model("large")
            assert client.factor("large") == 3
            client.unload_model("large")
            state = lambda: [m for m in client.get_model_repository_index() if m["name"] == "large"][0].get("reason")
            wait_until(lambda: state() == "unloaded", 30, "it is gone")

        check_flat(server, round_)


def test_failing_loads_leave_memory_flat(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    model = with_large(folder)
    path, config = folder / "large/1/model.onnx", folder / "large/config.pbtxt"
    wrong = models.SCALED_CONFIG.replace("TYPE_FP32", "TYPE_INT32")
    broken = [
        lambda: (path.write_bytes(model[:-100]), config.write_text(models.SCALED_CONFIG)),
        lambda: (path.write_bytes(model), config.write_text(wrong)),
        lambda: config.write_text(models.SCALED_CONFIG + 'parameters { key: "intra_op_thread_count" value { string_value: "x" } }'),
        lambda: config.write_text("nonsense"),
    ]
    with control.explicit(folder, tmp_path / "log") as server:
        client, count = Client(server, "grpc"), 0

        def round_() -> None:
            nonlocal count
            broken[count % len(broken)]()
            count += 1
            with pytest.raises(InferenceServerException):
                client.load_model("large")

        check_flat(server, round_)
        assert client.factor() == 1


def test_reloads_leave_memory_flat(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Of files that came along: their directories go, too."""
    model = models.scaled(3, weights=MODEL_BYTES // 16).SerializeToString()
    with control.explicit(folder, tmp_path / "log") as server:
        client = Client(server, "grpc")
        config = '{"backend":"onnxruntime"}'
        check_flat(server, lambda: client.load_model("scaled", config=config, files={"file:1/model.onnx": model}))
        assert client.factor() == 3
