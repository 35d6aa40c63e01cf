"""Fixtures: one repository and one server for all tests that leave it as it was."""

import pathlib
import re
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import digits
import models
from nereid_process import Nereid, serving


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return models.build(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session")
def server(repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    with serving(repository, tmp_path_factory.mktemp("server") / "log") as process:
        yield process


@pytest.fixture(scope="session")
def expected() -> np.ndarray:
    """The logits of the ten sample digits, `[10, 10]`, computed without the server and without its library."""
    evaluator = ReferenceEvaluator(onnx.load(models.ROOT / "model_repository/mnist_mlp/1/model.onnx"))
    return evaluator.run(None, {"input": digits.images()})[0]


@pytest.fixture(scope="session")
def besieged(repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    """A server for requests that mean harm. Whatever they held, each line of its log is one that it wrote itself."""
    flags = ["--model-control-mode=explicit", "--load-model=*", "--log-verbose=1"]
    with serving(repository, tmp_path_factory.mktemp("besieged") / "log", *flags) as process:
        yield process
        record = re.compile(r'[IWE]\d{4} \d\d:\d\d:\d\d\.\d{6} \d+ \w+\.rs:\d+\] ".*"')
        foreign = [line for line in process.log().split("\n") if line and not record.fullmatch(line)]
        assert not foreign, foreign[0][:200]
