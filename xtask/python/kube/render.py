"""Everything that a user may apply, rendered: kustomizations, components on top of the base, the chart with values."""

import os
import pathlib

import yaml

from report import check
from tools import Tool

# What the chart is rendered with, beside its defaults.
CHART = {
    "defaults": [],
    "gpu": ["gpu.enabled=true", "gpu.count=2"],
    "guaranteed": ["qos=guaranteed"],
    "burstable": ["qos=burstable"],
    "besteffort": ["qos=besteffort"],
    "pvc": ["models.from=pvc", "models.claim=models"],
    "hostPath": ["models.from=hostPath", "models.hostPath=/srv/models"],
    "ClusterIP": ["service.type=ClusterIP"],
    "ingress": ["ingress.enabled=true", "ingress.grpcHost=g.example.com", "ingress.grpcTlsSecret=tls", "ingress.tlsSecret=tls"],
    "hpa": ["autoscaling.cpu.enabled=true", "autoscaling.queue.enabled=true"],
    "keda": ["autoscaling.keda.enabled=true"],
    "operator": ["monitoring.operator.enabled=true"],
    "stack": ["monitoring.stack.enabled=true"],
    "kserve": ["kserve.enabled=true", "kserve.inferenceService.enabled=true"],
    "all": [
        "gpu.enabled=true",
        "models.from=pvc",
        "models.claim=models",
        "ingress.enabled=true",
        "autoscaling.cpu.enabled=true",
        "autoscaling.queue.enabled=true",
        "monitoring.operator.enabled=true",
        "monitoring.stack.enabled=true",
        "kserve.enabled=true",
        "nodeSelector.disk=fast",
        "podAnnotations.a=b",
        "priorityClassName=high",
    ],
}

# Values that cannot work, and what the chart must say.
REFUSED = {
    "qos=gold": "qos",
    "models.from=pvc": "claim",
    "models.from=hostPath": "hostPath",
    "imagee.tag=1": "imagee",
    "flags={log-verbose}": "flags",
    "autoscaling.keda.enabled=true,autoscaling.cpu.enabled=true": "autoscaling.keda",
    "autoscaling.cpu.enabled=true,qos=besteffort": "besteffort",
    "ingress.enabled=true,ingress.grpcHost=g": "grpcTlsSecret",
}


def documents(text: str) -> list[dict]:
    return [document for document in yaml.safe_load_all(text) if document]


def kustomizations(k8s: pathlib.Path, work: pathlib.Path, kubectl: Tool) -> dict[str, list[dict]]:
    """Each folder with a kustomization, by its name; components are put on top of the base."""
    rendered = {}
    for file in sorted(k8s.rglob("kustomization.yaml")):
        folder, name = file.parent, str(file.parent.relative_to(k8s))
        if yaml.safe_load(file.read_text())["kind"] == "Component":
            folder = work / name
            folder.mkdir(parents=True, exist_ok=True)
            relative = lambda path: os.path.relpath(path, folder.resolve())  # noqa: B023
            wrapper = {"resources": [relative(k8s / "base")], "components": [relative(file.parent)]}
            (folder / "kustomization.yaml").write_text(yaml.safe_dump(wrapper))
        done = kubectl.run("kustomize", folder)
        if check("kustomize", name, [done.stderr] if done.returncode else []):
            rendered[name] = documents(done.stdout)
    return rendered


def chart(k8s: pathlib.Path, helm: Tool) -> dict[str, list[dict]]:
    """The chart with each of the sets of values."""
    folder = k8s / "helm/nereid"
    check("helm", "lint --strict", helm.problems("lint", "--strict", folder))
    rendered = {}
    for name, values in CHART.items():
        done = helm.run("template", "nereid", folder, "--namespace", "nereid", *(f"--set={value}" for value in values))
        if check("helm", f"template {name}", [done.stderr] if done.returncode else []):
            rendered[name] = documents(done.stdout)
    for values, reason in REFUSED.items():
        done = helm.run("template", "nereid", folder, f"--set={values}")
        refused = done.returncode != 0 and reason in done.stderr
        check("helm", f"refuses {values}", [] if refused else [f"exit code {done.returncode}: {done.stderr}"])
    return rendered
