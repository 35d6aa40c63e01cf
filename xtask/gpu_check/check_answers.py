"""Answers of ONNX models: right on the CPU, and on a GPU those of the CPU."""

import launch
import machine
import models
from models import Model
from outcome import Findings, NotRun
from runner import Context

CPU = "\ninstance_group [ { kind: KIND_CPU } ]\n"
GPU = "\ninstance_group [ { kind: KIND_GPU } ]\n"


def on_cpu(context: Context, findings: Findings) -> None:
    """mnist_mlp names the ten sample digits."""
    launch.arrived(models.onnx_file(context.bundle, models.MNIST), "programs")
    repository = models.repository(context.bundle, context.work / "cpu", {"mnist_mlp": (models.MNIST, CPU)})
    with launch.served(context, "cpu", repository) as server:
        inputs = [models.batch(context.bundle, models.MNIST, 8), models.batch(context.bundle, models.MNIST, 1)]
        first, again = (server.infer("mnist_mlp", tensor, "output") for tensor in inputs)
        right = models.recognised(first)
        findings.check("mnist_mlp, 8 digits over HTTP", right == 8, f"{right} of 8 are named right", right=right)
        worst = models.difference(first[:10], again)
        findings.check("mnist_mlp, a batch of 8 against 1", worst <= 1e-5, f"largest relative difference {worst:.1e}", difference=worst)


def on_cuda(context: Context, findings: Findings) -> None:
    """The CUDA provider against the CPU, for `KIND_GPU` and for a config that leaves the choice to the server."""
    driver = machine.Driver()
    machine.needs(machine.CUDA_PROVIDER_NEEDS, "ONNX Runtime's CUDA provider")
    present = models.present(context.bundle)
    if not present:
        raise NotRun("no model of the bundle is here")
    for model in present:
        names = {f"{model.name}_cpu": (model, CPU), f"{model.name}_gpu": (model, GPU), f"{model.name}_auto": (model, "")}
        repository = models.repository(context.bundle, context.work / "cuda", names)
        with launch.served(context, f"cuda-{model.name}", repository, "--log-verbose=1") as server:
            inputs = [models.batch(context.bundle, model, rows) for rows in ((1, 3, 8) if model is models.MNIST else (1, 4))]
            wanted = models.answers(server, f"{model.name}_cpu", model, inputs)
            for kind in ("gpu", "auto"):
                _compare(findings, model, kind, models.answers(server, f"{model.name}_{kind}", model, inputs), wanted)
            log = server.log.read_text(errors="replace")
            on_gpu = {name for name in names if f"CUDA Execution Accelerator is set for '{name}'" in log}
            right = on_gpu == set(names) - {f"{model.name}_cpu"}
            findings.check(f"{model.name}, who uses CUDA", right, f"{', '.join(sorted(on_gpu)) or 'nobody'}, of {driver.count} GPU(s)")


def _compare(findings: Findings, model: Model, kind: str, got: object, wanted: object) -> None:
    worst = models.difference(got, wanted)
    what = f"{model.name}, {'KIND_GPU' if kind == 'gpu' else 'no instance_group'}"
    seen = f"largest difference from the CPU {worst:.1e} of the largest value, at most {model.tolerance:.0e}"
    findings.check(what, worst <= model.tolerance, seen, difference=worst, tolerance=model.tolerance)
