"""The lab of this machine: where it is, what it lacks, up, down, and whether anything is left."""

import contextlib
import functools
import os
import pathlib
import shutil
import subprocess

BINARIES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
PROGRAMS = ("etcd", "containerd", "ctr", "runc", "buildah", "debootstrap", "ip", "iptables", "nsenter", "openssl", "gcc")


class Unusable(Exception):
    """Why there is no lab here; nothing was started."""


# A kubelet removes images that it takes for unused, the lab's own among them, where the machine's disk is rather full.
BEFORE, COLLECTS = "evictionHard:", "imageGCHighThresholdPercent: 100\n"


class Place:
    def __init__(self, scripts: pathlib.Path, work: pathlib.Path, kubectl: str) -> None:
        self.scripts, self.work, self.kubectl = scripts, work, kubectl
        self.home = pathlib.Path(os.environ.get("KUBE_LAB", "/var/tmp/kube-lab"))
        self.run = self.home / "run"
        self.tried = False
        self.foreign = cgroups()

    def build(self) -> None:
        subprocess.run([self.scripts / "build.sh"], check=True, env=self.environment)

    @functools.cached_property
    def environment(self) -> dict[str, str]:
        """For the scripts, which call kubectl by its name: the machine's, else ours."""
        path = os.environ["PATH"]
        return os.environ | {"KUBE_LAB": str(self.home), "PATH": f"{path}:{pathlib.Path(self.kubectl).parent}" if self.kubectl else path}

    def missing(self) -> list[str]:
        lacks = [] if os.geteuid() == 0 else ["it needs root"]
        if absent := [name for name in BINARIES if not (self.home / "bin" / name).is_file()]:
            lacks.append(f"{self.home / 'bin'} lacks {', '.join(absent)}: `cargo xtask kube-lab --build` makes them in about 15 minutes")
        if absent := [name for name in PROGRAMS if not shutil.which(name)]:
            lacks.append(f"not on the path: {', '.join(absent)}; --build installs what Debian has of them")
        if not self.kubectl:
            lacks.append("kubectl 1.27 or newer, for kustomize")
        return lacks

    def script(self, name: str, *arguments: object) -> str:
        # Not in the terminal's group: Ctrl-C is for the scenes, the cluster must live to be taken down.
        command = [str(self.adapted() / name), *map(str, arguments)]
        log = self.home / f"{name}.log"
        with open(log, "wb") as sink:
            code = subprocess.run(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True, timeout=600, check=False
            ).returncode
        said = log.read_text(errors="replace")
        if code != 0:
            raise RuntimeError(f"{name} ended with {code}:\n{said[-2000:]}")
        return said

    def adapted(self) -> pathlib.Path:
        """The scripts, with a kubelet that removes no images."""
        folder = self.work / "scripts"
        folder.mkdir(exist_ok=True)
        for file in self.scripts.iterdir():
            text = file.read_text()
            (folder / file.name).write_text(text.replace(BEFORE, COLLECTS + BEFORE, 1) if file.name == "up.sh" else text)
            (folder / file.name).chmod(0o755)
        return folder

    def up(self) -> None:
        self.tried = True
        if " Ready" not in self.script("up.sh"):
            logs = ", ".join(str(file) for file in sorted(self.run.glob("*.log")))
            raise RuntimeError(f"the node did not become ready; what its parts say: {logs}")

    def load(self, archive: pathlib.Path) -> None:
        self.script("load-image.sh", archive)

    @functools.lru_cache(maxsize=1)  # noqa: B019 - one Place a run
    def version(self) -> str:
        said = subprocess.run([self.home / "bin/kubelet", "--version"], text=True, capture_output=True, check=True).stdout
        return said.strip()

    def down(self) -> list[str]:
        """Takes down what `up` began; what is left of it."""
        if not self.tried:
            return []
        if self.run.is_dir():
            # Their logs, for whoever asks why something failed.
            kept = self.home / "logs"
            kept.mkdir(exist_ok=True)
            for file in self.run.glob("*.log"):
                shutil.copy2(file, kept / file.name)
        self.script("down.sh")
        for group in cgroups() - self.foreign:
            # Those with a process in them stay, and are told.
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        return self.left()

    def left(self) -> list[str]:
        processes = subprocess.run(["ps", "-eo", "pid,args"], text=True, capture_output=True, check=True).stdout.splitlines()
        left = [f"process {line.strip()[:120]}" for line in processes if str(self.run) in line or f"{self.home}/bin/" in line]
        left += [f"mount {line.split()[1]}" for line in pathlib.Path("/proc/mounts").read_text().splitlines() if str(self.run) in line]
        left += [f"network namespace {file.name}" for file in pathlib.Path("/var/run/netns").glob("*") if file.name == "kube" or file.name.startswith("cni-")]
        left += [f"cgroup {group}" for group in cgroups() - self.foreign]
        return left + ([f"folder {self.run}"] if self.run.exists() else [])


def cgroups() -> set[pathlib.Path]:
    """Those that a kubelet makes, of both kinds of cgroups."""
    root = pathlib.Path("/sys/fs/cgroup")
    return {*root.glob("*/kubepods"), *root.glob("kubepods")}
