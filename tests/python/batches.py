"""Requests that are queued in a known order, and what became of them: for tests of batching. Knows no model."""

import contextlib
import queue
from collections.abc import Iterator

import tritonclient.grpc as grpcclient

from nereid_process import Nereid, wait_until

WAIT_S = 30


class Stream:
    """A stream on which requests are queued, and answered, in order."""

    def __init__(self, client: grpcclient.InferenceServerClient) -> None:
        self.client = client
        self.answers: queue.Queue[object] = queue.Queue()
        client.start_stream(lambda result, error: self.answers.put(error or result))

    def send(self, model: str, tensors: list[grpcclient.InferInput], **options: object) -> None:
        self.client.async_stream_infer(model, tensors, **options)

    def results(self, count: int) -> list[grpcclient.InferResult]:
        """The next answers, all of them good."""
        results = [self.answers.get(timeout=WAIT_S) for _ in range(count)]
        for result in results:
            assert isinstance(result, grpcclient.InferResult), result
        return results


@contextlib.contextmanager
def streaming(server: Nereid) -> Iterator[Stream]:
    """A stream; what is unanswered at its end is cancelled."""
    with grpcclient.InferenceServerClient(server.grpc) as client:
        stream = Stream(client)
        yield stream
        client.stop_stream(cancel_requests=True)


def executions(server: Nereid, model: str) -> dict[int, int]:
    """Batch size to the number of executions."""
    (stats,) = server.get(f"/v2/models/{model}/stats").json()["model_stats"]
    return {b["batch_size"]: b["compute_infer"]["count"] for b in stats.get("batch_stats", [])}


def metric(server: Nereid, name: str, **labels: str) -> int:
    lines = [line for line in server.metrics().splitlines() if line.startswith(name + "{")]
    (value,) = [line.rsplit(" ", 1)[1] for line in lines if all(f'{k}="{v}"' in line for k, v in labels.items())]
    return int(float(value))


def pending(server: Nereid, model: str) -> int:
    """Requests in the model's queue."""
    return metric(server, "nv_inference_pending_request_count", model=model)


def wait_pending(server: Nereid, model: str, count: int) -> None:
    wait_until(lambda: pending(server, model) == count, WAIT_S, f"{count} requests of {model} wait\n{server.metrics()}")
