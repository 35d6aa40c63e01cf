"""GPU metrics of the metrics page against what nvidia-smi, or else NVML, says at the same time."""

import re

import launch
import machine
import models
from check_answers import CPU
from cuda import Management
from outcome import Findings, NotRun
from runner import Context

# How far both may be apart, relative to the larger; what changes from moment to moment may by more.
CLOSE = {"nv_gpu_memory_total_bytes": 0.02, "nv_gpu_power_limit": 0.01, "nv_gpu_memory_used_bytes": 0.1, "nv_gpu_power_usage": 0.5}
OTHERS = ["nv_gpu_utilization", "nv_energy_consumption"]


def run(context: Context, findings: Findings) -> None:
    launch.arrived(models.onnx_file(context.bundle, models.MNIST), "programs")
    repository = models.repository(context.bundle, context.work / "metrics", {"mnist_mlp": (models.MNIST, CPU)})
    with launch.served(context, "metrics", repository, "--metrics-interval-ms=100") as server:
        server.infer("mnist_mlp", models.batch(context.bundle, models.MNIST, 1), "output")
        page = server.metrics()
        counted = re.search(r'^nv_inference_count\{model="mnist_mlp",version="1"\} (\d+)', page, re.MULTILINE)
        findings.check("requests", counted is not None and counted[1] == "1", f"nv_inference_count is {counted and counted[1]}")
        try:
            machine.Driver()
        except NotRun as reason:
            absent = not re.search(r"^nv_gpu_", page, re.MULTILINE)
            findings.check("without a GPU, nothing of GPUs", absent, "no nv_gpu_… on the page" if absent else "there is nv_gpu_… on the page")
            raise NotRun(f"GPU metrics: {reason}") from None
        source, facts = _facts()
        _compare(findings, server.metrics(), source, facts)


def _facts() -> tuple[str, dict[str, float | str]]:
    """Who says it, and what, of the first GPU."""
    smi = machine.nvidia_smi("uuid,memory.total,memory.used,power.draw,power.limit")
    try:
        uuid, *numbers = smi[0]
        total, used, power, limit = map(float, numbers)
    except (IndexError, ValueError):  # no nvidia-smi, or one that says [N/A]
        return "NVML", Management().facts()
    names = ["nv_gpu_memory_total_bytes", "nv_gpu_memory_used_bytes", "nv_gpu_power_usage", "nv_gpu_power_limit"]
    return "nvidia-smi", {"uuid": uuid, **dict(zip(names, (total * 2**20, used * 2**20, power, limit)))}


def _compare(findings: Findings, page: str, source: str, facts: dict[str, float | str]) -> None:
    uuid = str(facts["uuid"])
    for name, limit in CLOSE.items():
        shown = _value(page, name, uuid)
        if shown is None:
            findings.add(name, "fail", f"not on the page for {uuid}")
            continue
        apart = abs(shown - facts[name]) / max(abs(shown), abs(facts[name]), 1e-9)
        findings.check(name, apart <= limit, f"{shown:g}, {source} says {facts[name]:g}", shown=shown, said=facts[name])
    for name in OTHERS:
        shown = _value(page, name, uuid)
        findings.check(name, shown is not None, "not on the page" if shown is None else f"{shown:g}")


def _value(page: str, name: str, uuid: str) -> float | None:
    found = re.search(rf'^{name}\{{gpu_uuid="{re.escape(uuid)}"\}} (\S+)', page, re.MULTILINE)
    return float(found[1]) if found else None
