"""Which weights and filters go: by magnitude, by squared gradients, by chance."""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np

import nn
from pruning import masks
from pruning.ledger.core import Claim, Form, Formula, Measured
from pruning.scores import chance, fisher, magnitude

Array = np.ndarray


# ---- D190: magnitude -------------------------------------------------------------------------------------------------
def _draw_weights(rng: np.random.Generator) -> dict[str, Array]:
    """Five and four weights of both signs, those of V the smaller ones; three are to go."""
    u = rng.permutation(np.arange(1, 10)) + rng.uniform(0, 0.5, 9)
    u *= rng.choice([-1, 1], 9)
    order = np.argsort(np.abs(u))
    u[order[[0, 1, -1]]] = np.abs(u[order[[0, 1, -1]]]) * rng.permutation([1, 1, -1])
    u[order[[3, 4]]] = -np.abs(u[order[[3, 4]]])
    return {"W": u[order[[1, 3, 4, 6, 8]]], "V": u[order[[0, 2, 5, 7]]]}


def _by_magnitude(W: Array, V: Array) -> tuple[Array, float]:
    net = nn.Sequential(nn.Linear(5, 1, None), nn.Linear(1, 4, None))
    for layer, data in zip(net.layers, (W[None, :], V[:, None])):
        layer.W.data = data  # type: ignore[attr-defined]
    keep = masks.smallest(magnitude.saliency(net), 3 / 9)
    mask = np.concatenate([keep[name].ravel() for name in ("0.W", "1.W")])
    return mask, _moved(np.concatenate([W, V]), mask)


def _moved(u: Array, mask: Array) -> float:
    return float(np.linalg.norm(u - mask * u))


def _all_triples(W: Array, V: Array) -> tuple[Array, float]:
    u = np.concatenate([W, V])
    tried = [1.0 - np.isin(np.arange(9), gone) for gone in combinations(range(9), 3)]
    best = min(tried, key=lambda mask: _moved(u, mask))
    return best, _moved(u, best)


def _ranked(scores: Callable[[Array, Array], Array]) -> Callable[..., tuple[Array, float]]:
    def form(W: Array, V: Array) -> tuple[Array, float]:
        mask = np.ones(9)
        mask[np.argsort(scores(W, V))[:3]] = 0
        return mask, _moved(np.concatenate([W, V]), mask)

    return form


def _layer_by_layer(W: Array, V: Array) -> tuple[Array, float]:
    u, gone = np.concatenate([W, V]), [*np.argsort(np.abs(W))[:2], *(5 + np.argsort(np.abs(V))[:1])]
    mask = 1.0 - np.isin(np.arange(9), gone)
    return mask, _moved(u, mask)


# ---- D191: the squares that Adam keeps -------------------------------------------------------------------------------
BETAS = (0.6, 0.8)


def _draw_batches(rng: np.random.Generator) -> dict[str, Array]:
    """A softmax regression of four inputs and three classes, and six minibatches of five patterns."""
    return {"W": rng.standard_normal((3, 4)), "x": rng.standard_normal((6, 4, 5)), "t": rng.integers(0, 3, (6, 5))}


def _by_adam(W: Array, x: Array, t: Array) -> Array:
    layer = nn.Linear(4, 3, None, bias=False)
    layer.W.data = W.copy()
    net, loss = nn.Sequential(layer), nn.SoftmaxCrossEntropy()
    optimizer = nn.Adam(net.parameters(), 0.1, BETAS)
    for batch, targets in zip(x, t):
        loss.forward(net.forward(batch), targets)
        net.backward(loss.backward())
        optimizer.step()
    return np.asarray(fisher.saliency(net, optimizer)["0.W"])


def _softmax(a: Array) -> Array:
    e = np.exp(a - a.max(axis=0))
    return np.asarray(e / e.sum(axis=0))


def _adam_by_hand(score: Callable[..., Array]) -> Callable[..., Array]:
    """`score` of (the weights at the end, running mean of g, running mean of g^2, the last g)."""

    def form(W: Array, x: Array, t: Array) -> Array:
        m, s, g = np.zeros_like(W), np.zeros_like(W), W
        for k, (batch, targets) in enumerate(zip(x, t), 1):
            g = (_softmax(W @ batch) - np.eye(3)[:, targets]) @ batch.T / 5
            m, s = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * s + (1 - BETAS[1]) * g**2
            W = W - 0.1 * m / (1 - BETAS[0] ** k) / (np.sqrt(s / (1 - BETAS[1] ** k)) + 1e-8)
        return score(W, m, s, g)

    return form


