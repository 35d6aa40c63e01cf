"""The script that checks GPU machines, where there is none: packing, unpacking, and a run whose GPU steps say why they were
not made. On a machine with a GPU the last one checks the GPU."""

import ast
import importlib
import json
import lzma
import os
import pathlib
import subprocess
import sys
import tarfile
from array import array

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import digits
import models
from nereid_process import binary

SOURCES = models.ROOT / "xtask/gpu_check"
PROGRAMS = {"models/mnist_mlp": "model_repository/mnist_mlp", "samples/digits": "samples/digits"}


def module(name: str):
    """A file of the script; its names are its own, so that they are not those of the tests."""
    here, mine = sys.path.copy(), {n: sys.modules.pop(n) for n in ("models",) if n in sys.modules}
    sys.path.insert(0, str(SOURCES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path[:] = here
        sys.modules.update(mine)


bundle = module("bundle")


def silent(_: str) -> None:
    pass


@pytest.fixture
def sources(tmp_path: pathlib.Path) -> dict[str, dict[str, str]]:
    """Two items, the larger one of several parts."""
    (tmp_path / "large").write_bytes(np.random.default_rng(1).bytes(5000))
    (tmp_path / "small").write_text("#!/bin/sh\n")
    (tmp_path / "small").chmod(0o755)
    return {"large": {"lib/large.so": str(tmp_path / "large")}, "small": {"bin/small": str(tmp_path / "small"), "x": str(tmp_path / "small")}}


def test_a_bundle_arrives_as_it_was(sources: dict, tmp_path: pathlib.Path) -> None:
    items = bundle.pack(sources, tmp_path / "out", 2000, silent)
    assert [len(item.parts) for item in items] == [3, 1]
    assert all(part.bytes <= 2000 for item in items for part in item.parts)
    unpacked = bundle.unpack(tmp_path / "out", tmp_path / "in", silent)
    assert (unpacked.items, unpacked.missing) == (["large", "small"], [])
    assert (tmp_path / "in/lib/large.so").read_bytes() == (tmp_path / "large").read_bytes()
    assert os.access(tmp_path / "in/bin/small", os.X_OK) and not os.access(tmp_path / "in/lib/large.so", os.X_OK)


def test_parts_may_come_one_by_one(sources: dict, tmp_path: pathlib.Path) -> None:
    """Each is gone when the next one comes."""
    bundle.pack(sources, tmp_path / "out", 2000, silent)
    missing = {"large.01.part", "large.02.part", "large.03.part", "small.01.part"}
    for name in ["large.02.part", "small.01.part", "large.03.part", "large.01.part"]:
        door = tmp_path / f"door-{name}"
        door.mkdir()
        for file in ("manifest.json", name):
            (door / file).write_bytes((tmp_path / "out" / file).read_bytes())
        missing.discard(name)
        unpacked = bundle.unpack(door, tmp_path / "in", silent)
        assert set(unpacked.missing) == missing, name
    assert unpacked.items == ["large", "small"]
    assert (tmp_path / "in/lib/large.so").read_bytes() == (tmp_path / "large").read_bytes()


def test_a_damaged_part_does_not_count(sources: dict, tmp_path: pathlib.Path) -> None:
    bundle.pack(sources, tmp_path / "out", 2000, silent)
    damaged = tmp_path / "out/large.02.part"
    damaged.write_bytes(bytes(len(damaged.read_bytes())))
    unpacked = bundle.unpack(tmp_path / "out", tmp_path / "in", silent)
    assert (unpacked.items, unpacked.missing) == (["small"], ["large.02.part"])
    bundle.pack(sources, tmp_path / "out", 2000, silent)  # makes it again
    assert bundle.unpack(tmp_path / "out", tmp_path / "in", silent).missing == []


def test_a_part_writes_nothing_but_what_the_manifest_names(sources: dict, tmp_path: pathlib.Path) -> None:
    items = {item.name: item for item in bundle.pack(sources, tmp_path / "out", 1 << 20, silent)}
    part = tmp_path / "out" / items["small"].parts[0].name
    with lzma.open(part, "wb") as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
        info = tarfile.TarInfo("../escaped")
        tar.addfile(info)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    manifest["items"][1]["parts"][0] |= {"bytes": part.stat().st_size, "sha256": bundle.sha256_of(part)}
    (tmp_path / "out/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(bundle.BundleError, match="small holds '../escaped'"):
        bundle.unpack(tmp_path / "out", tmp_path / "in", silent)
    assert not (tmp_path / "escaped").exists()


class NumpyNetwork:
    """What TensorRT's layers compute, in numpy, for any number of rows."""

    def conv(self, x, maps, kernel, weights, bias, stride, padding):
        windows = self._windows(x, kernel, stride, padding, 0)
        filters = np.array(weights).reshape(maps, x.shape[1], *kernel)
        return np.einsum("ncyxhw,mchw->nmyx", windows, filters) + np.array(bias)[:, None, None]

    def relu(self, x):
        return np.maximum(x, 0)

    def pool(self, x, kind, window, stride, padding):
        windows = self._windows(x, window, stride, padding, -np.inf if kind == "max" else 0)
        return windows.max((4, 5)) if kind == "max" else windows.mean((4, 5))

    def add(self, x, y):
        return x + y

    def reshape(self, x, dims):
        return x.reshape([size or x.shape[i] for i, size in enumerate(dims)])

    @staticmethod
    def _windows(x, size, stride, padding, filling):
        (up, left) = padding
        x = np.pad(x, ((0, 0), (0, 0), (up, up), (left, left)), constant_values=filling)
        return np.lib.stride_tricks.sliding_window_view(x, size, (2, 3))[:, :, :: stride[0], :: stride[1]]


def converted(path: pathlib.Path, x: np.ndarray) -> np.ndarray:
    graph = module("onnx_file").read(path)
    return module("onnx_convert").convert(graph, NumpyNetwork(), x, x.shape[1:])


def test_the_perceptron_as_convolutions(expected: np.ndarray) -> None:
    got = converted(models.ROOT / "model_repository/mnist_mlp/1/model.onnx", digits.images())
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_every_layer_of_resnet(tmp_path: pathlib.Path) -> None:
    """The nodes of ResNet-50, in small and with sizes that tell height from width."""
    random = np.random.default_rng(2)
    shapes = {"w1": (4, 3, 7, 7), "b1": (4,), "w2": (4, 4, 3, 3), "b2": (4,), "w3": (5, 4), "b3": (5,)}
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Conv", ["input", "w1", "b1"], ["c1"], kernel_shape=[7, 7], strides=[2, 2], pads=[3] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4),
        helper.make_node("Add", ["c2", "p1"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["average"]),
        helper.make_node("Flatten", ["average"], ["features"], axis=1),
        helper.make_node("Gemm", ["features", "w3", "b3"], ["output"], transB=1),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("input", ["N", 3, 20, 28]), ("output", ["N", 5]))]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], [numpy_helper.from_array(w, n) for n, w in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    onnx.save(model, tmp_path / "model.onnx")
    x = random.standard_normal((2, 3, 20, 28)).astype(np.float32)
    wanted = ReferenceEvaluator(model).run(None, {"input": x})[0]
    np.testing.assert_allclose(converted(tmp_path / "model.onnx", x), wanted, rtol=1e-4, atol=1e-4)


def test_a_step_that_hangs_or_crashes_costs_its_own_rows(tmp_path: pathlib.Path) -> None:
    runner, outcome = module("runner"), module("outcome")
    program = tmp_path / "program.py"
    program.write_text(
        "import json, os, pathlib, signal, sys, time\n"
        f"sys.path.insert(0, {str(SOURCES)!r})\n"
        "import outcome\n"
        "name, work = sys.argv[2], pathlib.Path(json.loads(sys.argv[4])['work'])\n"
        "outcome.Findings(work / 'rows' / f'{name}.jsonl', name).add('first', 'pass', 'one')\n"
        "name == 'hangs' and time.sleep(600)\n"
        "name == 'crashes' and os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    steps = [runner.Step(name, limit, None) for name, limit in (("hangs", 1), ("crashes", 60), ("ends", 60))]
    context = runner.Context(tmp_path, tmp_path / "work", True)
    rows = runner.run_all(steps, context, [sys.executable, str(program)], 300)
    assert [(r.step, r.status) for r in rows] == [("hangs", "pass"), ("hangs", "fail"), ("crashes", "pass"), ("crashes", "fail"), ("ends", "pass")]
    assert "did not end within 1 s" in rows[1].seen and "SIGSEGV" in rows[3].seen
    late = runner.run_all(steps, context, [sys.executable, str(program)], 0)
    assert {r.status for r in late} == {"not run"} and outcome.summary(late) == "0 pass, 0 fail, 3 not run"


class Machine:
    """A machine to check, in a folder: the models are packed and unpacked, the programs, large as they are in a debug build,
    are linked."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder, self.bundle, self.environment = folder, folder / "work/bundle", dict(os.environ)
        files = {f"{to}/{p.relative_to(models.ROOT / source)}": str(p) for to, source in PROGRAMS.items() for p in (models.ROOT / source).rglob("*") if p.is_file()}
        packer = subprocess.run([sys.executable, str(SOURCES / "pack.py"), str(folder / "out")], input=json.dumps({"programs": files}), text=True, check=False)
        assert packer.returncode == 0
        for name, path in (("nereid", pathlib.Path(binary())), ("bench", pathlib.Path(binary()).with_name("bench"))):
            self.link(f"bin/{name}", path)

    def link(self, name: str, path: pathlib.Path) -> None:
        """Puts `path` into the bundle, if it is there."""
        (self.bundle / name).parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            (self.bundle / name).symlink_to(path)

    def check(self, *flags: str) -> dict:
        """The numbers of a run in which nothing failed."""
        command = [sys.executable, str(self.folder / "out/gpu-check.pyz"), "--work", str(self.folder / "work"), "--quick"]
        command += ["--json", str(self.folder / "numbers"), "--markdown", str(self.folder / "table"), *flags]
        run = subprocess.run(command, capture_output=True, text=True, check=False, env=self.environment)
        print(run.stdout)
        assert run.returncode == 0, run.stdout
        report = json.loads((self.folder / "numbers").read_text())
        assert len((self.folder / "table").read_text().splitlines()) == len(report["rows"]) + 2
        return report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return Machine(tmp_path_factory.mktemp("gpu_check")).check()


def test_what_needs_no_gpu_is_checked(report: dict) -> None:
    passed = {row["step"] for row in report["rows"] if row["status"] == "pass"}
    assert {"cpu answers", "shared memory", "load errors", "metrics", "memory"} <= passed
    assert not [row for row in report["rows"] if row["status"] == "fail"]


def test_the_server_is_measured_beside_a_bare_loop(report: dict) -> None:
    """Where the bench is built, as it is after the Rust tests."""
    rows = [row for row in report["rows"] if row["step"] == "throughput cpu"]
    if rows[0]["status"] == "not run":
        pytest.skip(rows[0]["seen"])
    assert len(rows) == 2 * 5 and all(row["numbers"]["rows_per_s"] > 0 for row in rows)
    assert {row["numbers"]["ratio"] > 0 for row in rows if "ratio" in row["numbers"]} == {True}


def test_old_pythons_read_the_script() -> None:
    for file in SOURCES.glob("*.py"):
        ast.parse(file.read_text(), str(file), feature_version=(3, 10))


def test_what_needs_a_gpu_says_so(report: dict) -> None:
    if not report["device"].startswith("no GPU"):
        pytest.skip("there is a GPU")
    steps = ["cuda answers", "cuda shared memory", "plan by TensorRT", "plan by TensorRT 8", "throughput cuda", "throughput tensorrt"]
    for step in steps:
        assert [(r["status"], r["seen"]) for r in report["rows"] if r["step"] == step] == [("not run", "no CUDA driver: libcuda.so.1 is not found")]


STAND_INS = pathlib.Path(binary()).with_name("examples")
PLAN = """\
FAKEPLAN
name mnist_mlp
op identity
in input 0 -1x1x28x28 1x1x28x28 4x1x28x28 8x1x28x28
out output 0 -1x10
end
"""


def offers(stand_in: str, symbol: str) -> bool:
    """Whether that library is built, as it is after the Rust tests, and has what is called here."""
    library = STAND_INS / f"libfake_{stand_in}.so"
    return library.exists() and symbol.encode() in library.read_bytes()


@pytest.mark.skipif(not (offers("cuda", "cuInit") and offers("nvml", "nvmlInit_v2")), reason="the stand-ins are not built")
def test_the_script_on_stand_ins(tmp_path: pathlib.Path) -> None:
    """Libraries that stand in for those of NVIDIA show that the script itself works; of a GPU they show nothing."""
    machine, libraries = Machine(tmp_path), tmp_path / "libraries"
    libraries.mkdir()
    for name, stand_in in (("libcuda.so.1", "cuda"), ("libnvidia-ml.so.1", "nvml")):
        (libraries / name).symlink_to(STAND_INS / f"libfake_{stand_in}.so")
    gpu = "uuid=GPU-00000000-0000-0000-0000-000000000000 name=Fake_GPU pci=00000000:00:00.0 mig=off utilization=37"
    (libraries / "fake_nvml.conf").write_text(f"gpu {gpu} total=1073741824 used=400000000 power=123456 limit=700000 energy=1000000\n")
    for major in (10, 11):
        machine.link(f"lib/tensorrt-lean/libnvinfer_lean.so.{major}", STAND_INS / f"libfake_nvinfer_{major}.so")
    machine.environment |= {"LD_LIBRARY_PATH": str(libraries), "PATH": "/usr/bin:/bin"}
    plans, lean = tmp_path / "work/steps/plans", machine.bundle / "lib/tensorrt-lean/libnvinfer_lean.so.10"
    plans.mkdir(parents=True)
    (plans / "mnist_mlp.plan").write_text(PLAN)
    record = {"file": str(plans / "mnist_mlp.plan"), "library": str(lean), "version_compatible": True}
    (plans / "mnist_mlp.json").write_text(json.dumps(record))

    rows = machine.check("--only", "cuda shared memory,load errors,metrics,memory,throughput tensorrt")["rows"]
    passed = [(row["step"], row["what"]) for row in rows if row["status"] == "pass"]
    assert ("cuda shared memory", "input and output in cuda memory, KIND_CPU") in passed
    assert {what for step, what in passed if step == "load errors"} == {f"{plan} plan, library lean {major}" for plan in ("empty", "garbage", "ftrt", "onnx") for major in (10, 11)}
    assert {"nv_gpu_memory_used_bytes", "nv_gpu_power_usage", "nv_gpu_utilization"} <= {what for step, what in passed if step == "metrics"}
    assert len([what for step, what in passed if step == "memory"]) == 3
    measured = [row["what"] for row in rows if row["step"] == "throughput tensorrt" and row["status"] == "seen"]
    assert "mnist_mlp, batch 8, bare loop" in measured and "mnist_mlp, batch 8, HTTP, cuda shared memory, 4 in flight" in measured


def test_differences_are_relative_to_the_largest_value() -> None:
    compare = module("models")
    assert compare.difference(array("f", [1, 2.5]), array("f", [1, 2])) == pytest.approx(0.25)
    assert compare.difference(array("f", [1, float("nan")]), array("f", [1, 1])) == float("inf")
