"""The models of the bundle: what they take, inputs for them, repositories with other configs, and how answers compare."""

import json
import pathlib
import re
import shutil
from array import array
from dataclasses import dataclass

from outcome import Failed
from server import Server, Tensor

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@dataclass(frozen=True)
class Model:
    """A model with one FP32 input `input` and one FP32 output `output`."""

    name: str
    row: tuple[int, ...]
    classes: int
    max_batch: int
    # The largest difference of an answer of a GPU from that of the CPU, relative to the largest magnitude of the CPU's.
    # Convolutions and products run in TF32 there, with a mantissa of 10 bits.
    tolerance: float

    def elements(self) -> int:
        product = 1
        for dim in self.row:
            product *= dim
        return product


MNIST = Model("mnist_mlp", (1, 28, 28), 10, 8, 5e-3)
RESNET = Model("resnet50", (3, 224, 224), 1000, 16, 2e-2)


def present(bundle: pathlib.Path) -> list[Model]:
    """Those that the bundle brought."""
    return [model for model in (MNIST, RESNET) if onnx_file(bundle, model).is_file()]


def onnx_file(bundle: pathlib.Path, model: Model) -> pathlib.Path:
    return bundle / "models" / model.name / "1" / "model.onnx"


def digits(bundle: pathlib.Path) -> list[array]:
    """The ten sample pictures, in the order of what they show."""
    bodies = [json.loads((bundle / "samples" / "digits" / f"{name}.json").read_text()) for name in DIGITS]
    return [array("f", body["inputs"][0]["data"]) for body in bodies]


def noise(elements: int) -> array:
    """Numbers from 0 to 1 without a visible pattern, always the same; the bench sends these too."""
    state, values = 0x9E3779B9, array("f")
    for _ in range(elements):
        state = (state * 1_664_525 + 1_013_904_223) & 0xFFFFFFFF
        values.append((state >> 8) / (1 << 24))
    return values


def batch(bundle: pathlib.Path, model: Model, rows: int) -> Tensor:
    """An input of `rows` rows: pictures of digits for mnist_mlp, noise for others."""
    if model is MNIST:
        values = array("f")
        for picture in (digits(bundle) * rows)[:rows]:
            values += picture
    else:
        values = noise(model.elements() * rows)
    return Tensor("input", [rows, *model.row], values)


def repository(bundle: pathlib.Path, into: pathlib.Path, changes: dict[str, tuple[Model, str]]) -> pathlib.Path:
    """A fresh model repository. Each entry of `changes` is a name, the model it is a copy of, and text for its config."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for name, (model, text) in changes.items():
        source = bundle / "models" / model.name
        (into / name / "1").mkdir(parents=True)
        config = re.sub(r'^name: ".*"\n', f'name: "{name}"\n', (source / "config.pbtxt").read_text(), flags=re.MULTILINE)
        config = re.sub(r" *label_filename:.*\n", "", config)
        (into / name / "config.pbtxt").write_text(config + text)
        shutil.copy(onnx_file(bundle, model), into / name / "1" / "model.onnx")
    return into


def difference(got: array, wanted: array) -> float:
    """The largest difference, relative to the largest magnitude that was wanted."""
    if len(got) != len(wanted):
        raise Failed(f"{len(got)} numbers came, not {len(wanted)}")
    if any(number != number for number in got):
        return float("inf")  # not a number
    return max(abs(a - b) for a, b in zip(got, wanted)) / max(max(map(abs, wanted)), 1e-30)


def recognised(answer: array) -> int:
    """How many of the ten digits are named right by ten rows of logits."""
    rows = [answer[i * 10 : i * 10 + 10] for i in range(len(answer) // 10)]
    return sum(max(range(10), key=row.__getitem__) == label for label, row in enumerate(rows))


def answers(server: Server, name: str, model: Model, tensors: list[Tensor]) -> array:
    """The outputs for `tensors`, one after the other."""
    values = array("f")
    for tensor in tensors:
        values += server.infer(name, tensor, "output")
    return values
