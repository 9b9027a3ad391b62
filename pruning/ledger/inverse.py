"""Where the surgeon's inverse comes from: the patterns of a net, or the inputs of one layer, whose outputs it keeps."""

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

import numpy as np

import nn
from nn.curvature import hess_diag, matrix
from nn.gradcheck import complex_step
from pruning import masks
from pruning.ledger.core import Form, Formula
from pruning.scores import magnitude, obd, obs

Array = np.ndarray
WHERE = "S0, Methods for pruning: Unstructured"


def _draw_patterns(rng: np.random.Generator) -> dict[str, Any]:
    u, x, labels = rng.standard_normal(12), rng.standard_normal((2, 9)), rng.integers(0, 3, 9)
    return {"u": u, "x": x, "labels": labels, "damping": 0.1}


def _outputs(u: Array, x: Array) -> Array:
    return u[6:].reshape(3, 2) @ np.tanh(u[:4].reshape(2, 2) @ x + u[4:6, None])


def _sweep(u: Array, x: Array, labels: Array, damping: float) -> tuple[Array, ...]:
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(2, 2, rng), nn.Tanh(), nn.Linear(2, 3, rng, bias=False))
    for parameter, piece in zip(net.parameters(), matrix.split(net, u).values()):
        parameter.data = piece
    targets = ((nn.SquaredError(), nn.one_hot(labels, 3, like=x)), (nn.SoftmaxCrossEntropy(), labels))
    return tuple(matrix.inverse_by_sweep(net, loss, x, t, damping=damping) for loss, t in targets)


def _patterns(u: Array, x: Array) -> tuple[list[Array], list[Array], list[Array]]:
    # J = dy/du (K, O) of each pattern by the complex step, d2E/dy2 of the squared error and of softmax cross-entropy.
    N, y = x.shape[1], _outputs(u, x)
    p = np.exp(y) / np.exp(y).sum(axis=0)
    J = complex_step(lambda v: _outputs(v, x), u)
    softmax = [(np.diag(p[:, n]) - np.outer(p[:, n], p[:, n])) / N for n in range(N)]
    return [J[:, :, n] for n in range(N)], [2 / N * np.eye(3)] * N, softmax


def _inverted(
    blocks: Callable[[list[Array], list[Array]], Iterable[tuple[Array, Array]]] = zip,
) -> Callable[..., tuple[Array, ...]]:
    # H is added up and inverted: no step of a recursion.
    def form(u: Array, x: Array, labels: Array, damping: float) -> tuple[Array, ...]:
        J, *curvatures = _patterns(u, x)
        sums = [sum(j @ b @ j.T for j, b in blocks(J, B)) for B in curvatures]
        return tuple(np.linalg.inv(damping * np.eye(len(u)) + H) for H in sums)

    return form


def _summed(J: list[Array], B: list[Array]) -> Iterable[tuple[Array, Array]]:
    return [(j, len(B) * b) for j, b in zip(J, B)]


def _diagonal(J: list[Array], B: list[Array]) -> Iterable[tuple[Array, Array]]:
    return [(j, np.diag(np.diag(b))) for j, b in zip(J, B)]


def _mean_first(J: list[Array], B: list[Array]) -> Iterable[tuple[Array, Array]]:
    return [(np.mean(J, axis=0), np.sum(B, axis=0))]


def _inverted_from_inverse_damping(u: Array, x: Array, labels: Array, damping: float) -> tuple[Array, ...]:
    return _inverted()(u, x, labels, 1 / damping)


def _no_denominator(u: Array, x: Array, labels: Array, damping: float) -> tuple[Array, ...]:
    J, *curvatures = _patterns(u, x)
    found = [np.eye(len(u)) / damping for _ in curvatures]
    for i, B in enumerate(curvatures):
        for j, b in zip(J, B):
            found[i] = found[i] - found[i] @ j @ b @ j.T @ found[i]
    return tuple(found)


