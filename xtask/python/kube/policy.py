"""What schemas cannot see: pods that may too much, names that lead nowhere, classes of service that are not what they say."""

# By the name of a rendering: what its server must get.
QOS = {
    "base": "Burstable",
    "components/qos-guaranteed": "Guaranteed",
    "components/qos-burstable": "Burstable",
    "components/qos-besteffort": "BestEffort",
    "defaults": "Burstable",
    "guaranteed": "Guaranteed",
    "burstable": "Burstable",
    "besteffort": "BestEffort",
}


def pods(documents: list[dict]) -> list[tuple[str, dict]]:
    """Name and pod spec of everything that makes pods."""
    found = []
    for document in documents:
        kind, spec = document["kind"], document.get("spec", {})
        if kind in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            spec = spec["template"]["spec"]
        elif kind not in ("Pod", "ServingRuntime"):
            continue
        found.append((f"{kind} {document['metadata']['name']}", spec))
    return found


def may_too_much(documents: list[dict]) -> list[str]:
    problems = []
    for name, spec in pods(documents):
        for container in spec["containers"] + spec.get("initContainers", []):
            security = spec.get("securityContext", {}) | container.get("securityContext", {})
            wanted = {
                "runs as root": security.get("runAsNonRoot") is True,
                "writes to its root file system": security.get("readOnlyRootFilesystem") is True,
                "may gain privileges": security.get("allowPrivilegeEscalation") is False,
                "has capabilities": security.get("capabilities", {}).get("drop") == ["ALL"],
                "has no seccomp profile": security.get("seccompProfile", {}).get("type") == "RuntimeDefault",
            }
            problems += [f"{name}, container {container['name']}: {problem}" for problem, good in wanted.items() if not good]
            if ":" not in container["image"].rsplit("/", 1)[-1] or container["image"].endswith(":latest"):
                problems.append(f"{name}: the image {container['image']} has no version")
    return problems


def ends_too_soon(documents: list[dict]) -> list[str]:
    """Servers that lose requests when their pod goes: killed before they have ended, or out of reach before they know it."""
    problems = []
    for name, spec in pods(documents):
        for container in spec["containers"]:
            words = container.get("command", []) + container.get("args", [])
            if not words or words[0] not in ("nereid", "tritonserver"):
                continue
            who = f"{name}, container {container['name']}"
            flags = dict(word.lstrip("-").split("=", 1) for word in words if "=" in word)
            delay, rest = int(flags.get("shutdown-delay-secs", 0)), int(flags.get("exit-timeout-secs", 30))
            grace = spec.get("terminationGracePeriodSeconds", 30)
            if delay == 0:
                problems.append(f"{who}: no --shutdown-delay-secs while endpoints lose the pod")
            if grace <= delay + rest:
                problems.append(f"{who}: it is killed after {grace} s, and may take {delay} + {rest} s to end")
            if "lifecycle" in container:
                problems.append(f"{who}: a preStop hook delays SIGTERM, at which the server would send its clients elsewhere")
    return problems


def mute(documents: list[dict]) -> list[str]:
    """Servers whose last line Kubernetes would not show, which says why they do not start."""
    problems = []
    for name, spec in pods(documents):
        for container in spec["containers"]:
            words = container.get("command", []) + container.get("args", [])
            ours = words and words[0] in ("nereid", "tritonserver")
            if ours and container.get("terminationMessagePolicy") != "FallbackToLogsOnError":
                problems.append(f"{name}, container {container['name']}: terminationMessagePolicy is not FallbackToLogsOnError")
    return problems


def lead_nowhere(documents: list[dict]) -> list[str]:
    """References to what is not rendered with them. ConfigMaps, claims and accounts of others are not looked for."""
    there = {(d["kind"], d["metadata"]["name"]) for d in documents}
    problems = []

    def wants(who: str, kind: str, name: str) -> None:
        if (kind, name) not in there:
            problems.append(f"{who} refers to {kind} {name}, which is not there")

    for name, spec in pods(documents):
        if spec.get("serviceAccountName"):
            wants(name, "ServiceAccount", spec["serviceAccountName"])
        mounted = {m["name"] for c in spec["containers"] for m in c.get("volumeMounts", [])}
        volumes = {v["name"] for v in spec.get("volumes", [])}
        if mounted != volumes:
            problems.append(f"{name}: volumes and mounts differ: {sorted(mounted ^ volumes)}")
        for volume in spec.get("volumes", []):
            if "configMap" in volume:
                wants(name, "ConfigMap", volume["configMap"]["name"])
    for document in documents:
        who, spec = f"{document['kind']} {document['metadata']['name']}", document.get("spec", {})
        if "scaleTargetRef" in spec:
            wants(who, spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
        if document["kind"] == "Service":
            problems += ports(who, spec, documents)
        for rule in spec.get("rules", []) if document["kind"] == "Ingress" else []:
            for path in rule["http"]["paths"]:
                wants(who, "Service", path["backend"]["service"]["name"])
    return problems


def ports(who: str, service: dict, documents: list[dict]) -> list[str]:
    """The pods that a Service selects must have the ports that it names."""
    selected = [
        {port.get("name") for c in d["spec"]["template"]["spec"]["containers"] for port in c.get("ports", [])}
        for d in documents
        if d["kind"] == "Deployment" and service["selector"].items() <= d["spec"]["template"]["metadata"]["labels"].items()
    ]
    if not selected:
        return [f"{who} selects no pod"]
    return [f"{who}: no pod has a port {p['targetPort']}" for p in service["ports"] for names in selected if p["targetPort"] not in names]


def quality(documents: list[dict]) -> str:
    """The quality of service of the server's pod, as the kubelet works it out for a pod of one container."""
    (container,) = next(d for d in documents if d["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"]
    resources = container.get("resources") or {}
    limits, requests = ({k: v for k, v in resources.get(part, {}).items() if k in ("cpu", "memory")} for part in ("limits", "requests"))
    if not limits and not requests:
        return "BestEffort"
    return "Guaranteed" if len(limits) == 2 and limits == limits | requests else "Burstable"
