"""The group lasso as a penalty of a net: norms and subgradients, the proximal step, and groups of unequal size."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

import numpy as np

import nn
import textbook
from nn import gradcheck
from nn.companions import Companion
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.penalties import group_lasso

ValueAndSlope: TypeAlias = tuple[float, np.ndarray]
Penalty: TypeAlias = Callable[[nn.Sequential, nn.SGD, group_lasso.Family], Companion]
LAM = 0.2


def _draw_filters(rng: np.random.Generator) -> dict[str, np.ndarray]:
    W = rng.standard_normal((5, 2, 2, 3))
    W[rng.integers(5)] = 0  # a filter that is gone
    return {"W": W}


def _draw_shrink(rng: np.random.Generator) -> dict[str, object]:
    # Filters shorter and longer than the threshold, none near it.
    step, W = rng.uniform(0.1, 0.5), rng.standard_normal((4, 2, 2, 2))
    lengths = np.array([0.3, 0.6, 1.5, 4.0])[:, None, None, None] * step * LAM
    return {"W": W / np.linalg.norm(W.reshape(4, -1), axis=1)[:, None, None, None] * lengths, "step": step}


def _net(W: np.ndarray) -> nn.Sequential:
    layer = nn.Conv2d(W.shape[1], W.shape[0], (W.shape[2], W.shape[3]), np.random.default_rng(0), bias=False)
    layer.W.data, layer.W.grad = W, np.zeros_like(W)
    return nn.Sequential(layer)


def _penalty(W: np.ndarray) -> ValueAndSlope:
    net = _net(W)
    families = [group_lasso.filters(net, "0.W", LAM)]
    group_lasso.add_subgradient(net, families)
    return group_lasso.value(net, families), dict(net.named_parameters())["0.W"].grad


def _penalty_by_filters(W: np.ndarray) -> ValueAndSlope:
    def norm(w: np.ndarray) -> np.ndarray:
        return np.sqrt(np.sum(w * w))

    slopes = [gradcheck.complex_step(norm, w) if w.any() else np.zeros_like(w) for w in W]  # 0 is one of those at 0
    return LAM * sum(math.hypot(*w.ravel()) for w in W), LAM * np.stack(slopes)


def _penalty_unguarded(W: np.ndarray) -> ValueAndSlope:
    lengths = np.sqrt(np.sum(W * W, axis=(1, 2, 3), keepdims=True))
    return LAM * float(np.sum(lengths)), LAM * W / lengths


def _scaled_penalty(W: np.ndarray) -> ValueAndSlope:
    root, (value, slope) = math.sqrt(W[0].size), _penalty(W)
    return root * value, root * slope


def _shrunk(W: np.ndarray, step: float) -> np.ndarray:
    V: np.ndarray = group_lasso.shrink({"0.W": W}, group_lasso.filters(_net(W), "0.W", LAM), step)["0.W"]
    return V


def _shrunk_by_search(W: np.ndarray, step: float) -> np.ndarray:
    # The nearest point lies on the ray through W: a ternary search of its factor, by the objective's differences.
    def higher(a: float, b: float, w: np.ndarray) -> bool:
        square, size = float(np.sum(w * w)), math.sqrt(float(np.sum(w * w)))
        return (a - b) * ((a + b - 2) / 2 * square + step * LAM * size) > 0  # f(a w) - f(b w), for a, b >= 0

    factors = []
    for w in W:
        low, high = 0.0, 1.0
        for _ in range(120):
            a, b = low + (high - low) / 3, high - (high - low) / 3
            low, high = (a, high) if higher(a, b, w) else (low, b)
        factors.append(low)
    return W * np.array(factors)[:, None, None, None]


def _subgradient_step(W: np.ndarray, step: float) -> np.ndarray:
    return W - step * _penalty(W)[1]


def _regression(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    # Ten inputs, three outputs; the weights of seven inputs are zero but for the noise.
    x = 10 * np.linalg.qr(rng.standard_normal((100, 10)))[0].T * rng.uniform(0.8, 1.2, (10, 1))
    W = rng.choice([-1.0, 1.0], (3, 10)) * rng.uniform(0.5, 1.5, (3, 10)) * (np.arange(10) < 3)
    return x, W @ x + 0.1 * rng.standard_normal((3, 100))


class _PlainThreshold(Companion):
    """Shrinks by eta lam after a step with momentum."""

    def __init__(self, net: nn.Sequential, optimizer: nn.SGD, family: group_lasso.Family):
        self.net, self.optimizer, self.family = net, optimizer, family

    def after_step(self, step: int) -> None:
        """Shrink all groups by eta lam."""
        W = dict(self.net.named_parameters())["0.W"]
        W.data = group_lasso.shrink({"0.W": W.data}, self.family, self.optimizer.learning_rate)["0.W"]


def _trained(x: np.ndarray, t: np.ndarray, penalty: Penalty, momentum: float = 0.0) -> tuple[float, int]:
    """Return the violation of the optimality conditions after 120 steps, in units of lam, and the number of zeros."""
    net, loss = nn.Sequential(nn.Linear(10, 3, np.random.default_rng(1), bias=False)), nn.SquaredError()
    optimizer = nn.SGD(net.parameters(), 0.3 * (1 - momentum), momentum)
    companion = penalty(net, optimizer, group_lasso.columns(net, "0.W", LAM))
    for _ in range(120):
        nn.training.training_step(net, loss, optimizer, x, t, [companion])
    W = dict(net.named_parameters())["0.W"].data
    pull = 2 / x.shape[1] * (t - W @ x) @ x.T  # -dE/dW, E = 1/N sum (t - W x)^2
    violations = [
        np.linalg.norm(p - LAM * w / np.linalg.norm(w)) if w.any() else np.linalg.norm(p) - LAM
        for p, w in zip(pull.T, W.T)
    ]
    return max(0.0, float(max(violations))) / LAM, int(np.sum(~W.any(axis=0)))


def _subgradients(threshold: float, net: nn.Sequential, optimizer: nn.SGD, family: group_lasso.Family) -> Companion:
    return group_lasso.Subgradients(net, [family], threshold)


def _prox_against_subgradient(rng: np.random.Generator) -> Iterator[Measured]:
    """Least squares with ten groups, seven of which are zero at the minimum."""
    x, t = _regression(rng)

    def prox(net: nn.Sequential, optimizer: nn.SGD, family: group_lasso.Family) -> Companion:
        return group_lasso.ProximalSteps(net, [family], optimizer)

    for momentum in (0.0, 0.5):
        violation, zeros = _trained(x, t, prox, momentum)
        yield Measured(f"prox, momentum {momentum}: optimality conditions", violation)
        yield Measured(f"prox, momentum {momentum}: groups not zero", abs(7 - zeros))
    for name, threshold, message in (
        ("subgradient", 0.0, "Every step throws a small group across zero by eta lam: it hovers, and is never zero."),
        ("subgradient, |w| < 1e-4 set to zero", 1e-4, "The jumps are longer than the threshold of the paper's code."),
    ):
        zeros = _trained(x, t, partial(_subgradients, threshold))[1]
        yield Measured(f"{name}: share not zero", (7 - zeros) / 7, wrong=True, message=message)
    message = "Momentum makes the gradient's steps 1 / (1 - mu) times as long: this solves the problem of (1 - mu) lam."
    yield Measured("eta lam under momentum", _trained(x, t, _PlainThreshold, 0.5)[0], wrong=True, message=message)


def _entering(rng: np.random.Generator) -> Iterator[Measured]:
    """The lam at which groups of noise enter: 64 vectors y that are of mean square 1 in every direction, exactly."""
    sizes, n = np.array([1, 4, 9]), 64
    X, noise = (np.linalg.qr(rng.standard_normal((n, n)))[0] for _ in range(2))
    groups = np.split(np.arange(14), np.cumsum(sizes)[:-1])

    def lams(weights: np.ndarray) -> np.ndarray:
        one = [np.array([w]) for w in weights]  # each group alone, with X^T X = I, in units in which a size 1 has 1
        rows = [
            [n * textbook.group_lasso_lambda_max(X[:, g], y, [range(len(g))], w) for g, w in zip(groups, one)]
            for y in math.sqrt(n) * noise
        ]
        return np.array(rows)

    one = np.ones(3)
    yield Measured("weights sqrt(p): mean square", relative(np.mean(lams(np.sqrt(sizes)) ** 2, axis=0), one))
    plain = lams(one)
    for name, found, message in (
        ("no weights", plain, "Then the mean square of a group of noise is p: in the squares of nine there is more."),
        (
            "weights p",
            lams(sizes.astype(float)),
            "It is the square of the norm that grows like p, the norm like its root.",
        ),
    ):
        yield Measured(f"{name}: mean square", relative(np.mean(found**2, axis=0), one), wrong=True, message=message)
    shares = np.mean(plain > 2, axis=0)
    message = "At lam = 2 noise lets in 5 in 100 groups of one and 91 in 100 of nine (chi-square)."
    yield Measured("no weights: 9 enters as seldom as 1", float(shares[2] - shares[0]), wrong=True, message=message)


STATEMENTS = (
    Formula(
        id="S1-F23",
        title="norms of groups as a penalty, and their slopes",
        printed=r"R_g(w)=\sum_{g=1}^G\|w^{(g)}\|_g,\qquad\|w^{(g)}\|_g=\sqrt{\sum_{i=1}^{|w^{(g)}|}(w_i^{(g)})^2}",
        verdict="right",
        remark="It is the 2-norm, not squared; its slope is w / ||w||, and at zero 0 is taken from the unit ball.",
        where="S1, Group Lasso Regularization",
        code="pruning.penalties.group_lasso.value, pruning.penalties.group_lasso.add_subgradient",
        notebook="12, section 1",
        draw=_draw_filters,
        right=_penalty,
        referees=(Form("complex step, filter by filter", _penalty_by_filters),),
        wrong=(
            Form(
                "norms squared",
                lambda W: (LAM * float(np.sum(W * W)), 2 * LAM * W),
                "That is weight decay: it shrinks every weight by a share and makes none zero.",
            ),
            Form(
                "one norm of all weights",
                lambda W: (LAM * float(np.linalg.norm(W)), LAM * W / np.linalg.norm(W)),
                "The root is taken in every group: with one root for all there is one group.",
            ),
            Form(
                "absolute values",
                lambda W: (LAM * float(np.sum(np.abs(W))), LAM * np.sign(W)),
                "That is the lasso, which zeros single weights.",
            ),
            Form(
                "times sqrt(|w|)", _scaled_penalty, "The slide counts the weights of a group but does not weigh by it."
            ),
            Form("w / ||w|| at zero, too", _penalty_unguarded, "0 / 0 is no number, and spoils the net in one step."),
        ),
    ),
    Formula(
        id="D10a",
        title="the proximal step of a group",
        printed=r"w\leftarrow\Big(1-\frac{\eta\lambda_g}{\|w\|}\Big)_+w",
        verdict="lost",
        remark="It follows the gradient step on the loss; groups shorter than eta lambda become exactly zero.",
        where="S1, Group Lasso Regularization (derived)",
        code="pruning.penalties.group_lasso.shrink",
        notebook="12, section 2",
        draw=_draw_shrink,
        right=_shrunk,
        referees=(Form("search along the ray", _shrunk_by_search),),
        wrong=(
            Form(
                "threshold lam", lambda W, step: _shrunk(W, 1.0), "The penalty is scaled by the step, as the loss is."
            ),
            Form(
                "no positive part",
                _subgradient_step,
                "That is the step along the subgradient: a short group is thrown across zero.",
            ),
            Form(
                "factor 1 / (1 + eta lam)",
                lambda W, step: W / (1 + step * LAM),
                "That is the proximal step of half the square of the norm, which never reaches zero.",
            ),
        ),
    ),
    Claim(
        id="D10",
        title="the prox makes exact zeros, the subgradient none",
        printed=r"v=w-\eta\nabla E(w),\qquad w\leftarrow\Big(1-\frac{\eta\lambda_g}{(1-\mu)\|v\|}\Big)_+v",
        verdict="lost",
        remark="Of seven groups that are zero at the minimum, proximal steps find seven and subgradient steps none.",
        where="S1, Group Lasso Regularization (derived)",
        code="pruning.penalties.group_lasso.ProximalSteps, pruning.penalties.group_lasso.Subgradients",
        notebook="12, section 3",
        tolerance=1e-9,
        measure=_prox_against_subgradient,
        referee="optimality conditions",
    ),
    Claim(
        id="D9",
        title="large groups need large weights",
        printed=r"\lambda_j\propto\sqrt{p_j}",
        verdict="lost",
        remark="The norm of p_j numbers of noise grows like sqrt(p_j); without weights large groups enter first.",
        where="S1, Group lasso (derived)",
        code="textbook.group_lasso_lambda_max",
        notebook="06, section 7",
        measure=_entering,
        referee="balanced noise: mean square p_j",
    ),
)
