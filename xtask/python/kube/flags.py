"""The command lines of manifests and images, read by the server itself: `--help` behind them, so that it does not start."""

import subprocess

from policy import pods


def unknown(documents: list[dict], server: str) -> list[str]:
    """What the server has against the command lines of the containers that run it."""
    problems = []
    for name, spec in pods(documents):
        for container in spec["containers"]:
            words = container.get("command", []) + container.get("args", [])
            if not words or words[0] not in ("nereid", "tritonserver"):
                continue
            done = subprocess.run([server, *words[1:], "--help"], text=True, capture_output=True, timeout=60, check=False)
            if done.returncode != 0:
                problems.append(f"{name}: {done.stderr.strip()}")
    return problems
