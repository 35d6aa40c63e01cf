"""Tensors in shared memory, of the system and of CUDA: the same answers as in messages."""

import base64
import contextlib
import mmap
import os
from array import array
from collections.abc import Iterator

import launch
import machine
import models
from check_answers import CPU, GPU
from cuda import Gpu
from outcome import Findings
from runner import Context
from server import Region, Server

ROWS = 8


class SystemMemory:
    """A region in /dev/shm that the server knows."""

    def __init__(self, server: Server, name: str, size: int) -> None:
        self.region, self.path = Region(name, size), f"/dev/shm/nereid_{os.getpid()}_{name}"
        with open(self.path, "wb+") as file:
            file.truncate(size)
            self.map = mmap.mmap(file.fileno(), size)
        body = {"key": os.path.basename(self.path), "offset": 0, "byte_size": size}
        server.post(f"/v2/systemsharedmemory/region/{name}/register", body)

    def write(self, data: bytes) -> None:
        self.map[: len(data)] = data

    def read(self) -> bytes:
        return bytes(self.map)

    def close(self) -> None:
        self.map.close()
        os.unlink(self.path)


class CudaMemory:
    """An allocation on the first GPU that the server knows."""

    def __init__(self, server: Server, gpu: Gpu, name: str, size: int) -> None:
        self.gpu, self.region, self.address = gpu, Region(name, size), gpu.allocate(size)
        handle = base64.b64encode(gpu.ipc_handle(self.address)).decode()
        body = {"raw_handle": {"b64": handle}, "device_id": 0, "byte_size": size}
        server.post(f"/v2/cudasharedmemory/region/{name}/register", body)

    def write(self, data: bytes) -> None:
        self.gpu.write(self.address, data)

    def read(self) -> bytes:
        return self.gpu.read(self.address, self.region.bytes)

    def close(self) -> None:
        self.gpu.free(self.address)


@contextlib.contextmanager
def regions(server: Server, kind: str, gpu: Gpu | None, sizes: dict[str, int]) -> Iterator[list[SystemMemory | CudaMemory]]:
    """Regions of `kind`, `system` or `cuda`, registered while the block runs."""
    made: list[SystemMemory | CudaMemory] = []
    try:
        for name, size in sizes.items():
            made.append(CudaMemory(server, gpu, name, size) if gpu else SystemMemory(server, name, size))
        yield made
        server.post(f"/v2/{kind}sharedmemory/unregister")
    finally:
        for memory in made:
            memory.close()


def system(context: Context, findings: Findings) -> None:
    _compare(context, findings, "system", None, CPU)


def cuda(context: Context, findings: Findings) -> None:
    """With the CUDA provider where it runs, and with instances on the CPU, for which the server copies."""
    gpu = Gpu()
    _compare(context, findings, "cuda", gpu, CPU)
    machine.needs(machine.CUDA_PROVIDER_NEEDS, "ONNX Runtime's CUDA provider")
    _compare(context, findings, "cuda", gpu, GPU)


def _compare(context: Context, findings: Findings, kind: str, gpu: Gpu | None, group: str) -> None:
    repository = models.repository(context.bundle, context.work / "shm", {"mnist_mlp": (models.MNIST, group)})
    with launch.served(context, f"shm-{kind}", repository, "--allow-client-shm=true") as server:
        tensor = models.batch(context.bundle, models.MNIST, ROWS)
        plain = server.infer("mnist_mlp", tensor, "output")
        data = tensor.values.tobytes()
        with regions(server, kind, gpu, {"in": len(data), "out": 4 * len(plain)}) as (source, target):
            source.write(data)
            server.infer("mnist_mlp", tensor, "output", (source.region, target.region))
            worst = models.difference(array("f", target.read()), plain)
        what = f"input and output in {kind} memory, {group.split()[4]}"
        findings.check(what, worst <= 1e-5, f"largest difference from a plain request {worst:.1e}", difference=worst)
