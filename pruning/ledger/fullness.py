"""Fullness and energy of a channel, equations (8) and (9): what they measure, and in which sense they decide."""

from collections.abc import Callable
from typing import Any

import numpy as np

import nn
from pruning import masks, surgery
from pruning.ledger import plain
from pruning.ledger.core import Form, Formula
from pruning.ledger.plain import SHAPE, chain
from pruning.surgery import Thresholds

MUCH = 1e6
"""A threshold that everything is below."""


def convolutions_of(*weights: np.ndarray) -> Any:
    """Return convolutions with these weights, ReLU between them."""
    layers: list[Any] = []
    for W in weights:
        layers += [nn.Conv2d(W.shape[1], W.shape[0], W.shape[2:], None), nn.ReLU()]
        layers[-2].W.data, layers[-2].b.data = W, np.zeros(len(W))
    return nn.Sequential(*layers[:-1]).eval()


# ---- S3-F13 and S3-F14: the thresholds Th2 and Th3 at which a channel goes tell its eta and its sigma ----------------
def _stays(W: np.ndarray, rule: Thresholds) -> np.ndarray:
    """Return which channels of W (O, C, KH, KW) purification leaves."""
    net = convolutions_of(np.ones((W.shape[1], 1, 1, 1)), W)
    return np.any(W * surgery.purify(net, {"2.W": rule})["2.W"] != 0, axis=(0, 2, 3))


def _draw_channels(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """W (3, 4, 3, 3): channels of none, few, many and all of nine columns; some of these have a zero too."""
    W = rng.choice([-1, 1], (3, 4, 3, 3)) * rng.uniform(0.5, 2, (3, 4, 3, 3))
    W[0, :, :, 0] = 0
    for channel, filled in enumerate((0, rng.integers(1, 5), rng.integers(5, 9), 9)):
        W[:, channel].reshape(3, 9)[:, rng.permutation(9)[filled:]] = 0
    return {"W": W}


def _fullness(W: np.ndarray) -> np.ndarray:
    between = (np.arange(9) + 0.5) / 9
    return np.mean([_stays(W, Thresholds(fullness=each, energy=MUCH)) for each in between], axis=0)


def _columns_counted(W: np.ndarray) -> np.ndarray:
    found = [[np.any(W[:, c, k, m] != 0) for k in range(3) for m in range(3)] for c in range(W.shape[1])]
    return np.array([sum(channel) / len(channel) for channel in found])


def _energy(W: np.ndarray) -> np.ndarray:
    """By bisection of Th3, for one channel after the other."""
    sigma = []
    for channel in range(W.shape[1] - 1):  # the last one keeps the layer from being emptied
        low, high = 0.0, 16.0
        for _ in range(40):
            middle = (low + high) / 2
            stays = _stays(W, Thresholds(fullness=2, energy=middle))[channel]
            low, high = (middle, high) if stays else (low, middle)
        sigma.append(high)
    return np.array(sigma)


def _draw_energies(rng: np.random.Generator) -> dict[str, np.ndarray]:
    W = _draw_channels(rng)["W"]
    W[:, 3] *= 10
    return {"W": W[:, 1:]}


def _mean_square(W: np.ndarray) -> np.ndarray:
    return np.array([sum(float(w) ** 2 for w in W[:, c].ravel()) / 9 for c in range(W.shape[1] - 1)])


# ---- C5 --------------------------------------------------------------------------------------------------------------
def _draw_full_and_empty(rng: np.random.Generator) -> dict[str, Any]:
    """In the second convolution channels 1 and 3 are empty, 4 has one column, 2 lacks one, and 0 is full."""
    net = chain(rng, nn.Conv2d(2, 5, 3, rng), nn.ReLU(), nn.Conv2d(5, 3, 3, rng))
    net.layers[0].W.data[[1, 3]] = 1
    net.layers[2].W.data[:, [1, 3]] = 0
    net.layers[2].W.data[:, 2, 0, 1] = 0
    net.layers[2].W.data[:, 4] *= np.eye(3)[1] * np.eye(3)[:, [2]]
    return {"net": net, "x": rng.standard_normal((*SHAPE, 3))}


def _purified(net: Any, x: np.ndarray) -> np.ndarray:
    rule = {"2.W": Thresholds(fullness=1 / 9, energy=MUCH)}
    twin = surgery.duplicate(net)
    masks.apply(twin, surgery.purify(net, rule))
    return np.asarray(twin.forward(x))


def _channels_that(go: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any, np.ndarray], np.ndarray]:
    def form(net: Any, x: np.ndarray) -> np.ndarray:
        twin = surgery.duplicate(net)
        W = twin.layers[2].W.data
        twin.layers[2].W.data = W * ~go(_columns_counted(W))[:, None, None]
        return np.asarray(twin.forward(x))

    return form


