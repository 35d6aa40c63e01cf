"""Throughput and latency by batch size, as a ratio to the bare loop of the same library on the same device, measured in turn
in the same run. The server has one instance and no dynamic batcher, so that a batch is what the request holds."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import check_plans
import launch
import machine
import models
from check_answers import CPU
from check_shared_memory import regions
from cuda import Gpu
from models import Model
from outcome import SEEN, Failed, Findings, NotRun
from runner import Context
from server import Server

ONE_GPU = "\ninstance_group [ { kind: KIND_GPU gpus: [ 0 ] } ]\n"
BATCHES = [1, 2, 4, 8, 16]
ROUNDS = 2


@dataclass(frozen=True)
class Way:
    """How requests reach the server."""

    transport: str
    in_flight: int
    memory: str = ""  # `system` or `cuda` for shared memory

    def title(self) -> str:
        memory = f", {self.memory} shared memory" if self.memory else ""
        return f"{'gRPC' if self.transport == 'grpc' else 'HTTP'}{memory}, {self.in_flight} in flight"


WAYS = [Way("http", 1), Way("http", 4), Way("grpc", 4), Way("http", 4, "system"), Way("http", 4, "cuda")]


class Bare:
    """The bare loop in a process of its own, which holds the model and waits for the next stretch."""

    def __init__(self, context: Context, model: Model, file: pathlib.Path, arguments: list[str], rows: int) -> None:
        command = [str(launch.bench(context)), "bare", "--model-name", model.name, "--model-file", str(file), "--batch", str(rows), *arguments]
        self.log = context.folder("logs") / "bare.log"
        with open(self.log, "wb") as sink:
            env = {**os.environ, **launch.environment(context)}
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, text=True, env=env)
        self.facts = self._read()["facts"]

    def run(self, seconds: float) -> dict[str, float]:
        self.process.stdin.write(f"{int(seconds * 1e6)}\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the bare loop ended with {self.process.wait()}: {self.log.read_text(errors='replace')[-300:].strip()}")
        return json.loads(line)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def cuda(context: Context, findings: Findings) -> None:
    machine.Driver()
    machine.needs(machine.CUDA_PROVIDER_NEEDS, "ONNX Runtime's CUDA provider")
    launch.arrived(models.onnx_file(context.bundle, models.RESNET), "resnet50")
    repository = models.repository(context.bundle, context.work / "throughput", {"resnet50": (models.RESNET, ONE_GPU)})
    file = models.onnx_file(context.bundle, models.RESNET)
    _measure(context, findings, models.RESNET, repository, file, ["--device", "cuda"], [], BATCHES, WAYS, Gpu())


def tensorrt(context: Context, findings: Findings) -> None:
    """With the plan of an earlier step, of ResNet-50 if there is one."""
    machine.Driver()
    for model in (models.RESNET, models.MNIST):
        if plan := check_plans.made(context, model):
            repository = check_plans.repository(context, model, plan.file)
            arguments = ["--device", "tensorrt", "--tensorrt-library", str(plan.library)]
            arguments += ["--version-compatible"] if plan.version_compatible else []
            batches = [b for b in BATCHES if b <= model.max_batch]
            return _measure(context, findings, model, repository, plan.file, arguments, plan.flags(), batches, WAYS, Gpu())
    raise NotRun("no plan was made in this run")


def cpu(context: Context, findings: Findings) -> None:
    """mnist_mlp on the CPU: shows that the measurement works where there is no GPU."""
    file = launch.arrived(models.onnx_file(context.bundle, models.MNIST), "programs")
    threads = '\nparameters { key: "intra_op_thread_count" value { string_value: "1" } }\n'
    repository = models.repository(context.bundle, context.work / "throughput", {"mnist_mlp": (models.MNIST, CPU + threads)})
    ways = [way for way in WAYS if way.memory != "cuda"]
    _measure(context, findings, models.MNIST, repository, file, ["--device", "cpu", "--threads", "1"], [], [1, 8], ways, None)


def _measure(
    context: Context,
    findings: Findings,
    model: Model,
    repository: pathlib.Path,
    file: pathlib.Path,
    bare_arguments: list[str],
    flags: list[str],
    batches: list[int],
    ways: list[Way],
    gpu: Gpu | None,
) -> None:
    _without_batcher(repository / model.name / "config.pbtxt")
    seconds = 0.1 if context.quick else 0.8
    with launch.served(context, f"throughput-{model.name}", repository, "--allow-client-shm=true", *flags) as server:
        for rows in batches:
            bare = Bare(context, model, file, bare_arguments, rows)
            try:
                with _prepared(server, model, bare.facts, ways, gpu, rows) as commands:
                    _rounds(context, findings, model, rows, bare, commands, seconds)
            finally:
                bare.close()


def _without_batcher(config: pathlib.Path) -> None:
    config.write_text(re.sub(r"dynamic_batching \{[^{}]*(\[[^\]]*\])?[^{}]*\}", "", config.read_text()))


@contextlib.contextmanager
def _prepared(server: Server, model: Model, facts: dict, ways: list[Way], gpu: Gpu | None, rows: int) -> Iterator[dict[Way, list[str]]]:
    """The arguments of the load generator for each way, while the regions that they name exist."""
    sizes = {"in": 4 * model.elements() * rows, "out": 4 * model.classes * rows}
    common = ["load", "--http", f"127.0.0.1:{server.http}", "--grpc", f"127.0.0.1:{server.grpc}", "--pid", str(server.pid)]
    common += ["--facts", json.dumps({**facts, "name": model.name}), "--batch", str(rows)]
    commands = {}
    with contextlib.ExitStack() as stack:
        for way in ways:
            commands[way] = [*common, "--transport", way.transport, "--in-flight", str(way.in_flight)]
            if way.memory:
                named = {f"{way.memory}_{name}": size for name, size in sizes.items()}
                source, _ = stack.enter_context(regions(server, way.memory, gpu if way.memory == "cuda" else None, named))
                source.write(models.noise(model.elements() * rows).tobytes())
                commands[way] += ["--regions", ",".join(named)]
        yield commands


def _rounds(context: Context, findings: Findings, model: Model, rows: int, bare: Bare, commands: dict[Way, list[str]], seconds: float) -> None:
    """Bare loop and every way in turn; the median of two rounds is their mean."""
    bares, loads = [], {way: [] for way in commands}
    bare.run(seconds / 4)
    for _ in range(ROUNDS):
        bares.append(bare.run(seconds))
        for way, arguments in commands.items():
            loads[way].append(_load(context, [*arguments, "--seconds", str(seconds)]))
    runs_per_s = sum(b["runs"] for b in bares) / sum(b["elapsed_us"] for b in bares) * 1e6
    findings.add(f"{model.name}, batch {rows}, bare loop", SEEN, f"{runs_per_s * rows:.1f} rows/s, {1e3 / runs_per_s:.3f} ms a run", rows_per_s=runs_per_s * rows, batch=rows)
    for way, results in loads.items():
        per_s = sum(r["requests_per_s"] for r in results) / len(results)
        p50, p99 = (sum(r[q] for r in results) / len(results) / 1e3 for q in ("p50_us", "p99_us"))
        ratio = per_s / runs_per_s
        seen = f"{per_s * rows:.1f} rows/s = {ratio:.3f} of bare; p50 {p50:.3f} ms, p99 {p99:.3f} ms"
        numbers = {"rows_per_s": per_s * rows, "ratio": ratio, "p50_ms": p50, "p99_ms": p99, "batch": rows, "in_flight": way.in_flight}
        findings.add(f"{model.name}, batch {rows}, {way.title()}", SEEN, seen, **numbers)


def _load(context: Context, arguments: list[str]) -> dict[str, float]:
    answer = subprocess.run([str(launch.bench(context)), *arguments], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise Failed(f"the load generator failed: {answer.stderr.strip()[-300:]}")
    return json.loads(answer.stdout)
