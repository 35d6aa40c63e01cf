"""New pods get their share of connections that are kept."""

from asking import GRPC, HTTP, MODEL, NODE, answers, metric, page
from cluster import DEPLOYMENT, until
from manifests import with_args
from traffic import Traffic

AGES = ("--http-max-connection-age=3000", "--grpc-max-connection-age=3000", "--grpc-max-connection-age-grace=3000")
POD_METRICS = 8002
ENOUGH = 5000  # requests, of which
FAIR = 1 / 5  # at least this much goes to each of three pods


def run(lab: object) -> str:
    body = (lab.root / "samples/digits/seven.json").read_bytes()
    cluster = lab.cluster
    with cluster.deployed(with_args(lab.manifests.server(), *AGES)):
        until(lambda: answers(lab.root, lab.work), "the node forwards to it")
        with Traffic([(NODE, HTTP, GRPC)], body, ("kept", "grpc"), clients=6) as load:
            cluster.kubectl("scale", DEPLOYMENT, "--replicas=3")
            cluster.rolled_out()
            before = counts(lab)
            shares = until(lambda: fair(before, counts(lab)), f"each pod gets {FAIR:.0%} of what comes after the scale-up")
        load.nothing_lost("scaled 1 → 3")
    said = ", ".join(f"{share:.0%}" for share in shares)
    return f"scaled 1 → 3 under clients that keep their connections (ages set to 3 s): of what came then the pods had {said}; none lost of {load.says()}"


def counts(lab: object) -> dict[str, float]:
    """Requests that each pod has answered, by its address."""
    hosts = [pod["status"]["podIP"] for pod in lab.cluster.pods()]
    return {host: metric(page(host, POD_METRICS), "nv_inference_request_success", model=MODEL) or 0 for host in hosts}


def fair(before: dict[str, float], now: dict[str, float]) -> list[float] | None:
    """The share of each pod, once there were enough requests and all have their part."""
    more = [now[host] - count for host, count in before.items()]
    return [one / sum(more) for one in more] if sum(more) > ENOUGH and min(more) > FAIR * sum(more) else None
