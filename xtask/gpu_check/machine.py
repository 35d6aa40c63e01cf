"""What this machine has: the driver, its GPUs, and where the libraries are that CUDA programs want. Loads no more than the
driver's own libraries, and changes nothing."""

import ctypes
import functools
import glob
import os
import pathlib
import platform
import re
import shutil
import site
import subprocess
import sys

from outcome import NotRun

# What ONNX Runtime's CUDA provider of the pinned build links to; cuDNN is loaded by it at run time.
CUDA_PROVIDER_NEEDS = ["libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10", "libcudnn.so.9"]
# What cuDNN compiles kernels with.
CUDA_PROVIDER_LIKES = ["libnvrtc.so.13"]

# Where packages of CUDA put their libraries, below a site-packages folder.
PACKAGED = ["nvidia/*/lib", "torch/lib", "tensorrt_libs", "tensorrt_lean_libs", "tensorrt_rtx_libs"]
USUAL = [
    "/usr/local/cuda*/lib64",
    "/usr/local/cuda*/targets/*/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/local/lib",
    "/opt/tensorrt*/lib",
    "/usr/local/tensorrt*/lib",
]


@functools.cache
def folders() -> list[str]:
    """Every folder that may hold a library, those that the user named first."""
    named = [f for f in os.environ.get("LD_LIBRARY_PATH", "").split(":") if f]
    packages = [*sys.path, *site.getsitepackages(), site.getusersitepackages()]
    for python in {shutil.which("python3"), shutil.which("python")} - {None}:
        packages += glob.glob(f"{pathlib.Path(python).parent.parent}/lib/python3*/site-packages")
    packages += glob.glob("/usr/local/lib/python3*/dist-packages") + glob.glob("/opt/*/.venv/lib/python3*/site-packages")
    packaged = [found for package in packages for pattern in PACKAGED for found in sorted(glob.glob(f"{package}/{pattern}"))]
    usual = [found for pattern in USUAL for found in sorted(glob.glob(pattern), reverse=True)]
    return list(dict.fromkeys(f for f in named + packaged + usual if os.path.isdir(f)))


@functools.cache
def _known_to_the_loader() -> dict[str, str]:
    """What the system's loader finds by itself."""
    try:
        listing = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return {}
    return {m[1]: m[2] for m in re.finditer(r"^\s*(\S+) \(.*\) => (\S+)$", listing, re.MULTILINE)}


def find(library: str) -> pathlib.Path | None:
    """The file of `library`, a name such as `libcudart.so.13`."""
    for folder in folders():
        if os.path.isfile(f"{folder}/{library}"):
            return pathlib.Path(folder, library)
    known = _known_to_the_loader().get(library)
    return pathlib.Path(known) if known else None


def search_path(libraries: list[str]) -> str:
    """A value for LD_LIBRARY_PATH with which all of `libraries` that are here are found."""
    found = [str(path.parent) for path in map(find, libraries) if path]
    given = [f for f in os.environ.get("LD_LIBRARY_PATH", "").split(":") if f]
    return ":".join(dict.fromkeys(given + found))


class Driver:
    """The CUDA driver, loaded and initialised.

    Raises `NotRun` with the reason if there is none or it has no GPU."""

    def __init__(self) -> None:
        path = find("libcuda.so.1")
        try:
            self.library = ctypes.CDLL(str(path or "libcuda.so.1"))
        except OSError:
            raise NotRun("no CUDA driver: libcuda.so.1 is not found") from None
        code = self.library.cuInit(0)
        if code != 0:
            raise NotRun(f"no CUDA driver that works: cuInit gives {code}")
        count = ctypes.c_int()
        if self.library.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
            raise NotRun("the CUDA driver sees no GPU")
        self.count = count.value

    def version(self) -> str:
        number = ctypes.c_int()
        self.library.cuDriverGetVersion(ctypes.byref(number))
        return f"{number.value // 1000}.{number.value % 1000 // 10}"

    def name(self, ordinal: int = 0) -> str:
        device, text = ctypes.c_int(), ctypes.create_string_buffer(128)
        self.library.cuDeviceGet(ctypes.byref(device), ordinal)
        self.library.cuDeviceGetName(text, len(text), device)
        return text.value.decode()

    def compute_capability(self, ordinal: int = 0) -> str:
        device, numbers = ctypes.c_int(), []
        self.library.cuDeviceGet(ctypes.byref(device), ordinal)
        for attribute in (75, 76):  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
            number = ctypes.c_int()
            self.library.cuDeviceGetAttribute(ctypes.byref(number), attribute, device)
            numbers.append(number.value)
        return f"{numbers[0]}.{numbers[1]}"


def needs(libraries: list[str], what: str) -> None:
    """Raises `NotRun` if any of `libraries` is not here."""
    missing = [library for library in libraries if find(library) is None]
    if missing:
        raise NotRun(f"{what} needs {', '.join(missing)}, not found here")


def tensorrt() -> pathlib.Path | None:
    """A full TensorRT of this machine, with the ONNX parser that belongs to it."""
    for major in (11, 10):
        library, parser = find(f"libnvinfer.so.{major}"), find(f"libnvonnxparser.so.{major}")
        if library and parser:
            return library
    return None


def describe() -> list[tuple[str, str]]:
    """What to say about this machine, as pairs of a name and a value."""
    facts = [("machine", f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}")]
    try:
        driver = Driver()
        gpus = ", ".join(f"{driver.name(i)} (compute capability {driver.compute_capability(i)})" for i in range(driver.count))
        facts += [("GPU", gpus), ("CUDA of the driver", driver.version())]
    except NotRun as reason:
        facts.append(("GPU", f"none: {reason}"))
    if smi := nvidia_smi("name,driver_version,memory.total"):
        facts.append(("nvidia-smi", "; ".join(", ".join(gpu) for gpu in smi)))
    for library in [*CUDA_PROVIDER_NEEDS, "libnvinfer.so.11", "libnvinfer.so.10"]:
        facts.append((library, str(find(library) or "not found")))
    return facts


def device_name() -> str:
    """For the table: the first GPU and the driver, or the processor."""
    try:
        name = Driver().name()
    except NotRun:
        return f"no GPU ({os.cpu_count()} CPU cores)"
    smi = nvidia_smi("driver_version")
    return f"{name}, driver {smi[0][0]}" if smi else name


def nvidia_smi(query: str) -> list[list[str]]:
    """The answers of nvidia-smi, one list per GPU; none if there is no nvidia-smi or no GPU."""
    program = shutil.which("nvidia-smi") or next((p for p in ["/usr/local/nvidia/bin/nvidia-smi"] if os.path.isfile(p)), None)
    if not program:
        return []
    command = [program, f"--query-gpu={query}", "--format=csv,noheader,nounits"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return [[v.strip() for v in line.split(",")] for line in answer.stdout.splitlines() if line] if answer.returncode == 0 else []
