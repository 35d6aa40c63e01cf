"""The three qualities of service, as the kubelet sees them, and the limits as the server sees them."""

from asking import answers, metric, page
from cluster import expect, until

CLASSES = {"qos-guaranteed": "Guaranteed", "qos-burstable": "Burstable", "qos-besteffort": "BestEffort"}


def run(lab: object) -> str:
    seen = []
    for component, wanted in CLASSES.items():
        # As they ship: their sizes are what they are about.
        with lab.cluster.deployed(lab.manifests.server(component, small=False)):
            pod = lab.cluster.pod()
            got = pod["status"]["qosClass"]
            expect(got == wanted, f"{component} is {got}")
            until(lambda: answers(lab.root, lab.work), f"{component} answers")
            seen.append(f"`{component}` {got}, {limits(page())}")
    return "status.qosClass, and what the server's metrics tell of its limits: " + "; ".join(seen)


def limits(text: str) -> str:
    cores, memory, budget = (metric(text, f"nereid_{name}") for name in ("cpu_quota_cores", "memory_limit_bytes", "inflight_limit_bytes"))
    said = [f"{cores:g} CPUs" if cores else "no CPU quota", f"{memory / 2**20:.0f} MiB" if memory else "no memory limit"]
    return ", ".join(said + ([f"{budget / 2**20:.0f} MiB for requests"] if budget else []))
