"""The scenes, one after the other, in the network of the cluster: `play.py … SCENE…`, for lab.py."""

import argparse
import json
import pathlib
import sys
import time
import traceback

from cluster import Cluster, Unexpected
from manifests import Manifests
from table import bold, green, red, took
from scenes import SCENES


class Lab:
    """What a scene has at hand."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.root, self.work, self.helm = given.root, given.work, given.helm
        self.cluster = Cluster(given.work, given.run)
        self.manifests = Manifests(given.root / "k8s", given.work, given.kubectl)


def remark(text: str) -> None:
    print(f"      {text}", flush=True)


def main(given: argparse.Namespace) -> None:
    lab, seen = Lab(given), []
    for number, name in enumerate(given.scenes, 1):
        print(bold(f"[{number}/{len(given.scenes)}] {name}"), flush=True)
        began, good = time.monotonic(), False
        try:
            what, good = SCENES[name](lab), True
        except Unexpected as error:
            what = str(error)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            (given.work / f"{name}.traceback").write_text(traceback.format_exc())
        seconds = time.monotonic() - began
        if not good:
            remark(f"more of it: {lab.cluster.dump(name)}")
        remark(f"{green(what) if good else red(what)} ({took(seconds)})")
        lab.cluster.clear()
        one_line = " ".join(what.split())
        seen.append({"scene": name, "good": good, "seen": one_line if good else one_line[:300], "seconds": seconds})
        # After each, so that an interrupted run shows what it has seen.
        given.results.write_text(json.dumps(seen))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("root", "work", "run", "results"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--kubectl")
    parser.add_argument("--helm")
    parser.add_argument("scenes", nargs="+")
    try:
        main(parser.parse_args())
    except KeyboardInterrupt:
        sys.exit(130)
