"""The CPU image, built for real by buildah and run by runc as a pod would run it: user 65532, a read-only root file system, no
capabilities, a network of its own. The base is made by debootstrap, so that no registry is asked for images."""

import configparser
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from report import FAILED, check, say
from running import wait_until
from tools import Tool

GROUP = "container"
BASE = "localhost/debian:bookworm-slim"
BUILD_BASE = "localhost/nereid-check-base:1"
IMAGE = "localhost/nereid-check:1"
LIMIT_BYTES = 120_000_000
NETWORK = f"nereid-check-{os.getpid()}"
KSERVE = ["tritonserver", "--model-store=/mnt/models", "--grpc-port=9000", "--http-port=8080", "--allow-grpc=true", "--allow-http=true"]

# Answers the seven, seen from inside the container's network.
ASK = """
import json, sys, urllib.request
answer = urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/v2/models/{sys.argv[3]}/infer", open(sys.argv[2], "rb").read(), 30)
data = json.load(answer)["outputs"][0]["data"]
sys.exit(data.index(max(data)) != 7)
"""


def sh(*command: object, seconds: int = 600) -> str:
    done = subprocess.run([str(c) for c in command], text=True, capture_output=True, timeout=seconds, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(str(c) for c in command[:4])} …: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout.strip()


def base(work: pathlib.Path) -> None:
    """Debian, and on top of it what this machine has set up to reach its package registries."""
    if not sh("buildah", "images", "--quiet", "--filter", f"reference={BASE}"):
        root = work / "debian"
        shutil.rmtree(root, ignore_errors=True)
        sh("debootstrap", "--variant=minbase", "bookworm", root)
        container = sh("buildah", "from", "scratch")
        sh("buildah", "add", "--quiet", container, root, "/")
        sh("buildah", "commit", "--quiet", "--rm", container, BASE)
        shutil.rmtree(root)
    container = sh("buildah", "from", BASE)
    for file in pathlib.Path("/etc/apt/apt.conf.d").glob("*"):
        sh("buildah", "copy", "--quiet", container, file, file)
    pip = configparser.ConfigParser()
    pip.read("/etc/pip.conf")
    if certificates := os.environ.get("PIP_CERT"):
        sh("buildah", "copy", "--quiet", container, certificates, "/etc/pip-certificates.pem")
        pip.read_dict({"global": {"cert": "/etc/pip-certificates.pem"}})
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        pip.write(config)
        config.flush()
        sh("buildah", "copy", "--quiet", "--chmod", "0644", container, config.name, "/etc/pip.conf")
    sh("buildah", "commit", "--quiet", "--rm", container, BUILD_BASE)


def build(root: pathlib.Path, server: str, tag: str = IMAGE) -> None:
    """The Dockerfile that ships, with a server that was built before."""
    prebuilt = root / "docker/prebuilt"
    prebuilt.mkdir(exist_ok=True)
    shutil.copy2(server, prebuilt / "nereid")
    arguments = {"BASE": BUILD_BASE, "RUST": BUILD_BASE, "SERVER": "prebuilt"}
    flags = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
    sh("buildah", "bud", "--isolation", "chroot", "--format", "docker", *flags, "--file", root / "docker/Dockerfile", "--tag", tag, root, seconds=900)


def size(root: pathlib.Path) -> int:
    return sum(file.lstat().st_size for file in root.rglob("*") if file.is_file() and not file.is_symlink())


class Container:
    """One run of `command`, told to end when the block does. `code` is what it ended with."""

    def __init__(self, work: pathlib.Path, root: str, command: list[str], path: str, **environment: str) -> None:
        self.name = f"{NETWORK}-{len(list(work.glob('bundle-*')))}"
        self.bundle = work / f"bundle-{self.name}"
        self.log = self.bundle / "log"
        self.bundle.mkdir()
        sh("runc", "spec", "--bundle", self.bundle)
        spec = json.loads((self.bundle / "config.json").read_text())
        process = spec["process"]
        process |= {"terminal": False, "args": command, "cwd": "/tmp", "noNewPrivileges": True, "user": {"uid": 65532, "gid": 65532}}
        process |= {"env": [f"PATH={path}", *(f"{k}={v}" for k, v in environment.items())], "capabilities": {}}
        spec["root"] = {"path": root, "readonly": True}
        spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]})
        spec["linux"].pop("resources", None)
        for namespace in spec["linux"]["namespaces"]:
            if namespace["type"] == "network":
                namespace["path"] = f"/run/netns/{NETWORK}"
        (self.bundle / "config.json").write_text(json.dumps(spec))
        self.code: int | None = None

    def __enter__(self) -> "Container":
        self.sink = open(self.log, "wb")
        self.process = subprocess.Popen(["runc", "run", "--bundle", str(self.bundle), self.name], stdin=subprocess.DEVNULL, stdout=self.sink, stderr=self.sink)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            subprocess.run(["runc", "kill", self.name, "TERM"], capture_output=True, check=False)
        try:
            self.code = self.process.wait(40)
        except subprocess.TimeoutExpired:
            subprocess.run(["runc", "kill", self.name, "KILL"], capture_output=True, check=False)
            self.process.wait(40)
        subprocess.run(["runc", "delete", "--force", self.name], capture_output=True, check=False)
        self.sink.close()

    def run(self, *command: str) -> int:
        return subprocess.run(["runc", "exec", self.name, *command], capture_output=True, timeout=60, check=False).returncode

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@contextlib.contextmanager
def mounted() -> Iterator[str]:
    """The root of a container of the image, in a network with nothing but loopback."""
    container = sh("buildah", "from", IMAGE)
    sh("ip", "netns", "add", NETWORK)
    try:
        sh("ip", "-n", NETWORK, "link", "set", "lo", "up")
        yield sh("buildah", "mount", container)
    finally:
        sh("ip", "netns", "del", NETWORK)
        sh("buildah", "rm", container)


