"""A server with traffic, the Prometheus that scrapes it and the Alertmanager that is told: what `queries` and `delivery`
look at. One model is slow on purpose and one does not load, so that alerts have a reason."""

import contextlib
import json
import pathlib
import shutil
import threading

import yaml

import delivery
import queries
from monitoring import FOLDER, scrapes
from report import SKIPPED, check, say
from running import ask, free_ports, get, process, wait_until
from tools import Tool

GROUP = "running"
CLIENTS = 3  # for each model
SCRAPES = 6  # a second each
MODELS = ("mnist_mlp", "mnist_cached")
SLOW = "slow"
BROKEN = "broken"
SLOW_CONFIG = """name: "slow"
backend: "identity"
input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 1 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
parameters { key: "execute_delay_ms" value { string_value: "300" } }
"""
SLOW_BODY = json.dumps({"inputs": [{"name": "INPUT0", "shape": [1], "datatype": "FP32", "data": [1]}]}).encode()


def repository(root: pathlib.Path, work: pathlib.Path) -> pathlib.Path:
    """mnist_mlp, the same with a response cache, the slow one, and one that no backend takes."""
    models = work / "models"
    shutil.rmtree(models, ignore_errors=True)
    for name in MODELS:
        shutil.copytree(root / "model_repository/mnist_mlp", models / name)
    config = models / "mnist_cached/config.pbtxt"
    config.write_text(config.read_text().replace('"mnist_mlp"', '"mnist_cached"') + "response_cache { enable: true }\n")
    (models / SLOW / "1").mkdir(parents=True)
    (models / SLOW / "config.pbtxt").write_text(SLOW_CONFIG)
    (models / BROKEN / "1").mkdir(parents=True)
    (models / BROKEN / "config.pbtxt").write_text(SLOW_CONFIG.replace(f'"{SLOW}"', f'"{BROKEN}"').replace('"identity"', '"nosuch"'))
    return models


class Load:
    """Requests to every model until the block ends. `problems` is what went wrong."""

    def __init__(self, port: int, body: bytes) -> None:
        self.port, self.problems, self.over = port, [], threading.Event()
        sent = [(model, body) for model in MODELS for _ in range(CLIENTS)] + [(SLOW, SLOW_BODY)]
        self.clients = [threading.Thread(target=self.client, args=each) for each in sent]

    def __enter__(self) -> "Load":
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for client in self.clients:
            client.join()

    def client(self, model: str, body: bytes) -> None:
        try:
            while not self.over.is_set():
                status, answer = get(self.port, f"/v2/models/{model}/infer", body)
                if status != 200:
                    raise OSError(f"{model}: {status}: {answer[:200]!r}")
        except OSError as error:
            self.problems.append(str(error))


def run(root: pathlib.Path, work: pathlib.Path, server: str, prometheus: Tool, alertmanager: Tool, promtool: Tool) -> None:
    k8s, what = root / "k8s", "dashboard and alerts on a running server"
    if not server:
        return say(SKIPPED, GROUP, what, "left out by --without-server")
    if not prometheus.is_there(GROUP, what):
        return None
    http_port, grpc_port, metrics_port, port, alerts_port = free_ports(5)
    receiver = delivery.Receiver()
    with contextlib.ExitStack() as running:
        ports = [f"--http-port={http_port}", f"--grpc-port={grpc_port}", f"--metrics-port={metrics_port}"]
        local = ["--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--cache-config=local,size=1048576"]
        local += ["--exit-on-error=false", "--strict-readiness=false"]
        served = [server, f"--model-repository={repository(root, work)}", *local, *ports]
        running.enter_context(process(served, work / "nereid.log", http_port, "/v2/health/ready"))

        rules = k8s / FOLDER / "rules/triton-alerts.yml"
        config, data = work / "prometheus.yml", work / "prometheus-data"
        shutil.rmtree(data, ignore_errors=True)
        scraped = scrapes(k8s, f"127.0.0.1:{metrics_port}", rules)
        scraped["rule_files"].append(str(delivery.quick(rules, work / "quick-alerts.yml")))
        delivers = alertmanager.is_there(GROUP, "an alert reaches its receiver")
        if delivers:
            running.enter_context(receiver.listening())
            command = delivery.alertmanager(k8s, work, alertmanager.path, alerts_port, receiver.port)
            running.enter_context(process(command, work / "alertmanager.log", alerts_port, "/-/ready"))
            scraped["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alerts_port}"]}]}]}
        config.write_text(yaml.safe_dump(scraped))
        command = [prometheus.path, f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{port}"]
        running.enter_context(process(command, work / "prometheus.log", port, "/-/ready"))

        with Load(http_port, (root / "samples/digits/seven.json").read_bytes()) as load:
            wait_until(lambda: ask(port, f'count_over_time(up{{job="nereid"}}[1m]) >= {SCRAPES}')[0], f"{SCRAPES} scrapes")
            wait_until(lambda: ask(port, f'ALERTS{{alertstate="firing", alertname="HighLatency", model="{SLOW}"}}')[0], "HighLatency fires")
            queries.run(k8s, port, SLOW, BROKEN)
            if delivers:
                wait_until(lambda: receiver.got("/team", "firing", alertname="HighLatency", model=SLOW), "the receiver hears of it")
        check(GROUP, "every request was answered", load.problems)
        if delivers:
            wait_until(lambda: receiver.got("/team", "resolved", alertname="HighLatency", model=SLOW), "the receiver hears that it is over")
            wrong = [f"{path}: {labels}" for path, _, labels in receiver.received if labels.get("model") in MODELS]
            check(GROUP, "HighLatency reaches its receiver, and its end does, and of others nothing", wrong)
        page = get(metrics_port, "/metrics")[1].decode()
    if promtool.is_there(GROUP, "promtool check metrics"):
        done = promtool.run("check", "metrics", input=page)
        # Triton's names are as they are; ours must be good.
        check(GROUP, "promtool check metrics, our own names", [line for line in (done.stderr + done.stdout).splitlines() if "nereid_" in line])
    return None