def _fisher(u: Array, x: Array, labels: Array, damping: float) -> tuple[Array, ...]:
    J, y, t = _patterns(u, x)[0], _outputs(u, x), np.eye(3)[labels].T
    signals = 2 * (y - t), np.exp(y) / np.exp(y).sum(axis=0) - t
    found = []
    for signal in signals:
        gradients = [j @ signal[:, n] for n, j in enumerate(J)]
        H = sum(np.outer(g, g) for g in gradients) / len(J)
        found.append(np.linalg.inv(damping * np.eye(len(u)) + H))
    return tuple(found)


def _draw_layer(rng: np.random.Generator) -> dict[str, Array]:
    order, mask = rng.permutation(6), np.ones((3, 6))
    for i, row in enumerate(mask):  # never the same for two rows
        row[order[i : i + 3]] = 0
    return {"x": rng.standard_normal((6, 40)) + 1, "t": rng.standard_normal((3, 40)), "mask": mask}


def _fit(x: Array, t: Array) -> Array:
    W: Array = np.linalg.lstsq(x.T, t.T, rcond=None)[0].T
    return W


def _refit(x: Array, t: Array, mask: Array) -> Array:
    W = np.zeros_like(mask)
    for row, target, keep in zip(W, t, mask > 0):
        row[keep] = _fit(x[keep], target[None])[0]
    return W


def _answered(H: Array, W: Array, mask: Array) -> Array:
    # w_S + H_SS^-1 H_SQ w_Q for every row: stationary where the weights Q are zero.
    new = np.zeros_like(W)
    for row, w, keep in zip(new, W, mask > 0):
        row[keep] = w[keep] + np.linalg.solve(H[np.ix_(keep, keep)], H[np.ix_(keep, ~keep)] @ w[~keep])
    return new


def _by_covariance(x: Array, t: Array, mask: Array) -> Array:
    return _answered(np.cov(x), _fit(x, t), mask)


def _one_mask(x: Array, t: Array, mask: Array) -> Array:
    return _answered(x @ x.T, _fit(x, t), np.broadcast_to(mask[0], mask.shape)) * mask


def _added_up(x: Array, t: Array, mask: Array) -> Array:
    W, V = _fit(x, t), np.linalg.inv(x @ x.T)
    return W - (W * (1 - mask) / np.diag(V)) @ V


# S1-F20.  Three of six weights go from a layer w (1, 6) whose inputs x are orthogonal, each of a size of its own.


def _draw_sizes(rng: np.random.Generator) -> dict[str, Array]:
    """Draw until the wrong ways keep other weights, and until no second choice is nearly as good."""
    while True:
        x = np.linalg.qr(rng.standard_normal((20, 6)))[0].T * 10 ** rng.uniform(-1, 1, (6, 1))
        w = rng.choice([-1.0, 1.0], (1, 6)) * 10 ** rng.uniform(-1, 1, (1, 6))
        costs = sorted(_cost(w, x, keep) for keep in _choices())
        wrong = [_kept_by(score)(w, x)[1] for score in (_weights_alone, _inputs_alone, _not_squared)]
        if min(costs[1], *wrong) > 1.01 * costs[0]:
            return {"w": w, "x": x}


def _choices() -> list[Array]:
    return [np.isin(np.arange(6), kept).astype(float)[None] for kept in combinations(range(6), 3)]


def _cost(w: Array, x: Array, keep: Array) -> float:
    return float(np.mean((w @ x - w * keep @ x) ** 2))


def _layer(w: Array) -> nn.Sequential:
    layer = nn.Linear(6, 1, np.random.default_rng(0), bias=False)
    layer.W.data = w
    return nn.Sequential(layer)


def _outputs_kept(w: Array, x: Array) -> tuple[Array, float]:
    case = net, *_ = _layer(w), nn.SquaredError(), x, w @ x  # its own outputs are the targets
    keep = masks.smallest(obd.saliency(*case), 0.5)
    return keep["0.W"], obd.predicted_change(net, keep, hess_diag(*case))


def _best_choice(w: Array, x: Array) -> tuple[Array, float]:
    best = min(_choices(), key=lambda keep: _cost(w, x, keep))
    return best, _cost(w, x, best)


def _kept_by(score: Callable[[Array, Array], Array]) -> Callable[..., tuple[Array, float]]:
    def form(w: Array, x: Array) -> tuple[Array, float]:
        keep = masks.smallest({"0.W": score(w, x)}, 0.5)["0.W"]
        return keep, _cost(w, x, keep)

    return form


