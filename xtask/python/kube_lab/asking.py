"""The server, asked from outside of its pods: by tritonclient through the NodePorts, and its metrics."""

import json
import pathlib
import re
import urllib.request

import numpy as np
import tritonclient.grpc
import tritonclient.http

import reference
from cluster import expect

NODE = "127.0.0.1"
HTTP, GRPC, METRICS = 30080, 30081, 30082
MODEL = reference.MODEL


def image(body: bytes) -> np.ndarray:
    (given,) = json.loads(body)["inputs"]
    return np.array(given["data"], np.float32).reshape(given["shape"])


def answer(client: object, kind: object, pixels: np.ndarray) -> list[float]:
    tensor = kind.InferInput("input", list(pixels.shape), "FP32")
    tensor.set_data_from_numpy(pixels)
    return client.infer(MODEL, [tensor]).as_numpy("output").ravel().tolist()


def clients(host: str = NODE) -> list[tuple[object, object]]:
    """One of each protocol, with the module that it is from."""
    of_http = tritonclient.http.InferenceServerClient(f"{host}:{HTTP}", connection_timeout=60, network_timeout=60)
    of_grpc = tritonclient.grpc.InferenceServerClient(f"{host}:{GRPC}")
    return [(of_http, tritonclient.http), (of_grpc, tritonclient.grpc)]


def same_as_outside(root: pathlib.Path, work: pathlib.Path) -> int:
    """How many answers there were; each must be what it was outside of the cluster, to the last bit."""
    expected = json.loads((work / reference.FILE).read_text())
    count = 0
    for client, kind in clients():
        for name, body in reference.samples(root).items():
            got = answer(client, kind, image(body))
            wanted = np.array(expected[name], np.float32).tolist()
            expect(got == wanted, f"{kind.__name__}: {name} is answered {got}, outside {wanted}")
            count += 1
        client.close()
    return count


def answers(root: pathlib.Path, work: pathlib.Path) -> bool:
    """Whether one digit is answered as outside, now."""
    expected = np.array(json.loads((work / reference.FILE).read_text())["seven"], np.float32).tolist()
    body = (root / "samples/digits/seven.json").read_bytes()
    try:
        got = urllib.request.urlopen(f"http://{NODE}:{HTTP}/v2/models/{MODEL}/infer", body, 10)
        return np.array(json.load(got)["outputs"][0]["data"], np.float32).tolist() == expected
    except OSError:
        return False


def page(host: str = NODE, port: int = METRICS) -> str:
    return urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=30).read().decode()


def metric(text: str, name: str, **labels: str) -> float | None:
    """The sum over all label sets that have these labels; None where there is none."""
    values = [
        float(found[2])
        for found in re.finditer(rf"^{name}(?:\{{([^}}]*)\}})? (\S+)$", text, re.MULTILINE)
        if all(f'{key}="{value}"' in (found[1] or "") for key, value in labels.items())
    ]
    return sum(values) if values else None
