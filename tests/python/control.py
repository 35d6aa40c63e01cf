"""A repository with one model whose answers tell which file gave them, and both kinds of client for it."""

import contextlib
import pathlib
from collections.abc import Iterator

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

import models
from nereid_process import Nereid, serving

EXPLICIT = ["--model-control-mode=explicit"]
ROWS = np.ones([1, 4], np.float32)


def repository(folder: pathlib.Path, factor: float = 2) -> pathlib.Path:
    """With the model `scaled`, version 1."""
    folder.mkdir()
    models.write(folder, "scaled", models.scaled(factor), models.SCALED_CONFIG)
    return folder


def rewrite(folder: pathlib.Path, factor: float, version: int = 1) -> None:
    """Another file for a version, put in place in one step."""
    target = folder / f"scaled/{version}/model.onnx"
    target.parent.mkdir(exist_ok=True)
    new = target.with_suffix(".new")
    new.write_bytes(models.scaled(factor).SerializeToString())
    new.rename(target)


@contextlib.contextmanager
def explicit(folder: pathlib.Path, log: pathlib.Path, *flags: str) -> Iterator[Nereid]:
    """A server whose models are loaded by request, with `scaled` loaded."""
    with serving(folder, log, *EXPLICIT, "--load-model=scaled", *flags) as server:
        yield server


class Client:
    """The same calls over one of the protocols."""

    def __init__(self, server: Nereid, protocol: str) -> None:
        self.module = {"http": httpclient, "grpc": grpcclient}[protocol]
        self.client = self.module.InferenceServerClient(getattr(server, protocol), **({"network_timeout": 120, "connection_timeout": 120} if protocol == "http" else {}))

    def factor(self, model: str = "scaled", version: str = "") -> float:
        """What the model multiplies with."""
        tensor = self.module.InferInput("INPUT", [1, 4], "FP32")
        tensor.set_data_from_numpy(ROWS)
        return float(self.client.infer(model, [tensor], model_version=version).as_numpy("OUTPUT")[0, 0])

    def successes(self, model: str = "scaled") -> int:
        statistics = self.client.get_inference_statistics(model)
        if not isinstance(statistics, dict):
            return statistics.model_stats[0].inference_stats.success.count
        return statistics["model_stats"][0]["inference_stats"]["success"]["count"]

    def ready(self, model: str = "scaled", version: str = "") -> bool:
        with contextlib.suppress(InferenceServerException):  # of gRPC, for a model that is not there
            return self.client.is_model_ready(model, version)
        return False

    def __getattr__(self, name: str):
        return getattr(self.client, name)
