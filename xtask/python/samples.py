"""Sample digits for trying out the server: one grey 28x28 PNG and one ready-made request body per class."""

import json
import pathlib
import struct
import zlib

import numpy as np

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def write(folder: pathlib.Path, images: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> None:
    """Writes the first image of each class that `logits` gets right."""
    folder.mkdir(parents=True, exist_ok=True)
    right = logits.argmax(1) == labels
    for digit, name in enumerate(NAMES):
        # Through 8 bits, so that the PNG and the request body are the same picture.
        pixels = np.rint(images[np.flatnonzero(right & (labels == digit))[0]] * 255).astype(np.uint8)
        (folder / f"{name}.png").write_bytes(_png(pixels))
        (folder / f"{name}.json").write_text(_request(pixels))


def _request(pixels: np.ndarray) -> str:
    data = [round(int(p) / 255, 3) for p in pixels.ravel()]
    short = [int(v) if v == int(v) else v for v in data]
    tensor = {"name": "input", "shape": [1, 1, *pixels.shape], "datatype": "FP32", "data": short}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")) + "\n"


def _png(pixels: np.ndarray) -> bytes:
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)  # 8 bits of grey, no interlacing
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # filter 0 in front of each row
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body
