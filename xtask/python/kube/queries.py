"""Every query of the dashboard, the autoscalers and the alerts, asked of a Prometheus that scrapes a server under load."""

import json
import pathlib
import re
from collections.abc import Iterator

import yaml

from monitoring import FOLDER
from report import check
from running import ask

GPU = re.compile(r"\bnv_(gpu|energy)_")
OURS = re.compile(r"\b(?:nv|nereid)_[a-z_]+\b")
VARIABLES = {"$namespace": ".*", "$pod": ".*", "$model": ".*", "$__rate_interval": "10s", "$__range": "10s"}


def filled(query: str) -> str:
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    return query


def dashboard(k8s: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Title and query of each target, annotation and variable."""
    board = json.loads((k8s / FOLDER / "dashboards/nereid.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for annotation in board["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["target"]["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            query = variable["query"]["query"]
            selector = re.fullmatch(r"label_values\((.*), \w+\)", query)
            yield f"variable {variable['name']}", selector[1] if selector else query


def autoscalers(k8s: pathlib.Path) -> Iterator[tuple[str, str]]:
    """What KEDA and prometheus-adapter ask."""
    keda = yaml.safe_load((k8s / "components/keda/scaledobject.yaml").read_text())
    for trigger in keda["spec"]["triggers"]:
        yield "KEDA", trigger["metadata"]["query"]
    adapter = yaml.safe_load((k8s / "monitoring/prometheus-adapter-values.yaml").read_text())
    for rule in adapter["rules"]["custom"]:
        yield "prometheus-adapter, series", rule["seriesQuery"]
        name = rule["seriesQuery"].split("{")[0]
        asked = {"<<.Series>>": name, "<<.LabelMatchers>>": 'namespace="nereid",pod=~"nereid-0|nereid-1"', "<<.GroupBy>>": "pod"}
        query = rule["metricsQuery"]
        for placeholder, value in asked.items():
            query = query.replace(placeholder, value)
        yield "prometheus-adapter, pods", query


def one_query(prometheus: int, query: str) -> list[str]:
    result, error = ask(prometheus, query)
    if error:
        return [f"{error}: {query}"]
    if not result and not GPU.search(query):
        return [f"no data: {query}"]
    if result and GPU.search(query):
        return [f"data without a GPU: {query}"]
    return [f"NaN: {query}"] if any(sample["value"][1] == "NaN" for sample in result) else []


def alert(prometheus: int, rule: dict, slow: str, broken: str) -> list[str]:
    """It parses, what it compares is there, and it fires for the model that is slow if for any, or about one that is not ready."""
    result, error = ask(prometheus, rule["expr"])
    if error:
        return [f"{error}: {rule['expr']}"]
    about_readiness = rule["alert"] == "ModelNotReady"
    reason = broken if about_readiness else slow
    fires = [series["metric"] for series in result if series["metric"].get("model") != reason]
    problems = [f"fires without a reason: {fires}"] if fires else []
    if about_readiness and not result:
        problems.append(f"does not fire for {broken}, which failed to load")
    for name in sorted(set(OURS.findall(rule["expr"]))):
        if not GPU.match(name) and not ask(prometheus, f"count({name})")[0]:
            problems.append(f"there is no {name}")
    compared = re.fullmatch(r"(?s)(.*?)\s+>\s+[0-9.]+\s*", rule["expr"])
    if compared and not GPU.search(rule["expr"]) and not ask(prometheus, compared[1])[0]:
        problems.append(f"nothing to compare: {compared[1]}")
    return problems


def run(k8s: pathlib.Path, prometheus: int, slow: str, broken: str) -> None:
    group, without = "queries", "parses; no GPU here"
    for title, query in dashboard(k8s):
        check(group, f"dashboard: {title}", one_query(prometheus, filled(query)), without if GPU.search(query) else "")
    for title, query in autoscalers(k8s):
        check(group, f"autoscaler: {title}", one_query(prometheus, query))
    rules = yaml.safe_load((k8s / FOLDER / "rules/triton-alerts.yml").read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        check(group, f"alert: {rule['alert']}", alert(prometheus, rule, slow, broken), without if GPU.search(rule["expr"]) else "")
