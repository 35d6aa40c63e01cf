"""Trains the model `mnist_mlp` and writes it into a model repository, with sample digits beside it.

784 pixels, 128 hidden units, 10 logits. The same packages on the same kind of processor give the same bytes.
"""

import argparse
import os
import pathlib

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # sums in one order: before numpy is imported

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

import digits  # noqa: E402
import mlp  # noqa: E402
import samples  # noqa: E402

SEED = 7
LEAST_ACCURACY = 0.97

CONFIG = """\
name: "mnist_mlp"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [
  {
    name: "input"
    data_type: TYPE_FP32
    dims: [ 1, 28, 28 ]
  }
]
output [
  {
    name: "output"
    data_type: TYPE_FP32
    dims: [ 10 ]
    label_filename: "labels.txt"
  }
]
dynamic_batching { }
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repository", type=pathlib.Path, required=True)
    parser.add_argument("--samples", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, required=True, help="where downloads are kept")
    args = parser.parse_args()

    data = digits.load(str(args.cache), SEED)
    held_out = data.held_out_images, data.held_out_labels
    epochs = max(10, 300_000 // len(data.train_images))
    print(f"data: {data.source}; {len(data.train_images)} to train, {len(held_out[0])} held out")

    def report(epoch: int, loss: float, model: mlp.Mlp) -> None:
        if epoch % max(1, epochs // 8) == 0 or epoch == epochs:
            print(f"epoch {epoch}/{epochs}: loss {loss:.4f}, held-out accuracy {model.accuracy(*held_out):.2%}", flush=True)

    model = mlp.train(data.train_images, data.train_labels, epochs, SEED, report)
    exported = export(model)
    # What counts is the file, so the file is what is measured.
    logits = ReferenceEvaluator(exported).run(None, {"input": held_out[0][:, None]})[0]
    right = int((logits.argmax(1) == held_out[1]).sum())
    accuracy = right / len(logits)
    print(f"held-out accuracy of model.onnx: {accuracy:.2%} ({right} of {len(logits)})")
    if accuracy < LEAST_ACCURACY:
        raise SystemExit(f"less than {LEAST_ACCURACY:.0%}: nothing was written")

    folder = args.repository / "mnist_mlp"
    (folder / "1").mkdir(parents=True, exist_ok=True)
    (folder / "1" / "model.onnx").write_bytes(exported.SerializeToString(deterministic=True))
    (folder / "config.pbtxt").write_text(CONFIG)
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in samples.NAMES))
    samples.write(args.samples, *held_out, logits)


def export(model: mlp.Mlp) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Flatten", ["input"], ["pixels"], axis=1),
        helper.make_node("Gemm", ["pixels", "w1", "b1"], ["sums"], transB=1),
        helper.make_node("Relu", ["sums"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "w2", "b2"], ["output"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "mnist_mlp",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(np.ascontiguousarray(getattr(model, n)), n) for n in ("w1", "b1", "w2", "b2")],
    )
    exported = helper.make_model(graph, producer_name="nereid", ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
    onnx.checker.check_model(exported, full_check=True)
    return exported


if __name__ == "__main__":
    main()