STATEMENTS = (
    Formula(
        id="S3-F13",
        title="the emptiness ratio of a channel",
        printed=r"\eta_{i,j}=\left[\sum_{k=1}^{\delta}(\text{column}_k\neq0)\right]/\delta\quad\delta\in\Lambda_i",
        verdict="wrong",
        remark="It counts the columns that are not empty, out of Lambda = KH KW: a fullness, 0 for an empty channel.",
        where="S3, section 3, equation (8)",
        code="pruning.surgery.purify, pruning.surgery.Thresholds",
        notebook="15, section 3",
        tolerance=0,
        draw=_draw_channels,
        right=_fullness,
        referees=(Form("columns counted in loops", _columns_counted),),
        wrong=(
            Form(
                "emptiness",
                lambda W: 1 - _columns_counted(W),
                "That is what the paper calls it; equation (8) is 1 for a full channel.",
            ),
            Form(
                "weights for columns",
                lambda W: np.mean(W != 0, axis=(0, 2, 3)),
                "A column counts as a whole, however many of its weights are zero.",
            ),
            Form(
                "of all columns of the layer",
                lambda W: _columns_counted(W) / W.shape[1],
                "delta is the number of columns of one channel: delta = Lambda, not an element of it.",
            ),
        ),
    ),
    Formula(
        id="C5",
        title="a channel is empty below the threshold",
        printed=r"\text{If }\eta_{i,j}\text{ exceed a pre-defined threshold, we can assume that this channel is empty}",
        verdict="wrong",
        remark="It is empty if eta is below the threshold, as in Algorithm 1; this sentence takes the fullest ones.",
        where="S3, section 3, the sentence under equation (8), and Algorithm 1",
        code="pruning.surgery.purify, pruning.surgery.Thresholds",
        notebook="15, section 3",
        draw=_draw_full_and_empty,
        right=_purified,
        referees=(Form("whole net in plain NumPy", plain.forward),),
        wrong=(
            Form(
                "eta exceeds the threshold",
                _channels_that(lambda eta: eta > 1 / 9),
                "That takes every channel that has more than one column left.",
            ),
            Form(
                "emptiness below the threshold",
                _channels_that(lambda eta: 1 - eta < 1 / 9),
                "The share of empty columns is small where the channel is full.",
            ),
            Form(
                "a single empty column",
                _channels_that(lambda eta: (eta < 1) & (eta > 0)),
                "The columns beside the empty one still read the map.",
            ),
            Form(
                "eta at the threshold",
                _channels_that(lambda eta: eta <= 1 / 9),
                "Below means less: a channel that is as full as the threshold stays.",
            ),
        ),
    ),
    Formula(
        id="S3-F14",
        title="the importance of a channel",
        printed=r"\sigma_{i,j}=\sum_{k=1}^{\delta}\|\text{column}_k\|_F^2/\delta\quad\delta\in\Lambda_i",
        verdict="right",
        remark="With delta = Lambda: the squared norm of the channel's block, divided by its number of columns.",
        where="S3, section 3, equation (9)",
        code="pruning.surgery.purify, pruning.surgery.Thresholds",
        notebook="15, section 4",
        tolerance=1e-8,
        draw=_draw_energies,
        draws=1,
        right=_energy,
        referees=(Form("weights added one by one", _mean_square),),
        wrong=(
            Form("not divided by delta", lambda W: 9 * _mean_square(W), "It is a mean over the columns of a channel."),
            Form(
                "norms not squared",
                lambda W: np.mean(np.sqrt(np.sum(W[:, :-1] ** 2, axis=0)), axis=(1, 2)),
                "The norm in (9) is squared, as the one that Algorithm 1 compares with its first threshold.",
            ),
            Form(
                "mean over what is left",
                lambda W: _mean_square(W) / _columns_counted(W)[:-1],
                "Empty columns count too, or a channel with one strong column would look as good as a full one.",
            ),
            Form(
                "mean over all weights",
                lambda W: np.mean(W[:, :-1] ** 2, axis=(0, 2, 3)),
                "delta is a number of columns; the filters are added up inside the norm.",
            ),
        ),
    ),
)