# ---- D192: the Fisher information, and OBD ---------------------------------------------------------------------------
OFTEN = np.array([1, 2, 5])
"""How often the net expects each class, of eight times; the labels of eight patterns, of one input, are as often."""


def _draw_likely(rng: np.random.Generator) -> dict[str, Array]:
    W = rng.standard_normal((3, 4))
    x = rng.uniform(0.5, 1.5, 4)
    wanted = np.log(rng.permutation(OFTEN))
    return {"W": W + np.outer(wanted - W @ x, x) / (x @ x), "x": x}


def _labels(W: Array, x: Array) -> Array:
    return np.repeat(np.arange(3), np.rint(8 * _softmax(W @ x)).astype(int))


def _fisher(W: Array, x: Array, t: Array | None = None, size: int = 1) -> Array:
    """Minibatches of `size` patterns at fixed weights, and a mean that forgets nothing: each counts alike."""
    layer = nn.Linear(4, 3, None, bias=False)
    layer.W.data = W.copy()
    net, loss = nn.Sequential(layer), nn.SoftmaxCrossEntropy()
    optimizer = nn.Adam(net.parameters(), 0.0, (0.0, 1 - 2.0**-30))
    for each in (_labels(W, x) if t is None else t).reshape(-1, size):
        loss.forward(net.forward(np.tile(x[:, None], size)), each)
        net.backward(loss.backward())
        optimizer.step()
    return _unit(fisher.saliency(net, optimizer)["0.W"])


def _unit(scores: Any) -> Array:
    return np.asarray(scores / np.linalg.norm(scores))


def _obd(W: Array, x: Array) -> Array:
    p = _softmax(W @ x)
    return _unit(np.outer(p * (1 - p), x**2) * W**2 / 2)


# ---- D193: chance ----------------------------------------------------------------------------------------------------
N, TRIALS = 6, 70_000
SUBSETS = {frozenset(each): place for place, each in enumerate(combinations(range(N), 3))}


def _unlike(kept: Array) -> float:
    """How far subsets (trials, N) of zeros and ones are from all 20 of three alike, and none of another size."""
    numbers = kept @ (1 << np.arange(N))
    shares = np.array([np.mean(numbers == sum(1 << k for k in each)) for each in SUBSETS])
    return float(np.sum((shares - 1 / 20) ** 2) * 20 + 1 - shares.sum())


def _halves(scores: Any) -> Array:
    """For each six scores in a row, which three are the highest."""
    ranks = np.argsort(np.argsort(np.reshape(scores, (TRIALS, N)), axis=1), axis=1)
    return np.asarray((ranks >= 3).astype(int))


def _by_chance(rng: np.random.Generator) -> Iterator[Measured]:
    net = nn.Sequential(*(nn.Linear(1, N * TRIALS, None) for _ in range(2)))
    for layer in net.layers:
        layer.W.data = np.ones((N * TRIALS, 1))  # type: ignore[attr-defined]
    first, second = (_halves(scores) for scores in chance.saliency(net, rng).values())
    yield Measured("three of six, first layer", _unlike(first))
    yield Measured("three of six, second layer", _unlike(second))
    yield Measured("the same in both layers", _together(first, second))
    message = "Every layer draws anew: else what goes in one layer decides what goes in the next."
    yield Measured("one draw for all layers", _together(first, first), True, message)
    coins = (rng.random((TRIALS, N)) < 0.5).astype(int)
    yield Measured("a coin for every filter", _unlike(coins), True, "So the number of filters that stay is left open.")
    windows = (rng.integers(0, N, TRIALS)[:, None] + np.arange(3)) % N
    message = "Six neighbourhoods of three are not all of the twenty subsets."
    yield Measured("three in a row", _unlike(_indicator(windows)), True, message)
    message = "Whole numbers with replacement name a filter twice, and too few go."
    yield Measured("drawn with replacement", _unlike(_indicator(rng.integers(0, N, (TRIALS, 3)))), True, message)


def _together(first: Array, second: Array) -> float:
    return float((np.mean(np.all(first == second, axis=1)) - 1 / 20) ** 2 * 20)


def _indicator(chosen: Array) -> Array:
    found = np.zeros((TRIALS, N), int)
    np.put_along_axis(found, chosen, 1, axis=1)
    return found


