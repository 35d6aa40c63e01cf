"""Memory of the GPU after many loads and unloads, and after loads that failed: what was taken comes back."""

import contextlib

import check_plans
import launch
import machine
import models
from check_answers import CPU, GPU
from check_errors import CONFIG, libraries
from cuda import Management
from outcome import Findings
from runner import Context
from server import Refused, Server

WARM = 5  # loads after which what a process takes once has been taken
LIMIT = 32 << 20


def resident(server: Server) -> int:
    with open(f"/proc/{server.pid}/status") as status:
        return 1024 * int(next(line for line in status if line.startswith("VmRSS:")).split()[1])


def run(context: Context, findings: Findings) -> None:
    launch.arrived(models.onnx_file(context.bundle, models.MNIST), "programs")
    changes = {"cpu": (models.MNIST, CPU), "gpu": (models.MNIST, GPU)}
    repository = models.repository(context.bundle, context.work / "memory", changes)
    (repository / "broken" / "1").mkdir(parents=True)
    (repository / "broken" / "config.pbtxt").write_text(CONFIG)
    (repository / "broken" / "1" / "model.plan").write_bytes(b"ftrt" + bytes(range(256)) * 4096)
    plan = check_plans.made(context, models.MNIST)
    if plan:
        check_plans.add(context, repository, "plan", models.MNIST, plan.file)
    library = next(iter(libraries(context).values()), None)
    flags = plan.flags() if plan else [f"--backend-config=tensorrt,lib={library}"] if library else []
    loads = 20 if context.quick else 100
    with launch.served(context, "memory", repository, "--model-control-mode=explicit", *flags) as server:
        _grows(findings, server, "cpu", loads, "process", lambda: resident(server))
        machine.Driver()
        management = Management()
        _grows(findings, server, "broken", loads, "GPU", management.used)
        if plan:
            _grows(findings, server, "plan", loads, "GPU", management.used)
        machine.needs(machine.CUDA_PROVIDER_NEEDS, "ONNX Runtime's CUDA provider")
        _grows(findings, server, "gpu", loads, "GPU", management.used)


def _grows(findings: Findings, server: Server, model: str, loads: int, whose: str, measure: object) -> None:
    """Loads and unloads `model`, which may be one that is refused, and looks at the memory before and after."""
    for number in range(loads):
        if number == WARM:
            before = measure()
        with contextlib.suppress(Refused):
            server.load(model)
            server.unload(model)
    after = measure()
    grown = after - before
    seen = f"{before / 1e6:.0f} MB after {WARM}, {after / 1e6:.0f} MB after {loads}: {grown / 1e6:+.1f} MB, at most {LIMIT / 1e6:.0f}"
    findings.check(f"memory of the {whose}, '{model}' loaded {loads} times", grown <= LIMIT, seen, before=before, after=after)
