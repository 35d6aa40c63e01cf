"""Pods that die, are taken away, or hang: the Service answers again."""

import os
import signal

from asking import answers
from cluster import expect, state, until


def run(lab: object) -> str:
    cluster = lab.cluster
    with cluster.deployed(lab.manifests.server()):
        until(lambda: answers(lab.root, lab.work), "it answers")
        os.kill(cluster.process(cluster.pod()), signal.SIGKILL)
        until(lambda: state(cluster.pod())["restartCount"] == 1, "the container is restarted")
        until(lambda: answers(lab.root, lab.work), "it answers after kill -9")
        ended = state(cluster.pod())["lastState"]["terminated"]
        expect(ended["exitCode"] == 137, f"it ended with {ended}")

        cluster.settled()
        old = cluster.pod()["metadata"]["name"]
        cluster.kubectl("delete", "pod", old, "--grace-period=0", "--force")
        until(lambda: [pod for pod in cluster.pods() if pod["metadata"]["name"] != old], "another pod is there")
        cluster.rolled_out()
        until(lambda: answers(lab.root, lab.work), "it answers after the pod was deleted")

        hung = cluster.process(cluster.pod())
        os.kill(hung, signal.SIGSTOP)
        until(lambda: not cluster.endpoints(), "a pod that hangs is not in the Service")
        until(lambda: state(cluster.pod())["restartCount"] == 1, "the liveness probe restarts it")
        cluster.settled()
        until(lambda: answers(lab.root, lab.work), "it answers after it hung")
        said = why(lab)
    return f"kill -9: restarted, exit code 137, answers; pod deleted by force: another answers; SIGSTOP: out of the endpoints, {said}restarted, answers"


def why(lab: object) -> str:
    """What the kubelet says of it, unless its events were too many: then it drops some."""
    events = lab.cluster.get("events")["items"]
    texts = [f"then “{event['message']}”, " for event in events if "failed liveness probe" in event["message"]]
    return texts[0] if texts else ""
