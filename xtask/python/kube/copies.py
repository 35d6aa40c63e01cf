"""What is said twice must say the same: the rules in a PrometheusRule, the server in the base and in the chart."""

import pathlib

import yaml

RULES = "helm/nereid/files/monitoring/rules/triton-alerts.yml"
MANIFEST = "components/prometheus-operator/prometheusrule.yaml"
HEAD = f"""# Made from {RULES} by `cargo xtask kube --write`; change that file.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: triton-alerts
  labels:
    app.kubernetes.io/name: nereid
    release: kube-prometheus-stack # the label by which that chart's Prometheus chooses
spec:
"""


def manifest(k8s: pathlib.Path) -> str:
    """The PrometheusRule: the rules, two columns to the right."""
    lines = (k8s / RULES).read_text().splitlines()
    return HEAD + "".join(f"  {line}\n" if line else "\n" for line in lines if not line.startswith("#"))


def write(k8s: pathlib.Path) -> None:
    (k8s / MANIFEST).write_text(manifest(k8s))


def stale(k8s: pathlib.Path) -> list[str]:
    file = k8s / MANIFEST
    if file.exists() and file.read_text() == manifest(k8s):
        return []
    return [f"{MANIFEST} is not what `cargo xtask kube --write` makes of {RULES}"]


def one(documents: list[dict], kind: str, name: str = "") -> dict:
    """The document of this kind (and beginning of a name)."""
    return next(d for d in documents if d["kind"] == kind and d["metadata"]["name"].startswith(name))


def server(base: list[dict], chart: list[dict]) -> list[str]:
    """Differences between the server of the base and that of the chart with its default values."""
    problems = []
    for kind, parts in {
        "Deployment": [("strategy",), ("template", "spec"), ("template", "metadata", "annotations")],
        "Service": [("type",), ("ports",)],
        "PodDisruptionBudget": [("maxUnavailable",)],
    }.items():
        for part in parts:
            ours, theirs = one(base, kind)["spec"], one(chart, kind)["spec"]
            for key in part:
                ours, theirs = ours[key], theirs[key]
            differences(f"{kind} {'.'.join(part)}", ours, theirs, problems)
    return problems


def differences(where: str, ours: object, theirs: object, into: list[str]) -> None:
    """Each leaf that differs; labels are the release's own business in a chart."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            if key != "matchLabels":
                differences(f"{where}.{key}", ours.get(key), theirs.get(key), into)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        if all(isinstance(item, str) for item in ours + theirs):
            ours, theirs = sorted(ours), sorted(theirs)
        for index, (left, right) in enumerate(zip(ours, theirs, strict=True)):
            differences(f"{where}[{index}]", left, right, into)
    elif ours != theirs:
        into.append(f"{where}: {ours!r} in the base, {theirs!r} in the chart")


def stack(plain: list[dict], chart: list[dict]) -> list[str]:
    """Everything of the plain monitoring must be in the chart, and its configuration the same."""
    problems = []
    for document in plain:
        kind, name = document["kind"], document["metadata"]["name"]
        if kind != "ConfigMap":
            if not any((d["kind"], d["metadata"]["name"]) == (kind, name) for d in chart):
                problems.append(f"{kind} {name} is not in the chart")
            continue
        theirs = next((d for d in chart if d["kind"] == kind and name.startswith(d["metadata"]["name"])), None)
        if theirs is None or parsed(theirs) != parsed(document):
            problems.append(f"ConfigMap {name} is another one in the chart")
    return problems


def parsed(config: dict) -> dict:
    return {name: yaml.safe_load(text) for name, text in config["data"].items()}