def _weights_alone(w: Array, x: Array) -> Array:
    s: Array = magnitude.saliency(_layer(w))["0.W"]
    return s


def _inputs_alone(w: Array, x: Array) -> Array:
    return np.mean(x**2, axis=1)[None]


def _not_squared(w: Array, x: Array) -> Array:
    return np.abs(w) * np.mean(x**2, axis=1)


STATEMENTS = (
    Formula(
        id="S0-F8c",
        title="the inverse Hessian, pattern by pattern",
        printed=r"H_0^{-1}=\alpha^{-1}I,\qquad H_n^{-1}=H_{n-1}^{-1}"
        r"-H_{n-1}^{-1}J_nB_n(I+J_n^\top H_{n-1}^{-1}J_nB_n)^{-1}J_n^\top H_{n-1}^{-1}",
        verdict="lost",
        remark="Steps of Sherman and Morrison, of Woodbury for many outputs, end at (alpha I + sum JBJ^T)^-1.",
        where=WHERE,
        code="nn.curvature.matrix.inverse_by_sweep",
        notebook="10, section 5.2",
        tolerance=1e-11,
        draw=_draw_patterns,
        right=_sweep,
        referees=(Form("J by complex step, H added up", _inverted()),),
        wrong=(
            Form("no denominator", _no_denominator, "A first-order step: it holds only for a small pattern."),
            Form("start at alpha I", _inverted_from_inverse_damping, "H starts at alpha I, its inverse at I / alpha."),
            Form("sum for mean", _inverted(_summed), "The losses are means over N patterns, and so is H."),
            Form("outputs apart", _inverted(_diagonal), "A step for each output drops what softmax ties together."),
            Form("squared after the sum", _inverted(_mean_first), "The square of a mean is not the mean of squares."),
            Form(
                "gradients for J (Fisher)",
                _fisher,
                "The empirical Fisher matrix vanishes where the net fits; H does not.",
            ),
        ),
    ),
    Formula(
        id="S0-F8d",
        title="in a least-squares layer it is the refit",
        printed=r"w+\delta w=\arg\min_{v_Q=0}\|y-X^\top v\|^2",
        verdict="lost",
        remark="The parabola is the error itself, so that OBS ends where a new fit on the inputs that are left ends.",
        where=WHERE,
        code="pruning.scores.obs.prune_layer",
        notebook="10, section 4",
        draw=_draw_layer,
        right=lambda x, t, mask: obs.prune_layer(_fit(x, t), x, mask),
        referees=(Form("least squares on what is left", _refit),),
        wrong=(
            Form("mask alone", lambda x, t, mask: _fit(x, t) * mask, "The weights that stay do not answer."),
            Form("steps added up", _added_up, "Each step is right alone, and moves the other weights that have to go."),
            Form("covariance for x x^T", _by_covariance, "Without a bias the inputs may not be centred."),
            Form("one mask for all rows", _one_mask, "Every row has its own weights to delete, though all share H."),
        ),
    ),
    Formula(
        id="S1-F20",
        title="approximate the matrix, or what it computes?",
        printed=r"\text{Which is better?}\quad W\approx W',\qquad Y=W\cdot X\approx W'\cdot X",
        verdict="lost",
        remark="The slide prints no answer: with orthogonal inputs Y loses w^2 times the mean square of its input.",
        where='S1, the slide "Which is better?"',
        code="pruning.scores.obd.saliency, pruning.scores.obd.predicted_change",
        notebook="10, section 4",
        draw=_draw_sizes,
        right=_outputs_kept,
        referees=(Form("all choices of three weights", _best_choice),),
        wrong=(
            Form(
                "the largest weights: W near W'",
                _kept_by(_weights_alone),
                "A large weight on a small input changes little: the two agree where X X^T is a multiple of I.",
            ),
            Form("the largest inputs", _kept_by(_inputs_alone), "A large input passes a small weight, too."),
            Form("|w| for w^2", _kept_by(_not_squared), "The change of Y is squared, and with it the weight."),
        ),
    ),
)
