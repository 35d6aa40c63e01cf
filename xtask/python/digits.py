"""Handwritten digits as arrays: images [n, 28, 28] in 0..1, labels [n], split into training and held-out.

MNIST through torchvision where that is installed and its files can be had; otherwise the 1797 real digits
that ship inside scikit-learn, scaled from 8x8 to 28x28. Trains nothing.
"""

from dataclasses import dataclass

import numpy as np

HELD_OUT = 0.2


@dataclass(frozen=True)
class Digits:
    source: str
    train_images: np.ndarray
    train_labels: np.ndarray
    held_out_images: np.ndarray
    held_out_labels: np.ndarray


def load(cache: str, seed: int) -> Digits:
    """MNIST if it can be had, else scikit-learn's digits; says why."""
    try:
        return _mnist(cache)
    except ImportError:
        print("torchvision is not installed (--torchvision installs it): taking scikit-learn's digits")
    except (OSError, RuntimeError) as error:
        print(f"MNIST cannot be had ({error}): taking scikit-learn's digits")
    return _scikit_learn(seed)


def _mnist(cache: str) -> Digits:
    from torchvision.datasets import MNIST

    train, test = (MNIST(cache, train=train, download=True) for train in (True, False))
    images = [part.data.numpy().astype(np.float32) / 255 for part in (train, test)]
    labels = [part.targets.numpy().astype(np.int64) for part in (train, test)]
    return Digits("MNIST, held out: its own test set", images[0], labels[0], images[1], labels[1])


def _scikit_learn(seed: int) -> Digits:
    from sklearn.datasets import load_digits

    data = load_digits()
    images = upscale(data.images.astype(np.float32) / 16, 28)
    labels = data.target.astype(np.int64)
    train, held_out = _split(labels, np.random.default_rng(seed))
    return Digits("scikit-learn's digits, held out: a fifth of each class", images[train], labels[train], images[held_out], labels[held_out])


def _split(labels: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and the held-out part; the latter has the same share of every class."""
    train, held_out = [], []
    for digit in range(10):
        indices = random.permutation(np.flatnonzero(labels == digit))
        count = round(len(indices) * HELD_OUT)
        held_out.append(indices[:count])
        train.append(indices[count:])
    return np.concatenate(train), np.concatenate(held_out)


def upscale(images: np.ndarray, size: int) -> np.ndarray:
    """Bilinear, with the centres of the outer pixels half a pixel from the border."""
    old = images.shape[1]
    centres = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    low = np.minimum(centres.astype(int), old - 2)
    weights = np.zeros((size, old), np.float32)
    weights[np.arange(size), low] = 1 - (centres - low)
    weights[np.arange(size), low + 1] = centres - low
    return weights @ images @ weights.T
