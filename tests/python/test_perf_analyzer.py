"""NVIDIA's own load generator, unchanged, over every way in.

It comes with the wheel `tritonclient==2.50.0` (needs Debian's libb64-0d and `nvidia-cuda-runtime-cu12`); without one that
runs these tests are skipped. `PERF_ANALYZER` names it where it is not on the PATH.
"""

import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from nereid_process import Nereid, serving

PROGRAM = os.environ.get("PERF_ANALYZER") or shutil.which("perf_analyzer")
REQUESTS = 200


def runs() -> bool:
    return PROGRAM is not None and subprocess.run([PROGRAM, "--version"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not runs(), reason="no perf_analyzer that runs")


@pytest.fixture(scope="module")
def shm_server(repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    with serving(repository, tmp_path_factory.mktemp("perf") / "log", "--allow-client-shm=true") as process:
        yield process


@pytest.mark.parametrize("memory", ["none", "system"])
@pytest.mark.parametrize(
    "way",
    [["-i", "http"], ["-i", "http", "--async"], ["-i", "grpc"], ["-i", "grpc", "--async"], ["-i", "grpc", "--async", "--streaming"]],
    ids=" ".join,
)
def test_perf_analyzer_finishes_without_a_failure(shm_server: Nereid, way: list[str], memory: str) -> None:
    address = shm_server.http if "http" in way else shm_server.grpc
    command = [PROGRAM, "-m", "mnist_mlp", "-u", address, *way, f"--shared-memory={memory}", "--concurrency-range=4"]
    command += ["--output-shared-memory-size=4096"] if memory == "system" else []
    command += ["--measurement-mode=count_windows", f"--measurement-request-count={REQUESTS}"]
    command += ["--stability-percentage=999"]  # how steady the figures are is not the question here
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    throughput = re.search(r"Throughput: ([0-9.]+) infer/sec", said)
    assert throughput and float(throughput[1]) > 0, said
    count = re.search(r"Inference count: (\d+)|Request count: (\d+)", said)
    assert count and int(count[1] or count[2]) >= REQUESTS, said
