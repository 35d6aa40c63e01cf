"""Rules, their tests, and the configurations of Prometheus and Alertmanager, by the programs that read them."""

import pathlib

import yaml

from report import check
from tools import Tool

FOLDER = "helm/nereid/files/monitoring"


def scrapes(k8s: pathlib.Path, target: str, rules: pathlib.Path) -> dict:
    """Our prometheus.yml with one server at `target` instead of what a cluster would show, and every second."""
    config = yaml.safe_load((k8s / FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(rules)]
    del config["alerting"]
    (job,) = [job for job in config["scrape_configs"] if job["job_name"] == "nereid"]
    del job["kubernetes_sd_configs"], job["relabel_configs"]
    job["static_configs"] = [{"targets": [target], "labels": {"namespace": "nereid", "pod": "nereid-0", "node": "node1"}}]
    config["scrape_configs"] = [job]
    return config


def run(k8s: pathlib.Path, work: pathlib.Path, promtool: Tool, amtool: Tool, victoria: Tool) -> None:
    rules = k8s / FOLDER / "rules/triton-alerts.yml"
    if promtool.is_there("monitoring", "rules, their tests, prometheus.yml"):
        check("monitoring", "promtool check rules", promtool.problems("check", "rules", rules))
        for file in sorted((k8s / "monitoring/tests").glob("*.test.yml")):
            check("monitoring", f"promtool test rules {file.name}", promtool.problems("test", "rules", file))
        check("monitoring", "each alert has a test in which it fires", untested(k8s, rules))
        config = work / "prometheus.yml"
        config.write_text(yaml.safe_dump(scrapes(k8s, "127.0.0.1:8002", rules)))
        check("monitoring", "promtool check config, with static targets", promtool.problems("check", "config", config))
    if amtool.is_there("monitoring", "amtool check-config"):
        check("monitoring", "amtool check-config", amtool.problems("check-config", k8s / FOLDER / "alertmanager.yml"))
        check("monitoring", "amtool routes", routes(k8s, amtool))
    # Debian's Prometheus is built without discovery in a cluster; this one reads it too.
    if victoria.is_there("monitoring", "prometheus.yml, with discovery in a cluster"):
        config = yaml.safe_load((k8s / FOLDER / "prometheus.yml").read_text())
        config["global"].pop("evaluation_interval")  # it knows no rules
        file = work / "scrapes.yml"
        file.write_text(yaml.safe_dump({key: config[key] for key in ("global", "scrape_configs")}))
        flags = ["-promscrape.config.dryRun", "-promscrape.config.strictParse", f"-promscrape.config={file}"]
        check("monitoring", "prometheus.yml, with discovery in a cluster", victoria.problems(*flags, cwd=work))


def untested(k8s: pathlib.Path, rules: pathlib.Path) -> list[str]:
    alerts = {rule["alert"] for group in yaml.safe_load(rules.read_text())["groups"] for rule in group["rules"]}
    fires = {
        case["alertname"]
        for file in (k8s / "monitoring/tests").glob("*.test.yml")
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test.get("alert_rule_test", [])
        if case["exp_alerts"]
    }
    return [f"{alert} fires in no test" for alert in sorted(alerts - fires)]


def routes(k8s: pathlib.Path, amtool: Tool) -> list[str]:
    """Which receiver an alert goes to."""
    problems = []
    for severity, receiver in {"critical": "on-call", "warning": "team"}.items():
        done = amtool.run("config", "routes", "test", f"--config.file={k8s / FOLDER / 'alertmanager.yml'}", f"severity={severity}")
        if done.stdout.strip() != receiver:
            problems.append(f"severity {severity} goes to {done.stdout.strip() or done.stderr}, not to {receiver}")
    return problems
