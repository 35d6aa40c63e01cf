"""An alert's whole way: our rules, with shorter times, in a Prometheus; our routes in an Alertmanager; a receiver."""

import contextlib
import http.server
import json
import pathlib
import re
import shutil
import threading
import urllib.parse
from collections.abc import Iterator

import yaml

from monitoring import FOLDER


def quick(rules: pathlib.Path, into: pathlib.Path) -> pathlib.Path:
    """The same rules over seconds instead of minutes."""
    text = re.sub(r"\[\d+m\]", "[5s]", rules.read_text())
    into.write_text(re.sub(r"(?m)^(\s+for:) .*$", r"\1 1s", text).replace("- name: ", "- name: quick-"))
    return into


class Receiver:
    """What webhooks were sent: path, state, and the labels of each alert."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str, dict]] = []
        received = self.received

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                received.extend((self.path, alert["status"], alert["labels"]) for alert in body["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    @contextlib.contextmanager
    def listening(self) -> Iterator["Receiver"]:
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()

    def got(self, path: str, state: str, **labels: str) -> bool:
        return any((p, s) == (path, state) and labels.items() <= its.items() for p, s, its in list(self.received))


def alertmanager(k8s: pathlib.Path, work: pathlib.Path, program: str, port: int, receiver: int) -> list[object]:
    """The command that runs Alertmanager with our routes, without waiting, and with receivers on loopback."""
    config = yaml.safe_load((k8s / FOLDER / "alertmanager.yml").read_text())
    config["route"] |= {"group_wait": "0s", "group_interval": "1s"}
    for one in config["receivers"]:
        for hook in one["webhook_configs"]:
            hook["url"] = f"http://127.0.0.1:{receiver}{urllib.parse.urlsplit(hook['url']).path}"
    file, data = work / "alertmanager.yml", work / "alertmanager-data"
    file.write_text(yaml.safe_dump(config))
    shutil.rmtree(data, ignore_errors=True)
    return [program, f"--config.file={file}", f"--storage.path={data}", f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
