"""Rolling updates, a deletion and a scale-down under load: not one request may be lost."""

from asking import GRPC, HTTP, NODE, answers
from cluster import DEPLOYMENT, expect, until
from manifests import with_replicas
from traffic import KINDS, Traffic

REPLICAS = 3


def run(lab: object) -> str:
    body = (lab.root / "samples/digits/seven.json").read_bytes()
    cluster = lab.cluster
    with cluster.deployed(with_replicas(lab.manifests.server(), REPLICAS)):
        until(lambda: answers(lab.root, lab.work), "the node forwards to them")
        inside = cluster.get("service", "nereid")["spec"]["clusterIP"]
        before = {pod["metadata"]["name"] for pod in cluster.pods()}
        with Traffic([(NODE, HTTP, GRPC), (inside, 8000, 8001)], body, tuple(KINDS)) as load:
            for _ in range(2):
                cluster.kubectl("rollout", "restart", DEPLOYMENT)
                cluster.rolled_out()
                gone(lab)
            after = {pod["metadata"]["name"] for pod in cluster.pods()}
            expect(not before & after, f"pods that were not replaced: {before & after}")
            cluster.kubectl("delete", "pod", min(after), "--wait=false")
            until(lambda: min(after) not in {pod["metadata"]["name"] for pod in cluster.pods()}, "one pod is deleted")
            cluster.rolled_out()
            gone(lab)
            cluster.kubectl("scale", DEPLOYMENT, "--replicas=1")
            cluster.rolled_out()
            gone(lab)
        load.nothing_lost(f"restarted twice, one deleted, scaled {REPLICAS} → 1")
    return f"{REPLICAS} pods restarted twice, one deleted, then scaled to 1, under {len(load.threads)} clients that never ask twice: **0 lost** of {load.says()}"


def gone(lab: object) -> None:
    """Until the pods that go have gone: what they lose at their end counts as well."""
    until(lambda: len(lab.cluster.pods(going=True)) == len(lab.cluster.pods()), "old pods are gone")
