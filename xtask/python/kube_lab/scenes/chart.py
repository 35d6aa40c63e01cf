"""The chart through its life: install, test, upgrade, rollback, uninstall."""

import json
import subprocess

from asking import same_as_outside
from cluster import NAMESPACE, expect, until

# As small as the overlay for one machine; the image of the lab for `helm test`, which has no other.
VALUES = (
    "resources.requests.cpu=200m",
    "resources.requests.memory=128Mi",
    "resources.limits.cpu=1",
    "resources.limits.memory=512Mi",
    "tests.image=nereid:0.1.0",
)


def run(lab: object) -> str:
    expect(lab.helm, "helm is not there")
    cluster, folder = lab.cluster, lab.manifests.chart()

    def helm(*words: str) -> str:
        done = subprocess.run([lab.helm, *words, "--namespace", NAMESPACE], text=True, capture_output=True, timeout=600, check=False)
        expect(done.returncode == 0, f"helm {' '.join(words[:2])}: {done.stderr.strip()[-300:]}")
        return done.stdout

    def quality() -> str:
        cluster.rolled_out()
        return until(lambda: len(pods := cluster.pods()) == 1 and pods[0]["status"]["qosClass"], "one pod is left")

    cluster.namespace()
    sets = [f"--set={value}" for value in VALUES]
    helm("install", "nereid", str(folder), "--set=autoscaling.cpu.enabled=true", *sets, "--wait", "--timeout=400s")
    expect(quality() == "Burstable", "installed, it is not Burstable")
    count = same_as_outside(lab.root, lab.work)
    expect(cluster.get("hpa", "nereid"), "there is no autoscaler")
    tested = test(lab, helm)
    helm("upgrade", "nereid", str(folder), "--reuse-values", "--set=qos=besteffort", "--set=autoscaling.cpu.enabled=false", "--wait", "--timeout=400s")
    expect(quality() == "BestEffort", "upgraded, it is not BestEffort")
    expect(not cluster.get("hpa", "nereid"), "the autoscaler is still there")
    helm("rollback", "nereid", "--wait", "--timeout=400s")
    expect(quality() == "Burstable", "rolled back, it is not Burstable")
    count += same_as_outside(lab.root, lab.work)
    history = json.loads(helm("history", "nereid", "--output=json"))
    expect([one["status"] for one in history] == ["superseded", "superseded", "deployed"], f"the history is {history}")
    helm("uninstall", "nereid", "--wait", "--timeout=400s")
    left = cluster.get("deployments,services,hpa,pdb,serviceaccounts", "--selector=app.kubernetes.io/instance=nereid").get("items")
    expect(not left, f"uninstalled, there are {[one['metadata']['name'] for one in left or []]}")
    cluster.clear()
    return f"helm install (with the autoscaler), {tested}, upgrade to BestEffort, rollback to revision 1, uninstall; {count} answers as outside, nothing left in the namespace"


def test(lab: object, helm: object) -> str:
    helm("test", "nereid", "--timeout=300s")
    return "test"
