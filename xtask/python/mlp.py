"""A perceptron with one hidden layer, trained with Adam in numpy. Knows nothing of files or of ONNX.

The training images, and only they, are shifted a little at random in every epoch.
"""

from dataclasses import dataclass
from typing import Callable

import numpy as np

HIDDEN = 128
BATCH = 64
LEARNING_RATE = 3e-3  # this and SHIFT: chosen by cross-validation inside the training part
SHIFT = 2  # pixels, each way


@dataclass
class Mlp:
    """`relu(x @ w1.T + b1) @ w2.T + b2`, the weights laid out as ONNX's Gemm with transB wants them."""

    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.hidden(images) @ self.w2.T + self.b2

    def hidden(self, images: np.ndarray) -> np.ndarray:
        return np.maximum(images.reshape(len(images), -1) @ self.w1.T + self.b1, 0)

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        return float((self.logits(images).argmax(1) == labels).mean())


def train(images: np.ndarray, labels: np.ndarray, epochs: int, seed: int, report: Callable[[int, float, Mlp], None]) -> Mlp:
    """Calls `report(epoch, mean loss, model)` after each epoch."""
    random = np.random.default_rng(seed)
    model = _initial(images[0].size, random)
    parameters = [model.w1, model.b1, model.w2, model.b2]
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in parameters]
    step = 0
    for epoch in range(1, epochs + 1):
        rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * (epoch - 1) / epochs))
        order = random.permutation(len(images))
        shifted = _shift(images, random)
        losses = []
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            loss, gradients = _gradients(model, shifted[chosen].reshape(len(chosen), -1), labels[chosen])
            losses.append(loss)
            step += 1
            for parameter, gradient, (first, second) in zip(parameters, gradients, moments):
                first += 0.1 * (gradient - first)
                second += 0.001 * (gradient * gradient - second)
                update = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
                parameter -= np.float32(rate) * update
        report(epoch, float(np.mean(losses)), model)
    return model


def _initial(pixels: int, random: np.random.Generator) -> Mlp:
    def he(rows: int, columns: int) -> np.ndarray:
        return (random.standard_normal((rows, columns)) * np.sqrt(2 / columns)).astype(np.float32)

    return Mlp(he(HIDDEN, pixels), np.zeros(HIDDEN, np.float32), he(10, HIDDEN), np.zeros(10, np.float32))


def _gradients(model: Mlp, x: np.ndarray, labels: np.ndarray) -> tuple[float, list[np.ndarray]]:
    hidden = model.hidden(x)
    logits = hidden @ model.w2.T + model.b2
    exponent = np.exp(logits - logits.max(1, keepdims=True))
    probability = exponent / exponent.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(probability[rows, labels] + 1e-12).mean()
    d_logits = probability
    d_logits[rows, labels] -= 1
    d_logits /= len(labels)
    d_hidden = (d_logits @ model.w2) * (hidden > 0)
    return float(loss), [d_hidden.T @ x, d_hidden.sum(0), d_logits.T @ hidden, d_logits.sum(0)]


def _shift(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Each image moved by up to SHIFT pixels in both directions, the border filled with black."""
    size = images.shape[1]
    padded = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    down, right = random.integers(0, 2 * SHIFT + 1, (2, len(images)))
    out = np.empty_like(images)
    for i in range(len(images)):
        out[i] = padded[i, down[i] : down[i] + size, right[i] : right[i] + size]
    return out