def answers(root: pathlib.Path, port: int, model: str = "mnist_mlp") -> list[str]:
    asking = ["ip", "netns", "exec", NETWORK, sys.executable, "-c", ASK, str(port), str(root / "samples/digits/seven.json"), model]
    done = subprocess.run(asking, text=True, capture_output=True, timeout=60, check=False)
    return [done.stderr[-500:] or "the seven is none"] if done.returncode else []


def run(root: pathlib.Path, work: pathlib.Path, server: str) -> None:
    tools = {"buildah": "buildah", "runc": "runc", "debootstrap": "debootstrap", "ip": "iproute2"}
    if not all(Tool(shutil.which(name) or "", f"{name} (Debian: {package}), as root").is_there(GROUP, "image") for name, package in tools.items()):
        return
    for old in work.glob("bundle-*"):
        shutil.rmtree(old)
    base(work)
    build(root, server)
    image = json.loads(sh("buildah", "inspect", "--type", "image", IMAGE))["Docker"]["config"]
    say("ok", GROUP, "buildah builds docker/Dockerfile")
    path = next(entry for entry in image["Env"] if entry.startswith("PATH=")).removeprefix("PATH=")
    probe = image["Healthcheck"]["Test"][1:]
    with mounted() as at:
        total = size(pathlib.Path(at))
        check(GROUP, f"is smaller than {LIMIT_BYTES // 10**6} MB", [] if total < LIMIT_BYTES else [f"{total} bytes"], f"{total / 1e6:.1f} MB")
        check(GROUP, "is not root's", [] if image["User"] == "65532:65532" else [image["User"]])
        with Container(work, at, image["Cmd"], path) as container:
            wait_until(lambda: container.run(*probe) == 0 or container.process.poll() is not None, "the health check is good")
            check(GROUP, "its health check tells a wrong path", [] if container.run(*[w.replace("ready", "readyy") for w in probe]) else ["it does not"])
            check(GROUP, "answers", answers(root, 8000))
            writes = [f"{file} can be written" for file in ("/x", "/models/x", "/opt/nereid/x") if container.run("touch", file) == 0]
            check(GROUP, "writes to /tmp only", writes + ([] if container.run("sh", "-c", "echo > /tmp/x") == 0 else ["/tmp cannot be written"]))
        check(GROUP, "ends with 0 at SIGTERM", [] if container.code == 0 else [f"{container.code}:\n{container.said()}"])
        mounted_store = pathlib.Path(at) / "mnt/models"
        mounted_store.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / "model_repository/mnist_mlp/1/model.onnx", mounted_store / "model.onnx")
        with Container(work, at, KSERVE, path) as container:
            live = ("wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/v2/health/ready")
            wait_until(lambda: container.run(*live) == 0 or container.process.poll() is not None, "KServe's command line serves")
            check(GROUP, "serves a bare model.onnx by KServe's command line", answers(root, 8080, "model"))
            with Container(work, at, KSERVE, path) as second:
                wait_until(lambda: second.process.poll() is not None, "a port in use ends the server")
            good = second.code == 1 and "Address already in use" in second.said().splitlines()[-1]
            check(GROUP, "a port in use ends with 1 and says so", [] if good else [f"{second.code}:\n{second.said()}"])
        for what, command, environment, reason in [
            ("a wrong mount", ["nereid", "--model-repository=/nowhere"], {}, "/nowhere"),
            ("a missing library", ["nereid", "--model-repository=/models"], {"ORT_DYLIB_PATH": "/nowhere.so"}, "/nowhere.so"),
        ]:
            with Container(work, at, command, path, **environment) as container:
                wait_until(lambda: container.process.poll() is not None, f"{what} ends the server")
            good = container.code == 1 and reason in container.said().splitlines()[-1]
            check(GROUP, f"{what} ends with 1 and says so", [] if good else [f"{container.code}:\n{container.said()}"])


def run_all(root: pathlib.Path, work: pathlib.Path, server: str) -> None:
    try:
        run(root, work, server)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        say(FAILED, GROUP, "image", str(error))