STATEMENTS = (
    Formula(
        id="D190",
        title="the smallest weights move the vector least",
        printed=r"\{|u_k|\text{ smallest}\}=\arg\min_{|S|=k}\|u-u_{\bar S}\|_2",
        verdict="lost",
        remark="Of the weights, and not of the loss: that is what the score is blind to.",
        where="derived here; the rule is that of Han et al. 2015",
        code="pruning.scores.magnitude.saliency, pruning.masks.smallest",
        notebook="02, section 6",
        draw=_draw_weights,
        right=_by_magnitude,
        referees=(Form("all 84 triples", _all_triples),),
        wrong=(
            Form("signed", _ranked(lambda W, V: np.concatenate([W, V])), "Large negative weights are not small."),
            Form(
                "largest go",
                _ranked(lambda W, V: -np.abs(np.concatenate([W, V]))),
                "A saliency is low where a weight is cheap to delete.",
            ),
            Form("layer by layer", _layer_by_layer, "A share of every layer is not the smallest of all."),
            Form(
                "relative to the layer",
                _ranked(lambda W, V: np.concatenate([np.abs(W) / np.abs(W).max() ** 2, np.abs(V)])),
                "Divided by sizes of layers the numbers are another score.",
            ),
        ),
    ),
    Formula(
        id="D191",
        title="squared gradients, remembered by Adam",
        printed=r"s_k=u_k^2\,v_k,\qquad v_k\leftarrow\beta_2v_k+(1-\beta_2)g_k^2",
        verdict="lost",
        remark="The weights are those of now, the squares those of all steps; the correction 1 - beta^k is left out.",
        where="derived here, after Theis et al. 2018",
        code="pruning.scores.fisher.saliency, nn.Adam",
        notebook="17, section 2.2",
        draw=_draw_batches,
        right=_by_adam,
        referees=(Form("softmax regression and Adam in NumPy", _adam_by_hand(lambda W, m, s, g: W**2 * s)),),
        wrong=(
            Form("square of the mean", _adam_by_hand(lambda W, m, s, g: (W * m) ** 2), "It vanishes at a minimum."),
            Form("root of the squares", _adam_by_hand(lambda W, m, s, g: W**2 * np.sqrt(s)), "That is Adam's divisor."),
            Form("u once", _adam_by_hand(lambda W, m, s, g: np.abs(W) * s), "In h u^2 / 2 the weight is squared."),
            Form("the last batch", _adam_by_hand(lambda W, m, s, g: (W * g) ** 2), "One batch is mostly noise."),
            Form("without weights", _adam_by_hand(lambda W, m, s, g: s), "A small weight on a steep slope is cheap."),
        ),
    ),
    Formula(
        id="D192",
        title="the Fisher information in the place of the Hessian",
        printed=r"\tfrac12u_k^2\,\mathrm E[g_k^2]=\tfrac12u_k^2h_{kk}\quad\text{if labels are as the net expects them}",
        verdict="right if",
        remark="For softmax, labels as often as the net expects them and gradients of single patterns; up to a factor.",
        where="Theis et al. 2018; LeCun, Denker and Solla 1990",
        code="pruning.scores.fisher.saliency",
        notebook="17, section 2.2",
        tolerance=1e-5,
        draw=_draw_likely,
        right=_fisher,
        referees=(Form("h = p (1 - p) x^2 in NumPy", _obd),),
        wrong=(
            Form(
                "minibatches of two",
                lambda W, x: _fisher(W, x, size=2),
                "The square of a mean of two gradients is not the mean of their squares.",
            ),
            Form(
                "all labels alike",
                lambda W, x: _fisher(W, x, np.arange(9) % 3),
                "With other labels than the net expects it is no likelihood's information.",
            ),
            Form(
                "the likeliest label",
                lambda W, x: _fisher(W, x, np.full(8, np.argmax(W @ x))),
                "Labels that the net would give itself are too sure.",
            ),
            Form("p for p (1 - p)", lambda W, x: _unit(np.outer(_softmax(W @ x), x**2) * W**2), "H = diag(p) - p p^T."),
            Form(
                "the gradient's size",
                lambda W, x: _unit(np.sqrt(_obd(W, x))),
                "The root ranks the weights of one net alike, but adds up otherwise.",
            ),
        ),
    ),
    Claim(
        id="D193",
        title="chance: all subsets alike",
        printed=r"P(\text{the filters }S\text{ stay})=1\Big/\binom nm\quad\text{for all }|S|=m",
        verdict="right",
        remark="The error is the sum of (share - 1/20)^2 over 1/20, which 70,000 draws leave near 3e-4.",
        where="Mittal et al. 2018, random filter pruning",
        code="pruning.scores.chance.saliency",
        notebook="11b, section 4",
        tolerance=0.02,
        measure=_by_chance,
        referee="all 20 subsets counted",
    ),
)
