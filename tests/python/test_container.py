"""A server within the limits of a real container: it knows them, shows them, and does not die of them."""

import collections
import contextlib
import http.client
import pathlib
import re
import threading

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

import cgroups
import models
from exposition import families, value
from nereid_process import Nereid, serving, wait_until
from test_in_flight import body

MIB = 1 << 20
LIMIT = 192 * MIB


def limited(folder: pathlib.Path, group: cgroups.Group) -> contextlib.AbstractContextManager[Nereid]:
    return serving(folder / "repository", folder / "log", program=group.program(folder / "program"))


def test_a_flood_does_not_end_a_server_with_little_memory(tmp_path: pathlib.Path) -> None:
    """Requests of ten times the memory that there is, over both protocols, binary and as JSON, in and out."""
    models.write_identity(tmp_path / "repository", "echo", [("UINT8", [-1])], parameters={"execute_delay_ms": 20})
    models.write_identity(tmp_path / "repository", "numbers", [("FP32", [-1])])
    models.write(tmp_path / "repository", "sum", models.identity("UINT8"))
    seen: collections.Counter[str] = collections.Counter()
    failures: list[BaseException] = []

    def over_http(server: Nereid, model: str, request: bytes, headers: dict[str, str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=120)
        for _ in range(12):
            connection.request("POST", f"/v2/models/{model}/infer", request, headers)
            response = connection.getresponse()
            answer = response.read()
            seen[f"{model} {response.status}"] += 1
            if response.status != 200:
                assert response.status == 503 and response.getheader("Retry-After") == "1", answer[:300]
            elif model == "echo":
                assert answer.endswith(request[-1000:]) and len(answer) > len(request) // 2
        connection.close()

    def over_grpc(server: Nereid, size: int, fill: int) -> None:
        with grpcclient.InferenceServerClient(server.grpc) as client:
            tensor = grpcclient.InferInput("INPUT0", [size], "UINT8")
            tensor.set_data_from_numpy(np.full(size, fill, np.uint8))
            for _ in range(12):
                try:
                    assert (client.infer("echo", [tensor]).as_numpy("OUTPUT0") == fill).all()
                    seen["grpc OK"] += 1
                except InferenceServerException as refusal:
                    assert refusal.status() == "StatusCode.UNAVAILABLE", refusal
                    seen["grpc UNAVAILABLE"] += 1

    def run(work: object, *arguments: object) -> None:
        try:
            work(*arguments)
        except BaseException as failure:
            failures.append(failure)

    with cgroups.group("memory", limit_in_bytes=str(LIMIT)) as group:
        with limited(tmp_path, group) as server:
            budget = value(server, "nereid_inflight_limit_bytes")
            assert 16 * MIB <= budget < LIMIT / 3
            assert value(server, "nereid_memory_limit_bytes") == LIMIT
            assert "THP_enabled:\t0\n" in pathlib.Path(f"/proc/{server.process.pid}/status").read_text(), "no huge pages"
            assert f"Memory: the container may have {LIMIT} bytes; requests in flight may have {int(budget)} bytes" in server.log()
            numbers = b'{"inputs":[{"name":"INPUT0","datatype":"FP32","shape":[400000],"data":[%b]}]}' % b",".join([b"0.12345678"] * 400_000)
            work = [(over_http, server, "echo", *body(size * MIB, fill=size)) for size in (1, 3, 8, 12) * 3]
            work += [(over_http, server, "numbers", numbers, {})] * 3
            work += [(over_grpc, server, size * MIB, size) for size in (1, 4, 9) * 3]
            threads = [threading.Thread(target=run, args=arguments) for arguments in work]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not failures, (failures[0], seen, server.log()[-2000:])
            assert group.read("memory.oom_control")["oom_kill"] == 0, seen
            assert seen["echo 200"] and seen["echo 503"] and seen["grpc OK"] and seen["grpc UNAVAILABLE"], seen
            wait_until(lambda: value(server, "nereid_inflight_bytes") == 0, 30, "nothing is in flight")
            most = int((group.path / "memory.max_usage_in_bytes").read_text())
            print(f"budget {budget / MIB:.0f} MiB, most {most / MIB:.0f} MiB, resident {server.resident() / MIB:.0f} MiB, {dict(seen)}")


def test_threads_follow_the_quota_and_throttling_is_shown(tmp_path: pathlib.Path) -> None:
    models.write(tmp_path / "repository", "echo", models.identity("FP32"))
    with cgroups.group("cpu", cfs_period_us="10000", cfs_quota_us="5000") as group:
        with limited(tmp_path, group) as server:
            assert re.search(r"CPUs: quota 0\.5, affinity \d+, machine \d+", server.log()), server.log()
            assert "Threads: 1 for event loops, 1 for ONNX Runtime at most" in server.log()
            assert value(server, "nereid_cpu_quota_cores") == 0.5

            def throttled() -> bool:
                server.metrics()  # costs CPU time, too
                shown = families(server)
                periods, seconds = (shown[f"nereid_cpu_throttled_{unit}"].samples[0].value for unit in ("periods", "seconds"))
                return periods > 0 and seconds > 0

            wait_until(throttled, 60, "the quota is used up")
            stat = group.read("cpu.stat")
            assert value(server, "nereid_cpu_throttled_periods") <= stat["nr_throttled"] + 100
