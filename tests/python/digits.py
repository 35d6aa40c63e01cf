"""The sample digits of the project, as the tests send them."""

import json
import struct
import zlib

import numpy as np

from models import ROOT

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
FOLDER = ROOT / "samples/digits"


def body(name: str) -> bytes:
    """The ready-made request body."""
    return (FOLDER / f"{name}.json").read_bytes()


def image(name: str) -> np.ndarray:
    """`[1, 28, 28]` FP32 in 0..1, from the PNG."""
    data = (FOLDER / f"{name}.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, pixels = 8, b""
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + content) == struct.unpack_from(">I", data, at + 8 + length)[0]
        if kind == b"IDAT":
            pixels += content
        at += 12 + length
    rows = np.frombuffer(zlib.decompress(pixels), np.uint8).reshape(28, 29)
    assert not rows[:, 0].any(), "only filter 0 is understood"
    return (rows[:, 1:].astype(np.float32) / 255)[None]


def images() -> np.ndarray:
    """All ten, `[10, 1, 28, 28]`."""
    return np.stack([image(name) for name in NAMES])


def request(name: str) -> dict:
    return json.loads(body(name))
