"""Plans that cannot be loaded, without a driver as well as with each TensorRT that is here: a clear error, a server that
lives, and other models that serve on."""

import pathlib

import launch
import machine
import models
from check_answers import CPU
from outcome import Findings, NotRun
from runner import Context
from server import Refused

CONFIG = """\
platform: "tensorrt_plan"
max_batch_size: 4
input [ { name: "input" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "output" data_type: TYPE_FP32 dims: [ 4 ] } ]
"""


def bad_plans(context: Context) -> dict[str, bytes]:
    onnx = models.onnx_file(context.bundle, models.MNIST).read_bytes()
    return {"empty": b"", "garbage": bytes(range(256)) * 64, "ftrt": b"ftrt" + bytes(4096), "onnx": onnx}


def libraries(context: Context) -> dict[str, pathlib.Path]:
    """The TensorRT libraries to try, by what to call them."""
    lean = {f"lean {major}": context.bundle / "lib" / "tensorrt-lean" / f"libnvinfer_lean.so.{major}" for major in (10, 11)}
    rtx = {"RTX": context.bundle / "lib" / "tensorrt-rtx" / "libtensorrt_rtx.so.1"}
    full = machine.tensorrt()
    return {name: path for name, path in {**lean, **rtx, **({"full": full} if full else {})}.items() if path.exists()}


def run(context: Context, findings: Findings) -> None:
    launch.arrived(models.onnx_file(context.bundle, models.MNIST), "programs")
    repository = models.repository(context.bundle, context.work / "errors", {"mnist_mlp": (models.MNIST, CPU)})
    for name, plan in bad_plans(context).items():
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "config.pbtxt").write_text(CONFIG)
        (repository / name / "1" / "model.plan").write_bytes(plan)
    try:
        machine.Driver()
        missing = None
    except NotRun as reason:
        missing = reason
        findings.add("TensorRT 10 and 11 from this driver on", "not run", str(reason))
    # Without a driver no library is loaded, and one is as good as all.
    found = {} if missing else libraries(context)
    for name, path in (found or {"none": None}).items():
        flags = [f"--backend-config=tensorrt,lib={path}"] if path else []
        _refused(context, findings, name, repository, [*flags, "--model-control-mode=explicit", "--load-model=mnist_mlp"])
    if not found and not missing:
        findings.add("TensorRT libraries", "not run", "the item 'tensorrt-lean' of the bundle is not here, and no TensorRT is installed")


def _refused(context: Context, findings: Findings, library: str, repository: pathlib.Path, flags: list[str]) -> None:
    with launch.served(context, f"errors-{library.replace(' ', '-')}", repository, *flags) as server:
        tensor = models.batch(context.bundle, models.MNIST, 8)
        for name in bad_plans(context):
            try:
                server.load(name)
                message = ""
            except Refused as error:
                message = str(error)
            right = models.recognised(server.infer("mnist_mlp", tensor, "output"))
            seen = f"{message or 'it was loaded'} [afterwards {right} of 8 digits right]"
            findings.check(f"{name} plan, library {library}", bool(message) and right == 8, seen, message=message)
