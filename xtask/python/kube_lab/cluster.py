"""The cluster, by kubectl and by the host: pods, rollouts, logs, and the processes behind the pods."""

import contextlib
import json
import pathlib
import subprocess
import time
from collections.abc import Callable, Iterator

NAMESPACE = "nereid"
DEPLOYMENT = "deployment/nereid"
SELECTOR = "app.kubernetes.io/name=nereid"
WAIT_S = 420  # generous: the machine does other things as well


class Unexpected(Exception):
    """What was seen instead of what should have been."""


def expect(good: object, otherwise: str) -> None:
    if not good:
        raise Unexpected(otherwise)


def until(condition: Callable[[], object], what: str, seconds: float = WAIT_S) -> object:
    """What `condition` gives as soon as it holds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        expect(time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}")
        time.sleep(0.3)
    return value


class Cluster:
    def __init__(self, work: pathlib.Path, run: pathlib.Path) -> None:
        self.work, self.socket = work, run / "containerd.sock"
        self.made: list[str] = []

    def kubectl(self, *arguments: object, given: str | None = None, check: bool = True, namespace: str = NAMESPACE) -> str:
        command = ["kubectl", "--namespace", namespace, *map(str, arguments)]
        done = subprocess.run(command, input=given, text=True, capture_output=True, timeout=WAIT_S + 60, check=False)
        expect(done.returncode == 0 or not check, f"kubectl {' '.join(command[3:6])}: {done.stderr.strip()}")
        return done.stdout

    def get(self, *what: str, namespace: str = NAMESPACE) -> dict:
        """Empty where there is none."""
        said = self.kubectl("get", *what, "--ignore-not-found", "--output=json", namespace=namespace)
        return json.loads(said) if said.strip() else {}

    def apply(self, documents: list[dict]) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
        self.kubectl("apply", "--filename=-", given=text)

    def apply_dry(self, documents: list[dict], namespace: str) -> None:
        """As `apply`, but the API server only says whether it would."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
        self.kubectl("apply", "--filename=-", "--dry-run=server", given=text, namespace=namespace)

    def namespace(self, name: str = NAMESPACE) -> None:
        """Makes a namespace that `clear` takes away; its account must be there before pods are."""
        self.made.append(name)
        self.kubectl("create", "namespace", name)
        until(lambda: self.get("serviceaccount", "default", namespace=name), f"namespace {name} has its account")

    def clear(self) -> None:
        for name in self.made:
            self.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=true")
        self.made.clear()

    @contextlib.contextmanager
    def deployed(self, documents: list[dict]) -> Iterator[None]:
        """Applied in a namespace of its own and rolled out; gone when the block ends well."""
        self.namespace()
        self.apply(documents)
        self.rolled_out()
        yield
        self.clear()

    def rolled_out(self) -> None:
        self.kubectl("rollout", "status", DEPLOYMENT, f"--timeout={WAIT_S}s")
        self.settled()

    def settled(self) -> None:
        """As many endpoints as pods, all ready: the Service leads to them and to no other."""
        until(lambda: {ip for pod in self.pods() if (ip := pod["status"].get("podIP"))} == self.endpoints(), "the Service has all pods and no other")

    def pods(self, going: bool = False) -> list[dict]:
        """Those of the server, without those that are about to go."""
        found = self.get("pods", f"--selector={SELECTOR}")["items"]
        return [pod for pod in found if going or "deletionTimestamp" not in pod["metadata"]]

    def pod(self) -> dict:
        (pod,) = self.pods()
        return pod

    def endpoints(self) -> set[str]:
        subsets = self.get("endpoints", "nereid").get("subsets") or []
        return {address["ip"] for subset in subsets for address in subset.get("addresses") or []}

    def replicas(self) -> int:
        return self.get("deployment", "nereid")["spec"].get("replicas", 1)

    def logs(self, pod: dict, *flags: str) -> str:
        return self.kubectl("logs", pod["metadata"]["name"], *flags, check=False)

    def process(self, pod: dict) -> int:
        """The id, on this machine, of the first process of the pod's container."""
        container = pod["status"]["containerStatuses"][0]["containerID"].rsplit("/", 1)[1]
        command = ["ctr", "--address", str(self.socket), "--namespace", "k8s.io", "task", "ls"]
        tasks = subprocess.run(command, text=True, capture_output=True, timeout=60, check=True).stdout.splitlines()
        found = [int(words[1]) for line in tasks if (words := line.split())[0] == container]
        expect(len(found) == 1, f"container {container} has no process")
        return found[0]

    def dump(self, name: str) -> pathlib.Path:
        """Everything that one asks for after a failure, in a file."""
        asked = (["get", "all,hpa,endpoints", "-o", "wide"], ["describe", "pods"], ["get", "events"])
        asked += (["logs", f"--selector={SELECTOR}", "--tail=200", "--prefix"],)
        file = self.work / f"{name}.txt"
        file.write_text("\n\n".join(f"== {' '.join(words)}\n{self.kubectl(*words, check=False)}" for words in asked))
        return file


def state(pod: dict) -> dict:
    return pod["status"]["containerStatuses"][0]


def ready(pod: dict) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))
