"""Starts what the bundle brought: the server and the bench program, with the libraries of the bundle and of this machine."""

import contextlib
import os
import pathlib

import machine
from outcome import NotRun
from runner import Context
from server import Server, serving


def arrived(path: pathlib.Path, item: str) -> pathlib.Path:
    """`path`, or `NotRun` if the item that has it has not arrived."""
    if not path.exists():
        raise NotRun(f"the item '{item}' of the bundle is not here ({path.name})")
    return path


def environment(context: Context) -> dict[str, str]:
    """Variables with which the programs find ONNX Runtime, CUDA and TensorRT. A set ORT_DYLIB_PATH wins."""
    wanted = [*machine.CUDA_PROVIDER_NEEDS, *machine.CUDA_PROVIDER_LIKES, "libcuda.so.1", "libnvidia-ml.so.1", "libnvinfer.so.10", "libnvinfer.so.11"]
    variables = {"LD_LIBRARY_PATH": machine.search_path(wanted)}
    if not os.environ.get("ORT_DYLIB_PATH"):
        folder = arrived(context.bundle / "lib" / "onnxruntime", "onnxruntime")
        variables["ORT_DYLIB_PATH"] = str(next(folder.glob("libonnxruntime.so.*")))
    return variables


def served(context: Context, name: str, repository: pathlib.Path, *flags: str) -> contextlib.AbstractContextManager[Server]:
    """A ready server on `repository`; its log is `name`.log."""
    program = arrived(context.bundle / "bin" / "nereid", "programs")
    return serving(program, repository, context.folder("logs") / f"{name}.log", list(flags), environment(context))


def bench(context: Context) -> pathlib.Path:
    return arrived(context.bundle / "bin" / "bench", "programs")
