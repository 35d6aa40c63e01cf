"""What the model answers outside of the cluster: the same server on this machine, asked for the sample digits."""

import json
import pathlib
import subprocess

from running import free_ports, get, process

FILE = "expected.json"
HELP = "help.txt"  # which flags the server has
MODEL = "mnist_mlp"


def samples(root: pathlib.Path) -> dict[str, bytes]:
    """Request bodies by name."""
    return {file.stem: file.read_bytes() for file in sorted((root / "samples/digits").glob("*.json"))}


def write(root: pathlib.Path, work: pathlib.Path, server: pathlib.Path) -> None:
    http, grpc, metrics = free_ports(3)
    ports = [f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}"]
    command = [server, f"--model-repository={root / 'model_repository'}", "--http-address=127.0.0.1", "--grpc-address=127.0.0.1", *ports]
    with process(command, work / "reference.log", http, "/v2/health/ready"):
        answers = {}
        for name, body in samples(root).items():
            status, answer = get(http, f"/v2/models/{MODEL}/infer", body)
            if status != 200:
                raise RuntimeError(f"outside of the cluster {name} is answered {status}: {answer!r}")
            answers[name] = json.loads(answer)["outputs"][0]["data"]
    (work / FILE).write_text(json.dumps(answers))
    helped = subprocess.run([server, "--help"], text=True, capture_output=True, check=True)
    (work / HELP).write_text(helped.stdout)
