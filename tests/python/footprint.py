"""How much memory a server takes at most while something is done to it."""

import contextlib
import pathlib
from collections.abc import Iterator

from nereid_process import Nereid

FREE_BYTES = 64 << 20
"""What any request may cost, whatever its size: arenas, threads, the model's own."""
PER_BYTE = 24
"""Bytes that a byte sent may become, with growing buffers and an answer beside them."""


@contextlib.contextmanager
def bounded(server: Nereid, sent_bytes: int, per_byte: int = PER_BYTE) -> Iterator[None]:
    """What happens inside must cost no more than a multiple of what was sent."""
    process = pathlib.Path(f"/proc/{server.process.pid}")
    (process / "clear_refs").write_text("5")  # the peak starts again from what is resident now
    before = _status(process, "VmRSS")
    yield
    grown = _status(process, "VmHWM") - before
    allowed = FREE_BYTES + per_byte * sent_bytes
    assert grown <= allowed, f"{sent_bytes} bytes sent cost {grown} bytes, more than {allowed}"


def _status(process: pathlib.Path, field: str) -> int:
    for line in (process / "status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"no {field} in {process}")
