"""Image, manifests and chart in a real Kubernetes: `lab.py --root DIR --work DIR --scripts DIR --server PATH …`, for
`cargo xtask kube-lab`. It starts the cluster, runs the scenes in its network, and always takes it down again."""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import image
import reference
from place import Place, Unusable
from table import bold, green, red, took, written
from scenes import SCENES

NETNS = "/var/run/netns/kube"
HERE = pathlib.Path(__file__).parent


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("root", "work", "scripts"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--server", type=pathlib.Path)
    parser.add_argument("--prepare", action="store_true", help="only build what is missing, and say what is missing still")
    for name in ("kubectl", "helm"):
        parser.add_argument(f"--{name}", default="")
    for name in ("build", "keep", "write"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SCENES))
    given = parser.parse_args()
    if unknown := [name for name in given.only if name not in SCENES]:
        parser.exit(1, f"there is no scene {', '.join(unknown)}; there are {', '.join(SCENES)}\n")
    return given


def step(title: str) -> None:
    print(bold(title), flush=True)


def play(given: argparse.Namespace, place: Place, results: pathlib.Path) -> None:
    """The scenes, as a process in the network of the cluster. They leave what they saw in `results`."""
    folders = [f"--{name}={getattr(given, name)}" for name in ("root", "work", "kubectl", "helm")]
    command = ["nsenter", f"--net={NETNS}", sys.executable, HERE / "play.py", *folders, f"--run={place.run}", f"--results={results}", *given.only]
    # gRPC's threads and subprocesses of Python get on without its hooks.
    environment = os.environ | {"KUBECONFIG": str(place.run / "kubeconfig"), "GRPC_ENABLE_FORK_SUPPORT": "false"}
    playing = subprocess.Popen([str(word) for word in command], env=environment)
    try:
        playing.wait()
    finally:
        if playing.poll() is None:
            playing.terminate()
            playing.wait()


def taken_down(place: Place) -> list[str]:
    """What is left of it, which should be nothing."""
    step("Down")
    left = place.down()
    for one in left:
        print(f"      {red('left behind')}: {one}", flush=True)
    if not left:
        print(f"      {green('nothing is left')} of the cluster", flush=True)
    return left


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def main(given: argparse.Namespace) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    place = Place(given.scripts, given.work, given.kubectl)
    if given.build:
        place.build()
    if missing := place.missing():
        raise Unusable("the lab cannot run here:\n" + "\n".join(f"  {one}" for one in missing))
    return 0 if given.prepare else show(given, place)


def show(given: argparse.Namespace, place: Place) -> int:
    """Up, the scenes, down; the exit code."""
    began, results = time.time(), given.work / "results.json"
    results.unlink(missing_ok=True)
    step("Image of docker/Dockerfile")
    archive = image.archive(given.root, given.work, given.server)
    step("What the models answer outside of the cluster")
    reference.write(given.root, given.work, given.server)
    try:
        step("Cluster")
        place.up()
        place.load(archive)
        print(f"      {green('up')}: {place.version()}, KUBECONFIG={place.run / 'kubeconfig'}", flush=True)
        play(given, place, results)
    finally:
        # A second Ctrl-C must not leave half of it behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        left = [] if given.keep else taken_down(place)
    if given.keep:
        print(f"the cluster is up: nsenter --net={NETNS} env KUBECONFIG={place.run / 'kubeconfig'} kubectl get pods -A")
        print(f"and goes by: {given.scripts / 'down.sh'}")
    seen = json.loads(results.read_text()) if results.exists() else []
    if given.write and seen:
        written(given.root / "k8s/README.md", seen, place.version())
    failed = sum(not one["good"] for one in seen)
    print(f"{len(seen) - failed} passed, {failed} failed, {len(given.only) - len(seen)} not run ({took(time.time() - began)})")
    return int(bool(failed or left) or len(seen) < len(given.only))


if __name__ == "__main__":
    try:
        sys.exit(main(arguments()))
    except (Unusable, RuntimeError, subprocess.SubprocessError) as error:
        sys.exit(f"{red('error:')} {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
