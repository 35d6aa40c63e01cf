"""What readiness tells: of a model that is loaded later, of one that is broken, and of a mount that is wrong."""

import json
import threading
import urllib.request

from asking import HTTP, NODE, answers
from cluster import expect, state, until
from manifests import with_args, with_models

LATE_S = 15
LATE = f"""name: "late"
backend: "identity"
input [ {{ name: "INPUT0" data_type: TYPE_FP32 dims: [ 1 ] }} ]
output [ {{ name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 1 ] }} ]
parameters {{ key: "creation_delay_sec" value {{ string_value: "{LATE_S}" }} }}
"""

BROKEN = 'name: "broken"\nbackend: "nowhere"\nmax_batch_size: 0\ninput [ { name: "I" data_type: TYPE_FP32 dims: [ 1 ] } ]\noutput [ { name: "O" data_type: TYPE_FP32 dims: [ 1 ] } ]\n'


def run(lab: object) -> str:
    return "; ".join((late(lab), broken(lab), wrong_mount(lab)))


def late(lab: object) -> str:
    cluster = lab.cluster
    documents = with_models(lab.manifests.server(), {"late": LATE})
    with cluster.deployed(with_args(documents, "--model-control-mode=explicit", "--load-model=mnist_mlp")):
        until(lambda: answers(lab.root, lab.work), "it answers")
        load = threading.Thread(target=lambda: post(f"http://{NODE}:{HTTP}/v2/repository/models/late/load"))
        load.start()
        until(lambda: entry(NODE, HTTP, "late").get("state") == "LOADING", "the model is being loaded")
        looks = 0
        while load.is_alive():
            expect(cluster.endpoints(), "while a model is loaded the pod is not in the Service")
            expect(answers(lab.root, lab.work), "while a model is loaded the pod does not answer")
            looks += 1
        load.join()
        expect(entry(NODE, HTTP, "late").get("state") == "READY", f"the index says {entry(NODE, HTTP, 'late')}")
        expect(looks > 3, "the model was loaded too fast to look")
    return f"a model that takes {LATE_S} s to load, loaded later: the pod stayed in the Service and answered ({looks} looks)"


def broken(lab: object) -> str:
    cluster = lab.cluster
    with cluster.deployed(lab.manifests.server()):
        old = cluster.pod()
        cluster.apply(with_models(lab.manifests.server(), {"broken": BROKEN}))
        new = until(lambda: next((p for p in cluster.pods() if p["metadata"]["name"] != old["metadata"]["name"] and state_running(p)), None), "the new pod runs")
        reason = until(lambda: entry(new["status"]["podIP"], 8000, "broken").get("reason"), "the new pod says what is wrong")
        expect(cluster.endpoints() == {old["status"]["podIP"]}, f"endpoints are {cluster.endpoints()}")
        expect(answers(lab.root, lab.work), "the old pod does not serve on")
    return f"a broken model: the new pod is not ready, the rollout stops, the old pod serves on, /v2/repository/index says “{reason[:120]}”"


def wrong_mount(lab: object) -> str:
    cluster = lab.cluster
    cluster.namespace()
    cluster.apply(with_args(lab.manifests.server(), "--model-repository=/nowhere"))
    until(lambda: any(waiting(pod) == "CrashLoopBackOff" for pod in cluster.pods()), "CrashLoopBackOff")
    pod = cluster.pod()
    ended = state(pod)["lastState"]["terminated"]
    said = cluster.logs(pod, "--previous").strip()
    expect(ended["exitCode"] == 1, f"it ended with {ended}")
    expect("/nowhere" in said, f"its log says {said[-300:]}")
    cluster.clear()
    return f"a wrong mount: CrashLoopBackOff, exit code 1, log: “{message(said.splitlines()[-1])[:200]}”"


def state_running(pod: dict) -> bool:
    return bool(pod["status"].get("containerStatuses")) and "running" in state(pod)["state"]


def waiting(pod: dict) -> str:
    return (pod["status"].get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {}).get("reason", "")


def message(line: str) -> str:
    """What a line of the log says, of JSON too."""
    return json.loads(line)["message"] if line.startswith("{") else line


def post(url: str) -> bytes:
    return urllib.request.urlopen(urllib.request.Request(url, b"{}"), timeout=120).read()


def entry(host: str, port: int, model: str) -> dict:
    """What the index of the repository says of a model; nothing where there is no answer."""
    try:
        index = json.loads(post(f"http://{host}:{port}/v2/repository/index"))
    except OSError:
        return {}
    return next((one for one in index if one["name"] == model), {})
