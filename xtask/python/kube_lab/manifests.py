"""The manifests that ship, rendered, and the few changes that a cluster of 2021 on two CPUs makes necessary. All of them
are here."""

import copy
import os
import pathlib
import shutil
import subprocess

import yaml

from cluster import NAMESPACE, Unexpected

# Kubernetes 1.20 has these objects under older names; the fields that we use are the same.
OLDER = {"autoscaling/v2": "autoscaling/v2beta2", "policy/v1": "policy/v1beta1"}
# The chart says that it needs 1.25, for the newer names.
CHART_NEEDS = 'kubeVersion: ">=1.25.0-0"'
# There is no DNS in the lab: the chart's test asks the node's ports instead of the Service's name.
SERVICE = 'http://{{ include "nereid.fullname" . }}:'
NODE_IP = "10.99.0.1"
PORTS = {"8000": "30080", "8002": "30082"}
# Kinds that controllers bring which are not in the lab.
FOREIGN = {"ScaledObject", "ServiceMonitor", "PrometheusRule", "ServingRuntime", "InferenceService"}
# Nobody waits two minutes for pods to go.
SCALE_DOWN_S = 15


class Manifests:
    def __init__(self, k8s: pathlib.Path, work: pathlib.Path, kubectl: str) -> None:
        self.k8s, self.work, self.kubectl = k8s, work, kubectl

    def kustomize(self, folder: pathlib.Path) -> list[dict]:
        done = subprocess.run([self.kubectl, "kustomize", str(folder)], text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise Unexpected(f"kubectl kustomize {folder}: {done.stderr}")
        return [translated(document) for document in yaml.safe_load_all(done.stdout) if document]

    def overlay(self, name: str = "kind") -> list[dict]:
        """All of it, without its namespace, which the scenes make themselves."""
        return [one for one in self.kustomize(self.k8s / "overlays" / name) if one["kind"] != "Namespace"]

    def server(self, *components: str, small: bool = True) -> list[dict]:
        """The server alone with these components, and as small as the overlay for one machine makes it."""
        folder = self.work / "kustomize" / "-".join(("base", *components))
        folder.mkdir(parents=True, exist_ok=True)
        to = lambda path: os.path.relpath(self.k8s / path, folder.resolve())  # noqa: E731
        wrapper = {"namespace": NAMESPACE, "resources": [to("base")], "components": [to(f"components/{name}") for name in components]}
        if small:
            shutil.copy(self.k8s / "overlays/local/small.yaml", folder / "small.yaml")
            wrapper["patches"] = [{"path": "small.yaml"}]
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(wrapper))
        return self.kustomize(folder)

    def chart(self) -> pathlib.Path:
        """The chart with the older names."""
        folder = self.work / "chart"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.k8s / "helm/nereid", folder)
        for file in (folder / "Chart.yaml", *(folder / "templates").glob("*.yaml")):
            text = file.read_text().replace(CHART_NEEDS, 'kubeVersion: ">=1.20.0-0"')
            for new, old in OLDER.items():
                text = text.replace(f"apiVersion: {new}\n", f"apiVersion: {old}\n")
            file.write_text(text)
        test = folder / "templates/tests/ready.yaml"
        text = test.read_text()
        for port, node_port in PORTS.items():
            text = text.replace(f"{SERVICE}{port}/", f"http://{NODE_IP}:{node_port}/")
        test.write_text(text)
        return folder


def translated(document: dict) -> dict:
    return document | {"apiVersion": OLDER.get(document["apiVersion"], document["apiVersion"])}


def of_kind(documents: list[dict], kind: str) -> dict:
    (one,) = [document for document in documents if (document["kind"], document["metadata"]["name"]) == (kind, "nereid")]
    return one


def quick(documents: list[dict]) -> list[dict]:
    """An autoscaler that waits less before it scales down."""
    documents = copy.deepcopy(documents)
    of_kind(documents, "HorizontalPodAutoscaler")["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] = SCALE_DOWN_S
    return documents


def server(documents: list[dict]) -> dict:
    """The server's container, to change."""
    (container,) = of_kind(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
    return container


def with_replicas(documents: list[dict], count: int) -> list[dict]:
    documents = copy.deepcopy(documents)
    of_kind(documents, "Deployment")["spec"]["replicas"] = count
    return documents


def with_args(documents: list[dict], *args: str) -> list[dict]:
    """Further flags; one that is there already is replaced."""
    documents = copy.deepcopy(documents)
    container = server(documents)
    names = {arg.split("=")[0] for arg in args}
    container["args"] = [arg for arg in container["args"] if arg.split("=")[0] not in names] + list(args)
    return documents


def with_limit(documents: list[dict], memory: str) -> list[dict]:
    documents = copy.deepcopy(documents)
    resources = server(documents)["resources"]
    resources["limits"]["memory"] = memory
    resources["requests"]["memory"] = memory
    return documents


def with_models(documents: list[dict], configs: dict[str, str], files: dict[str, str] | None = None) -> list[dict]:
    """A repository of models without weights, from a ConfigMap, beside the one in the image."""
    documents = copy.deepcopy(documents)
    data = {f"{name}.config": config for name, config in configs.items()} | {"empty": ""}
    items = [{"key": f"{name}.config", "path": f"{name}/config.pbtxt"} for name in configs] + [{"key": "empty", "path": f"{name}/1/empty"} for name in configs]
    for path, text in (files or {}).items():
        data[path.replace("/", "-")] = text
        items.append({"key": path.replace("/", "-"), "path": path})
    documents.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more-models", "namespace": NAMESPACE}, "data": data})
    spec = of_kind(documents, "Deployment")["spec"]["template"]["spec"]
    spec["volumes"].append({"name": "more-models", "configMap": {"name": "more-models", "items": items}})
    container = server(documents)
    container["volumeMounts"].append({"name": "more-models", "mountPath": "/more-models"})
    container["args"].append("--model-repository=/more-models")
    return documents
