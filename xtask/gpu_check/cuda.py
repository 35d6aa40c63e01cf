"""CUDA's driver API and NVML through ctypes, as far as the checks need them: memory to share, and what a GPU has in use."""

import ctypes

import machine
from outcome import Failed, NotRun

IPC_HANDLE_BYTES = 64


class Gpu(machine.Driver):
    """The first GPU, its primary context current in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self._device, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuDeviceGet", ctypes.byref(self._device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._call("cuCtxSetCurrent", context)

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self.library, name)(*arguments)
        if code != 0:
            raise Failed(f"{name} gives {code}")

    def allocate(self, size: int) -> int:
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def write(self, address: int, data: bytes) -> None:
        self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), data, ctypes.c_size_t(len(data)))

    def read(self, address: int, size: int) -> bytes:
        data = ctypes.create_string_buffer(size)
        self._call("cuMemcpyDtoH_v2", data, ctypes.c_uint64(address), ctypes.c_size_t(size))
        return data.raw

    def ipc_handle(self, address: int) -> bytes:
        """With which another process can open the allocation at `address`."""
        handle = (ctypes.c_ubyte * IPC_HANDLE_BYTES)()
        self._call("cuIpcGetMemHandle", handle, ctypes.c_uint64(address))
        return bytes(handle)


class _Memory(ctypes.Structure):
    """`nvmlMemory_v2_t`; its `used` is without what the driver reserves, as nvidia-smi shows it."""

    _fields_ = [("version", ctypes.c_uint), *((name, ctypes.c_uint64) for name in ("total", "reserved", "free", "used"))]


class Management:
    """NVML on the first GPU; `NotRun` if it is not here."""

    def __init__(self) -> None:
        path = machine.find("libnvidia-ml.so.1")
        try:
            self.library = ctypes.CDLL(str(path or "libnvidia-ml.so.1"))
        except OSError:
            raise NotRun("libnvidia-ml.so.1 (NVML) is not found") from None
        self.handle = ctypes.c_void_p()
        if self.library.nvmlInit_v2() != 0 or self.library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self.handle)) != 0:
            raise NotRun("NVML sees no GPU")

    def memory(self) -> _Memory:
        memory = _Memory(version=ctypes.sizeof(_Memory) | 2 << 24)
        code = self.library.nvmlDeviceGetMemoryInfo_v2(self.handle, ctypes.byref(memory))
        if code != 0:
            raise Failed(f"nvmlDeviceGetMemoryInfo_v2 gives {code}")
        return memory

    def used(self) -> int:
        """Bytes of the GPU's memory that are in use, by anybody."""
        return self.memory().used

    def _number(self, name: str) -> int:
        value = ctypes.c_uint()
        return value.value if getattr(self.library, name)(self.handle, ctypes.byref(value)) == 0 else 0

    def facts(self) -> dict[str, float | str]:
        """What the metrics page shows as well, by the names of its metrics, with the GPU's UUID as `uuid`."""
        memory, text = self.memory(), ctypes.create_string_buffer(96)
        self.library.nvmlDeviceGetUUID(self.handle, text, ctypes.c_uint(len(text)))
        return {
            "uuid": text.value.decode(),
            "nv_gpu_memory_total_bytes": memory.total,
            "nv_gpu_memory_used_bytes": memory.used,
            "nv_gpu_power_usage": self._number("nvmlDeviceGetPowerUsage") / 1000,
            "nv_gpu_power_limit": self._number("nvmlDeviceGetPowerManagementLimit") / 1000,
        }
