"""From one pod to five and back, once by the CPU that they use and once by the requests that wait."""

import json

import traffic
from asking import HTTP, GRPC, NODE
from cluster import until
from manifests import SCALE_DOWN_S, quick, with_models

MOST = 5
CLIENTS = 32
QUEUE = "slow"
SLOW_MS = 200
SLOW = f"""name: "{QUEUE}"
backend: "identity"
input [ {{ name: "INPUT0" data_type: TYPE_FP32 dims: [ 1 ] }} ]
output [ {{ name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 1 ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
parameters {{ key: "execute_delay_ms" value {{ string_value: "{SLOW_MS}" }} }}
"""
SLOW_BODY = json.dumps({"inputs": [{"name": "INPUT0", "shape": [1], "datatype": "FP32", "data": [1]}]}).encode()


def cpu(lab: object) -> str:
    # Eight digits in a request: reading them is the server's work, sending them is none.
    (one,) = json.loads((lab.root / "samples/digits/seven.json").read_bytes())["inputs"]
    body = json.dumps({"inputs": [one | {"shape": [8, *one["shape"][1:]], "data": one["data"] * 8}]}).encode()
    load = traffic.Traffic([(NODE, HTTP, GRPC)], body, ("new",), clients=8, pause=0)
    return up_and_down(lab, quick(lab.manifests.server("hpa-cpu")), load, f"{len(load.threads)} clients of HTTP")


def queue(lab: object) -> str:
    documents = with_models(quick(lab.manifests.server("hpa-queue")), {QUEUE: SLOW})
    load = traffic.Traffic([(NODE, HTTP, GRPC)], SLOW_BODY, ("new",), clients=CLIENTS, model=QUEUE)
    return up_and_down(lab, documents, load, f"{CLIENTS} clients of a model that takes {SLOW_MS} ms")


def up_and_down(lab: object, documents: list[dict], load: traffic.Traffic, what: str) -> str:
    counts = []

    def seen() -> int:
        count = lab.cluster.replicas()
        if counts[-1:] != [count]:
            counts.append(count)
        return count

    with lab.cluster.deployed(documents):
        # It knows the metric before there is load, so that what is seen is its work.
        until(lambda: active(lab), "the autoscaler has its metric")
        seen()
        with load:
            until(lambda: seen() == MOST, f"{MOST} pods under load ({counts})")
            until(lambda: len(lab.cluster.endpoints()) == MOST, f"{MOST} pods are ready")
        until(lambda: seen() == 1, f"one pod after the load ({counts})")
        lab.cluster.settled()
        load.nothing_lost("while it scaled")
    return f"{what}: pods {' → '.join(map(str, counts))}, {sum(load.good.values())} requests, none lost (scale-down after {SCALE_DOWN_S} s instead of 120)"


def active(lab: object) -> bool:
    # Asked for without a version, it comes in one that has no conditions.
    autoscaler = json.loads(lab.cluster.kubectl("get", "--raw", "/apis/autoscaling/v2beta2/namespaces/nereid/horizontalpodautoscalers/nereid"))
    conditions = autoscaler.get("status", {}).get("conditions") or []
    return any((one["type"], one["status"]) == ("ScalingActive", "True") for one in conditions)
