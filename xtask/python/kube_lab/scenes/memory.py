"""Too little memory: a pod that is killed for it comes back, and one with a budget is not killed."""

import concurrent.futures
import http.client
import json
import pathlib

import reference
from asking import HTTP, NODE, answers, metric, page
from cluster import expect, state, until
from manifests import with_args, with_limit, with_models

LIMIT = "160Mi"
MODEL = "echo"
CONFIG = f"""name: "{MODEL}"
backend: "identity"
input [ {{ name: "INPUT0" data_type: TYPE_UINT8 dims: [ -1 ] }} ]
output [ {{ name: "OUTPUT0" data_type: TYPE_UINT8 dims: [ -1 ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
parameters {{ key: "execute_delay_ms" value {{ string_value: "1000" }} }}
"""
BYTES = 8 << 20
CLIENTS = 48  # together more than twice the limit
OFF = "--max-inflight-bytes=0"
BUDGET = "max-inflight-bytes"


def body() -> tuple[bytes, dict[str, str]]:
    """A large request as binary data, and its headers."""
    head = {"inputs": [{"name": "INPUT0", "shape": [BYTES], "datatype": "UINT8", "parameters": {"binary_data_size": BYTES}}]}
    head["outputs"] = [{"name": "OUTPUT0", "parameters": {"binary_data": True}}]
    text = json.dumps(head).encode()
    return text + bytes(BYTES), {"Inference-Header-Content-Length": str(len(text))}


def post(sent: bytes, headers: dict[str, str]) -> tuple[int, str | None]:
    """Its status and Retry-After; 0 where the server went away."""
    connection = http.client.HTTPConnection(NODE, HTTP, timeout=120)
    try:
        connection.request("POST", f"/v2/models/{MODEL}/infer", sent, headers)
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader("Retry-After")
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()


def flooded(times: int = CLIENTS) -> list[tuple[int, str | None]]:
    sent, headers = body()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(lambda _: post(sent, headers), range(times)))


def has_budget(lab: object) -> bool:
    return BUDGET in (lab.work / reference.HELP).read_text()


def killed(lab: object) -> str:
    documents = with_models(with_limit(lab.manifests.server(), LIMIT), {MODEL: CONFIG})
    if has_budget(lab):
        documents = with_args(documents, OFF)
    with lab.cluster.deployed(documents):
        until(lambda: answers(lab.root, lab.work), "it answers")
        expect(flooded(1)[0][0] == 200, "one large request is not answered")
        restarts = lambda: state(lab.cluster.pod())["restartCount"]  # noqa: E731
        flooded()
        until(restarts, "the pod is killed")
        ended = until(lambda: state(lab.cluster.pod())["lastState"].get("terminated"), "its end is known")
        expect((ended["reason"], ended["exitCode"]) == ("OOMKilled", 137), f"it ended with {ended['reason']}, {ended['exitCode']}")
        until(lambda: state(lab.cluster.pod())["ready"], "it is ready again")
        lab.cluster.settled()
        until(lambda: answers(lab.root, lab.work), "it answers again")
        expect(restarts() == 1, f"it was restarted {restarts()} times")
    return (
        f"{CLIENTS} requests of {BYTES >> 20} MiB at once to a pod with {LIMIT}{' and ' + OFF if has_budget(lab) else ''}: lastState.terminated OOMKilled, exit code 137; "
        "restarted once, ready, and answers as before"
    )


def flood(lab: object) -> str:
    expect(has_budget(lab), f"this server has no --{BUDGET}")
    with lab.cluster.deployed(with_models(with_limit(lab.manifests.server(), LIMIT), {MODEL: CONFIG})):
        until(lambda: answers(lab.root, lab.work), "it answers")
        process = lab.cluster.process(lab.cluster.pod())
        seen = flooded(CLIENTS * 3)
        counts = {status: sum(one == status for one, _ in seen) for status, _ in seen}
        # At once: the status of the pod comes later.
        expect(pathlib.Path(f"/proc/{process}").exists(), f"it was killed; answers by status: {counts}")
        expect(set(counts) == {200, 503}, f"answers by status: {counts}")
        expect({after for status, after in seen if status == 503} == {"1"}, "some 503 has no Retry-After: 1")
        expect(answers(lab.root, lab.work), "it does not answer after the flood")
        text = page()
        told, bytes_limit = metric(text, "nereid_inflight_rejected_requests_total"), metric(text, "nereid_inflight_limit_bytes")
        expect(told == counts[503], f"{counts[503]} were refused, and the metric tells {told}")
    return (
        f"{len(seen)} requests of {BYTES >> 20} MiB, {CLIENTS} at once, to a pod with {LIMIT} and the budget that it takes for itself ({bytes_limit / 2**20:.0f} MiB): "
        f"{counts[200]} answered, {counts[503]} refused with 503 and Retry-After, not killed, answers as before"
    )
