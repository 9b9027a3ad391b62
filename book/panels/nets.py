"""The nets and the records that the pictures are drawn from."""

import copy
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sources

import nn
from pruning import masks
from pruning.experiments import setup

FIRST, LAYER = "1.W", "3.W"
"""The weights that are drawn: a row for each unit of the perceptron, a row for each filter of the convolutional net."""
SIZES, WIDTHS = (64, 30, 10), (12, 16, 16)
"""Of the perceptron, and filters of the convolutional net."""
LOSS = nn.SoftmaxCrossEntropy()


@functools.cache
def digits(dtype: str = "float32") -> Any:
    """Return the digits."""
    return nn.data.load("digits", dtype=np.dtype(dtype))


def for_net(net: Any) -> Any:
    """Return the digits in the dtype of a net."""
    return digits(net.parameters()[0].data.dtype.name)


def trained(net: Any, optimizer: Any = None, epochs: int = 30, companions: Sequence[Any] = ()) -> Any:
    """Train a net on the digits, and return it."""
    optimizer = optimizer or nn.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    rng = np.random.default_rng(1)
    nn.training.train(net, LOSS, optimizer, *for_net(net).train, epochs, 64, rng, companions=companions, progress=False)
    return net.eval()


def new_perceptron() -> Any:
    """Return the perceptron, untrained."""
    return nn.models.mlp(SIZES, np.random.default_rng(0), dtype=np.float32)


def new_convolutions() -> Any:
    """Return a net of three convolutions with batch norm, untrained."""
    return setup.three_convolutions(WIDTHS, np.random.default_rng(0), dtype=np.float32)


@functools.cache
def perceptron() -> Any:
    """Return the perceptron, trained."""
    return trained(new_perceptron())


@functools.cache
def convolutions() -> Any:
    """Return the convolutional net, trained."""
    net = new_convolutions()
    return trained(net, nn.SGD(net.parameters(), 0.05, momentum=0.9, weight_decay=1e-4), 8)


def records(name: str) -> list[dict[str, Any]]:
    """Return the records of an experiment.

    Raises
    ------
    ValueError
        If there are none, or the file is broken.
    """
    path = f"notebooks/results/{name}.jsonl"
    try:
        found = [json.loads(line) for line in (sources.ROOT / path).read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is missing or broken; git checkout {path} brings it back") from error
    if not found:
        raise ValueError(f"{path} is empty; git checkout {path} brings it back")
    return found


def record(name: str) -> dict[str, Any]:
    """Return the first record of an experiment."""
    return records(name)[0]


def accuracy(net: Any) -> float:
    """Return the test accuracy in %."""
    return 100 * nn.batches.evaluate(net, LOSS, *for_net(net).test)[1]


def array(net: Any, name: str = FIRST) -> np.ndarray:
    """Return a parameter of a net."""
    return dict(net.named_parameters())[name].data


def deleted(scores: Mapping[str, Any], net: Any, share: float) -> Any:
    """Return a copy of a net without this share of its weights, those of lowest score."""
    small = copy.deepcopy(net)
    masks.apply(small, masks.smallest(scores, share))
    return small


def left(net: Any) -> int:
    """Return how many weights of a net are not zero."""
    return sum(int(np.count_nonzero(each.data)) for each in masks.prunable(net).values())
