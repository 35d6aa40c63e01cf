"""Every query of the dashboard and of the alerts, asked of a real Prometheus that scrapes a real server under load."""

import contextlib
import http.client
import json
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator

import yaml

from monitoring import FOLDER, scrapes
from report import SKIPPED, check, say
from tools import Tool

CLIENTS = 4
SCRAPES = 6  # a second each
WAIT_S = 60
MODELS = ("mnist_mlp", "mnist_cached")
GPU = re.compile(r"\bnv_(gpu|energy)_")
OURS = re.compile(r"\b(?:nv|nereid)_[a-z_]+\b")
VARIABLES = {"$namespace": ".*", "$pod": ".*", "$model": ".*", "$__rate_interval": "10s", "$__range": "10s"}


def free_ports(count: int) -> list[int]:
    """All different, hence all taken before the first is given back."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


def get(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET" if body is None else "POST", path, body)
        response = connection.getresponse()
        return response.status, response.read()


@contextlib.contextmanager
def process(command: list[object], log: pathlib.Path, port: int, path: str) -> Iterator[None]:
    """A program that runs until the block ends, and that answers 200 to `path` when it begins."""
    with open(log, "wb") as sink:
        running = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + WAIT_S
        while True:
            with contextlib.suppress(OSError):
                if get(port, path)[0] == 200:
                    break
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not answer {path}:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        running.terminate()
        running.wait(60)


def repository(root: pathlib.Path, work: pathlib.Path) -> pathlib.Path:
    """mnist_mlp, and the same with a response cache."""
    models = work / "models"
    shutil.rmtree(models, ignore_errors=True)
    for name in MODELS:
        shutil.copytree(root / "model_repository/mnist_mlp", models / name)
    config = models / "mnist_cached/config.pbtxt"
    config.write_text(config.read_text().replace('"mnist_mlp"', '"mnist_cached"') + "response_cache { enable: true }\n")
    return models


class Load:
    """Requests to both models from a few clients until the block ends. `problems` is what went wrong."""

    def __init__(self, port: int, body: bytes) -> None:
        self.port, self.body, self.problems, self.over = port, body, [], threading.Event()
        self.clients = [threading.Thread(target=self.client, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for client in self.clients:
            client.join()

    def client(self, number: int) -> None:
        try:
            while not self.over.is_set():
                number += 1
                status, answer = get(self.port, f"/v2/models/{MODELS[number % len(MODELS)]}/infer", self.body)
                if status != 200:
                    raise OSError(f"{status}: {answer[:200]!r}")
        except OSError as error:
            self.problems.append(str(error))


def wait_for_scrapes(prometheus: int) -> None:
    """Until rates over a few seconds have something to go by."""
    deadline = time.monotonic() + WAIT_S
    query = f'count_over_time(up{{job="nereid"}}[1m]) >= {SCRAPES}'
    while not ask(prometheus, query)[0]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"there were no {SCRAPES} scrapes in {WAIT_S} s")
        time.sleep(0.2)


def ask(prometheus: int, query: str) -> tuple[list, str]:
    """The result, or what is wrong with the query."""
    status, body = get(prometheus, "/api/v1/query?" + urllib.parse.urlencode({"query": query}))
    answer = json.loads(body)
    return (answer["data"]["result"], "") if status == 200 else ([], answer["error"])


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
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            selector = re.fullmatch(r"label_values\((.*), \w+\)", variable["definition"])
            yield f"variable {variable['name']}", selector[1] if selector else variable["definition"]


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


def alert(prometheus: int, rule: dict) -> list[str]:
    """It parses, what it compares is there, and it does not fire."""
    result, error = ask(prometheus, rule["expr"])
    if error:
        return [f"{error}: {rule['expr']}"]
    problems = [f"fires on a healthy server: {result}"] if result else []
    for name in sorted(set(OURS.findall(rule["expr"]))):
        if not GPU.match(name) and not ask(prometheus, f"count({name})")[0]:
            problems.append(f"there is no {name}")
    compared = re.fullmatch(r"(?s)(.*?)\s+>\s+[0-9.]+\s*", rule["expr"])
    if compared and not GPU.search(rule["expr"]) and not ask(prometheus, compared[1])[0]:
        problems.append(f"nothing to compare: {compared[1]}")
    return problems


def run(root: pathlib.Path, work: pathlib.Path, server: str, prometheus: Tool, promtool: Tool) -> None:
    k8s = root / "k8s"
    group, what = "queries", "dashboard and alerts on a running server"
    if not server:
        return say(SKIPPED, group, what, "left out by --without-server")
    if not prometheus.is_there(group, what):
        return None
    http_port, grpc_port, metrics_port, port = free_ports(4)
    rules = k8s / FOLDER / "rules/triton-alerts.yml"
    config, data = work / "prometheus.yml", work / "prometheus-data"
    config.write_text(yaml.safe_dump(scrapes(k8s, f"127.0.0.1:{metrics_port}", rules)))
    shutil.rmtree(data, ignore_errors=True)
    ports = [f"--http-port={http_port}", f"--grpc-port={grpc_port}", f"--metrics-port={metrics_port}"]
    served = [server, f"--model-repository={repository(root, work)}", "--http-address=127.0.0.1", "--grpc-address=127.0.0.1", *ports, "--cache-config=local,size=1048576"]
    scraper = [prometheus.path, f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address=127.0.0.1:{port}"]
    body = (root / "samples/digits/seven.json").read_bytes()
    with contextlib.ExitStack() as running:
        running.enter_context(process(served, work / "nereid.log", http_port, "/v2/health/ready"))
        running.enter_context(process(scraper, work / "prometheus.log", port, "/-/ready"))
        with Load(http_port, body) as under_load:
            wait_for_scrapes(port)
            ask_everything(k8s, port)
        check(group, "every request was answered", under_load.problems)
        page = get(metrics_port, "/metrics")[1].decode()
    if promtool.is_there(group, "promtool check metrics"):
        done = promtool.run("check", "metrics", input=page)
        # Triton's names are as they are; ours must be good.
        check(group, "promtool check metrics, our own names", [line for line in (done.stderr + done.stdout).splitlines() if "nereid_" in line])
    return None


def ask_everything(k8s: pathlib.Path, prometheus: int) -> None:
    group, without = "queries", "parses; no GPU here"
    for title, query in dashboard(k8s):
        check(group, f"dashboard: {title}", one_query(prometheus, filled(query)), without if GPU.search(query) else "")
    for title, query in autoscalers(k8s):
        check(group, f"autoscaler: {title}", one_query(prometheus, query))
    rules = yaml.safe_load((k8s / FOLDER / "rules/triton-alerts.yml").read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        check("queries", f"alert: {rule['alert']}", alert(prometheus, rule), without if GPU.search(rule["expr"]) else "")
