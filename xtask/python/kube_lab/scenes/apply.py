"""The overlay for one machine, applied as it is, and asked through the NodePorts."""

from asking import METRICS, MODEL, clients, metric, page, same_as_outside
from cluster import expect, until
from manifests import FOREIGN, server

# What the lab has images for; the other pods of the overlay stay where they cannot get theirs.
OURS = "nereid"


def run(lab: object) -> str:
    accepted = dry_run(lab)
    documents = lab.manifests.overlay("kind")
    lab.cluster.namespace()
    lab.cluster.apply(documents)
    lab.cluster.rolled_out()
    (http, _), (grpc, _) = both = clients()
    versions = {http.get_server_metadata()["version"], grpc.get_server_metadata().version}
    expect(len(versions) == 1, f"HTTP and gRPC tell different versions: {versions}")
    expect(http.is_model_ready(MODEL) and grpc.is_model_ready(MODEL), f"{MODEL} is not ready")
    for client, _ in both:
        client.close()
    count = same_as_outside(lab.root, lab.work)
    seen = until(lambda: metric(page(), "nv_inference_request_success", model=MODEL), "requests are counted")
    expect(seen == count, f"{count} requests were sent, and {METRICS} counts {seen}")
    image = server(documents)["image"]
    return (
        f"the API server takes {accepted} documents of all renderings (dry run); overlay `kind` applied, {len(documents)} documents, {image} ready; "
        f"tritonclient through 30080 and 30081: {count} answers to ten digits are those of the same model outside; 30082 counts {int(seen)} requests"
    )


def dry_run(lab: object) -> int:
    """Every kustomization, by the checks of a real API server: how many documents there were."""
    lab.cluster.namespace("nereid-dry")
    renderings = {f"overlays/{name}": lab.manifests.overlay(name) for name in ("kind", "minikube", "gpu")}
    for folder in sorted((lab.manifests.k8s / "components").iterdir()):
        renderings[f"components/{folder.name}"] = lab.manifests.server(folder.name, small=False)
    accepted = 0
    for documents in renderings.values():
        known = [one for one in documents if one["kind"] not in FOREIGN]
        for one in known:
            one["metadata"]["namespace"] = "nereid-dry"
        for one in known:
            for subject in one.get("subjects", []):
                subject["namespace"] = "nereid-dry"
        lab.cluster.apply_dry(known, "nereid-dry")
        accepted += len(known)
    lab.cluster.clear()
    return accepted
