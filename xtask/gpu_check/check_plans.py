"""TensorRT plans that can be had on this machine: built by a TensorRT that is installed, or by the TensorRT 8 of the bundle
as version-compatible engines, which the lean TensorRT 10 runs. Each is served and compared with the CPU."""

import json
import os
import pathlib
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass

import launch
import machine
import models
import tensorrt8
from check_answers import CPU
from models import MNIST, RESNET, Model
from outcome import Failed, Findings, NotRun
from runner import Context

# What a plan is optimised for: the rows at least, usually and at most.
ROWS = {MNIST: (1, 4, 8), RESNET: (1, 8, 16)}


@dataclass(frozen=True)
class Plan:
    """A plan and the library that runs it."""

    file: pathlib.Path
    library: pathlib.Path
    version_compatible: bool

    def flags(self) -> list[str]:
        flags = [f"--backend-config=tensorrt,lib={self.library}"]
        return [*flags, "--backend-config=tensorrt,version-compatible=true"] if self.version_compatible else flags


def made(context: Context, model: Model) -> Plan | None:
    """The plan of `model` that an earlier step made."""
    record = context.folder("plans") / f"{model.name}.json"
    if not record.exists():
        return None
    fields = json.loads(record.read_text())
    return Plan(pathlib.Path(fields["file"]), pathlib.Path(fields["library"]), fields["version_compatible"])


def repository(context: Context, model: Model, plan: pathlib.Path) -> pathlib.Path:
    """A model repository with `plan` under the model's name, and the ONNX model on the CPU as `…_cpu`."""
    folder = models.repository(context.bundle, context.work / "plan", {f"{model.name}_cpu": (model, CPU)})
    add(context, folder, model.name, model, plan)
    return folder


def add(context: Context, folder: pathlib.Path, name: str, model: Model, plan: pathlib.Path) -> None:
    """Adds `plan`, of `model`, to the model repository `folder` as `name`."""
    (folder / name / "1").mkdir(parents=True)
    text = (context.bundle / "models" / model.name / "config.pbtxt").read_text()
    for pattern, replacement in (("name: .*", f'name: "{name}"'), ("platform: .*", 'platform: "tensorrt_plan"')):
        text = re.sub(f"^{pattern}$", replacement, text, flags=re.MULTILINE)
    (folder / name / "config.pbtxt").write_text(re.sub(r" *label_filename:.*\n", "", text))
    shutil.copy(plan, folder / name / "1" / "model.plan")


def full(context: Context, findings: Findings) -> None:
    """`nereid trt-build` with the TensorRT that is installed here."""
    machine.Driver()
    library = machine.tensorrt()
    if library is None:
        raise NotRun("no TensorRT is installed here (libnvinfer.so.10 or 11 with its libnvonnxparser)")
    for model in models.present(context.bundle):
        plan = Plan(context.folder("plans") / f"{model.name}.plan", library, False)
        _build(context, findings, model, plan)
        _serve(context, findings, model, plan)


def rtx(context: Context, findings: Findings) -> None:
    """`nereid trt-build` with TensorRT RTX, whose builder needs no GPU. Its plans run on GPUs of workstations only."""
    library = launch.arrived(context.bundle / "lib" / "tensorrt-rtx" / "libtensorrt_rtx.so.1", "tensorrt-rtx")
    for model in models.present(context.bundle):
        _build(context, findings, model, Plan(context.folder("plans") / f"{model.name}.rtx.plan", library, False))


def _build(context: Context, findings: Findings, model: Model, plan: Plan) -> None:
    shapes = ["x".join(map(str, (rows, *model.row))) for rows in ROWS[model]]
    command = [str(launch.arrived(context.bundle / "bin" / "nereid", "programs")), "trt-build", f"--lib={plan.library}"]
    command += [f"--onnx={models.onnx_file(context.bundle, model)}", f"--saveEngine={plan.file}"]
    command += [f"--{which}Shapes=input:{shape}" for which, shape in zip(("min", "opt", "max"), shapes)]
    environment = {**os.environ, **launch.environment(context)}
    built = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    size = plan.file.stat().st_size if plan.file.exists() else 0
    if built.returncode != 0 or size == 0:
        raise Failed(f"{model.name}, trt-build ended with {built.returncode}: {(built.stderr or built.stdout)[-400:]}")
    findings.add(f"{model.name}, trt-build", "pass", f"{size / 1e6:.1f} MB", bytes=size)


def eight(context: Context, findings: Findings) -> None:
    """The builder of TensorRT 8.6, then the lean TensorRT 10."""
    machine.Driver()
    builder = launch.arrived(context.bundle / "lib" / "tensorrt-8" / "libnvinfer.so.8", "tensorrt-8")
    lean = launch.arrived(context.bundle / "lib" / "tensorrt-lean" / "libnvinfer_lean.so.10", "tensorrt-lean")
    for model in models.present(context.bundle):
        plan = Plan(context.folder("plans") / f"{model.name}.8.plan", lean, True)
        data = tensorrt8.build(builder, models.onnx_file(context.bundle, model), ROWS[model], model.row)
        plan.file.write_bytes(data)
        findings.check(f"{model.name}, built by TensorRT 8.6", len(data) > 0, f"{len(data) / 1e6:.1f} MB", bytes=len(data))
        _serve(context, findings, model, plan)


def _serve(context: Context, findings: Findings, model: Model, plan: Plan) -> None:
    rows_of_requests = [1, ROWS[model][1], ROWS[model][2]]
    with launch.served(context, f"plan-{model.name}", repository(context, model, plan.file), *plan.flags()) as server:
        inputs = [models.batch(context.bundle, model, rows) for rows in rows_of_requests]
        wanted = models.answers(server, f"{model.name}_cpu", model, inputs)
        worst = models.difference(models.answers(server, model.name, model, inputs), wanted)
    seen = f"largest difference from the CPU {worst:.1e} of the largest value, at most {model.tolerance:.0e}"
    what = f"{model.name}, the plan's answers for {', '.join(map(str, rows_of_requests))} rows"
    findings.check(what, worst <= model.tolerance, seen, difference=worst, tolerance=model.tolerance)
    if worst > model.tolerance:
        raise Failed("a plan whose answers are wrong is not measured")
    record = {**asdict(plan), "file": str(plan.file), "library": str(plan.library)}
    (context.folder("plans") / f"{model.name}.json").write_text(json.dumps(record))
