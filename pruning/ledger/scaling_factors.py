"""Factors of blocks and sparse groups: what APG solves, what its clip does, and what a block at zero leaves."""

import math
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np

import nn
import textbook
from pruning import surgery
from pruning.ledger import plain
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.penalties import group_lasso, scaling_factors

Array = np.ndarray
Slope = Callable[[Array], Array]
GAMMA, MU = 0.3, 0.9


# ---- D60, D61: accelerated proximal gradients ------------------------------------------------------------------------
def _path(slope: Slope, size: int, step: float, iterations: int, clip: bool) -> Array:
    """The factors of `APG` after every step, (iterations, size); without the clip those of `accelerated_step`."""
    net = nn.Sequential(nn.Linear(1, size, np.random.default_rng(0)), nn.Scale(size, size))
    apg = scaling_factors.APG(net, nn.SGD(scaling_factors.others(net), step), GAMMA, MU)
    (factor,), v, path = scaling_factors.factors(net).values(), np.zeros(size), []
    for k in range(iterations):
        s, factor.grad = factor.data, slope(factor.data)
        apg.after_step(k + 1)
        free, v = scaling_factors.accelerated_step(s, v, factor.grad, step, GAMMA, MU)
        factor.data = factor.data if clip else free
        path.append(factor.data)
    return np.stack(path)


def _misprinted(slope: Slope, size: int, step: float, threshold: float, back: float) -> Array:
    # The recursion with another threshold, or v <- z - back s + mu v.
    s, v = np.ones(size), np.zeros(size)
    for _ in range(2000):
        z = s - step * slope(s)
        z = np.sign(z) * np.maximum(np.abs(z) - threshold, 0)
        v = z - back * s + MU * v
        s = np.maximum(0, z + MU * v)
    return s


def _nonnegative_lasso(X: Array, y: Array) -> Array:
    # The best of all supports, each by its normal equations.
    n, p = X.shape
    best, value = np.zeros(p), y @ y / (2 * n)
    for support in (list(each) for size in range(1, p + 1) for each in combinations(range(p), size)):
        b = np.linalg.solve(X[:, support].T @ X[:, support] / n, X[:, support].T @ y / n - GAMMA)
        r = y - X[:, support] @ b
        if (b > 0).all() and r @ r / (2 * n) + GAMMA * b.sum() < value:
            best, value = np.zeros(p), r @ r / (2 * n) + GAMMA * b.sum()
            best[support] = b
    return best


def _what_apg_solves(rng: np.random.Generator) -> Iterator[Measured]:
    """Least squares with four factors, one of which is negative at the minimum."""
    X = 6 * np.linalg.qr(rng.standard_normal((36, 4)))[0] @ (np.eye(4) + 0.1 * rng.standard_normal((4, 4)))
    y = X @ np.array([1.5, -1.0, 0.8, 0.0]) + 0.05 * rng.standard_normal(36)
    step = 0.5 / float(np.linalg.eigvalsh(X.T @ X / 36)[-1])

    def slope(s: Array) -> Array:
        return np.asarray(X.T @ (X @ s - y) / 36)

    lasso, nonnegative = textbook.lasso(X, y, GAMMA).beta, _nonnegative_lasso(X, y)
    clipped = _path(slope, 4, step, 2000, clip=True)[-1]
    yield Measured("with the clip: the lasso of factors of 0 or more", relative(clipped, nonnegative))
    yield Measured("without: the lasso", relative(_path(slope, 4, step, 2000, clip=False)[-1], lasso))
    yield Measured(
        "with the clip: the lasso", relative(clipped, lasso), True, "A factor that wants to be negative is 0."
    )
    for name, threshold, back, message in (
        ("threshold gamma", GAMMA, 1.0, "The penalty is scaled by the step, as the loss is."),
        ("threshold eta gamma / (1 - mu)", step * GAMMA / (1 - MU), 1.0, "That belongs to a prox behind momentum."),
        ("v <- z + mu v", step * GAMMA, 0.0, "v is how far the factors moved, z - s, and not where they are."),
    ):
        with np.errstate(all="ignore"):
            off = relative(_misprinted(slope, 4, step, threshold, back), nonnegative)
        yield Measured(name, off, True, message)


def _zeros_that_stay(rng: np.random.Generator) -> Iterator[Measured]:
    """Six factors that are zero at the minimum; how often they are not, from the first time at or below zero on."""
    a, c = rng.uniform(0.5, 1.5, 6), rng.uniform(0.0, 0.15, 6)

    def left(path: Array) -> float:
        ends = [path[(each <= 0).argmax() :, k] for k, each in enumerate(path.T)]
        return float(np.mean([(end[:100] != 0).mean() for end in ends]))

    for clip in (True, False):
        path = _path(lambda s: a * (s - c), 6, 0.05, 400, clip)
        yield Measured(
            "with the clip" if clip else "no clip", left(path), not clip, "Where z = 0, s = mu v is below 0."
        )


# ---- D62: sparse groups ----------------------------------------------------------------------------------------------
def _draw_sparse(rng: np.random.Generator) -> dict[str, Any]:
    W = rng.standard_normal((12, 5)) * np.repeat([0.4, 1.0, 3.0], 4)[:, None]
    return {"W": W, "lam": rng.uniform(0.4, 0.6), "share": rng.uniform(0.3, 0.6)}


def _sparse(W: Array, lam: float, share: float) -> Array:
    net = nn.Sequential(nn.Linear(5, 12, np.random.default_rng(0)))
    families = group_lasso.sparse_groups(net, group_lasso.filters(net, "0.W", lam, weighted=True), share)
    return np.asarray(group_lasso.shrink_one_after_the_other({"0.W": W}, families, 1.0)["0.W"])


def _by_supports(W: Array, lam: float, share: float) -> Array:
    # Of every support the stationary point with the signs of w, if there is one; of these the best.
    single, group, rows = share * lam, (1 - share) * lam * math.sqrt(5), []
    for w in W:
        best, value = np.zeros(5), w @ w / 2
        for support in (list(each) for size in range(1, 6) for each in combinations(range(5), size)):
            u, x = w[support] - single * np.sign(w[support]), np.zeros(5)
            length = float(np.linalg.norm(u)) - group
            x[support] = u * length / np.linalg.norm(u)
            at = (x - w) @ (x - w) / 2 + single * np.abs(x).sum() + group * np.linalg.norm(x)
            if length > 0 and (x[support] * w[support] > 0).all() and at < value:
                best, value = x, at
        rows.append(best)
    return np.stack(rows)


def _soft(W: Array, threshold: float) -> Array:
    return np.asarray(np.sign(W) * np.maximum(np.abs(W) - threshold, 0))


def _block(W: Array, threshold: float) -> Array:
    size = np.linalg.norm(W, axis=1, keepdims=True)
    return np.asarray(W * np.maximum(0, 1 - threshold / np.where(size > 0, size, 1)))


# ---- D63, D64: factors of blocks -------------------------------------------------------------------------------------
def _residual(rng: np.random.Generator) -> tuple[Any, Any, Array]:
    """A net with a block of two convolutions and two batch norms, the body of the block, and images."""
    body = [nn.Conv2d(4, 5, 3, rng, padding=1), nn.BatchNorm(5), nn.ReLU(), nn.Conv2d(5, 4, 3, rng, padding=1)]
    block = nn.Residual(nn.Sequential(*body, nn.BatchNorm(4)))
    net: Any = scaling_factors.with_block_factors(nn.Sequential(nn.Conv2d(2, 4, 3, rng), block, nn.ReLU())).eval()
    body = net.layers[1].body.layers
    for norm in (body[1], body[4]):
        C = norm.channels
        norm.gamma.data, norm.beta.data = rng.uniform(0.5, 1, C), rng.uniform(0.6, 1, C)
        norm.running_mean, norm.running_variance = rng.uniform(-0.3, 0.3, C), rng.uniform(0.5, 2, C)
    return net, body, rng.standard_normal((2, 7, 6, 3))


def _by_hand(net: Any, x: Array, s: float) -> Array:
    first, block = net.layers[:2]
    x = plain.forward(first, x)
    return np.maximum(0, x + s * plain.forward(nn.Sequential(*block.body.layers[:5]), x))


def _folded(rng: np.random.Generator) -> Iterator[Measured]:
    net, body, x = _residual(rng)
    body[5].s.data = np.array([0.4])
    y = _by_hand(net, x, 0.4)
    small: Any = surgery.fold_scales(net)
    yield Measured("0.4, in gamma and beta", relative(small.forward(x), y))
    small.layers[1].body.layers[4].beta.data = body[4].beta.data
    yield Measured("in gamma alone", relative(small.forward(x), y), True, "beta is a part of what the block adds.")
    off: Any = surgery.remove_blocks(net, ["1"])
    yield Measured("0.4, block removed", relative(off.forward(x), y), True, "A small factor is not zero.")
    body[5].s.data = np.zeros(1)
    dead = scaling_factors.dead_blocks(net)
    yield Measured("0, block removed", relative(surgery.remove_blocks(net, dead).forward(x), _by_hand(net, x, 0.0)))
    yield Measured("blocks found dead", float(dead != ["1"]))


def _rescaled(rng: np.random.Generator) -> Iterator[Measured]:
    net, body, x = _residual(rng)
    y, apg = _by_hand(net, x, 1.0), scaling_factors.APG(net, nn.SGD(scaling_factors.others(net), 0.1), GAMMA)
    whole = apg.penalty()
    norm, gamma, beta = body[4], body[4].gamma.data, body[4].beta.data
    for t in (10.0, 1e4):
        body[5].s.data, norm.gamma.data, norm.beta.data = np.array([1 / t]), t * gamma, t * beta
        yield Measured("s / t, gamma t, beta t: the function", relative(net.forward(x), y))
        yield Measured("the penalty, times t", abs(t * apg.penalty() - whole) / whole)
        message = "Nothing but decay on the other weights holds gamma sum |s| away from 0."
        yield Measured("the penalty stays", abs(apg.penalty() - whole) / whole, True, message)
        norm.beta.data = beta
        message = "What the block adds is t (gamma .. + beta) / t."
        yield Measured("s / t, gamma t", relative(net.forward(x), y), True, message)


STATEMENTS = (
    Claim(
        id="D60",
        title="what APG with Nesterov's momentum solves",
        printed=r"z=S_{\eta\gamma}(\lambda-\eta\nabla G),\quad v\leftarrow z-\lambda+\mu v,"
        r"\quad\lambda\leftarrow z+\mu v",
        verdict="right if",
        remark="The authors' code adds max(0, .), and then it is the lasso of factors of 0 or more.",
        where="Huang and Wang 2018, APG; the clip in their code, where it has no equation",
        code="pruning.penalties.scaling_factors.APG, pruning.penalties.scaling_factors.accelerated_step",
        notebook="18, section 7",
        tolerance=1e-9,
        measure=_what_apg_solves,
        referee="exact lasso; best of all supports",
    ),
    Claim(
        id="D61",
        title="a factor at zero stays there, by the clip",
        printed=r"\lambda\leftarrow\max(0,z+\mu v)",
        verdict="lost",
        remark="z = 0 is not enough: the momentum of a falling factor takes it below zero, and its block changes sign.",
        where="the authors' code of Huang and Wang 2018",
        code="pruning.penalties.scaling_factors.APG",
        notebook="18, section 7",
        tolerance=0.0,
        measure=_zeros_that_stay,
        referee="count of factors that are not zero",
    ),
    Formula(
        id="D62",
        title="the proximal step of the sparse group lasso",
        printed=r"\operatorname{prox}(w)=\Big(1-\frac{(1-\alpha)\lambda\sqrt{P}}{\|S_{\alpha\lambda}(w)\|}\Big)_+"
        r"S_{\alpha\lambda}(w)",
        verdict="lost",
        remark="Single weights first, then their group: the groups nest.",
        where="Alvarez and Salzmann 2016, the regularizer; the order derived here",
        code="pruning.penalties.group_lasso.sparse_groups, pruning.penalties.group_lasso.shrink_one_after_the_other",
        notebook="12, section 2",
        draw=_draw_sparse,
        right=_sparse,
        referees=(Form("best of all supports", _by_supports),),
        wrong=(
            Form(
                "group first",
                lambda W, lam, share: _soft(_block(W, (1 - share) * lam * math.sqrt(5)), share * lam),
                "The norm that decides about a group is that of what the single thresholds leave.",
            ),
            Form(
                "both thresholds of w itself",
                lambda W, lam, share: np.where(
                    _block(W, (1 - share) * lam * math.sqrt(5)) != 0, _soft(W, share * lam), 0
                ),
                "A group that stays is shrunk as a whole, too.",
            ),
            Form(
                "no sqrt(P)",
                lambda W, lam, share: _block(_soft(W, share * lam), (1 - share) * lam),
                "Groups of P weights are weighed by sqrt(P), as noise makes them long.",
            ),
            Form(
                "alpha and 1 - alpha exchanged",
                lambda W, lam, share: _sparse(W, lam, 1 - share),
                "alpha is the share of the single weights.",
            ),
        ),
    ),
    Claim(
        id="D63",
        title="a block's factor folded, and the block at zero removed",
        printed=r"r^{i+1}=\lambda^iF^i(r^i)+r^i,\qquad\lambda^i=0\Rightarrow r^{i+1}=r^i",
        verdict="right",
        remark="Exact: the factor goes into gamma and beta of the last batch norm, a block at zero into its shortcut.",
        where="Huang and Wang 2018, residual block selection",
        code="pruning.surgery.fold_scales, pruning.surgery.remove_blocks,"
        " pruning.penalties.scaling_factors.dead_blocks",
        notebook="18, section 7",
        measure=_folded,
        referee="block in plain NumPy",
    ),
    Claim(
        id="D64",
        title="a factor can hide in its block",
        printed=r"\min\ E(W,\lambda)+R(W)+\gamma\|\lambda\|_1",
        verdict="right if",
        remark="Only if R decays the weights of the block: s / t with gamma t and beta t is the same function.",
        where="Huang and Wang 2018, the objective",
        code="pruning.penalties.scaling_factors.APG.penalty",
        notebook="18, section 7",
        measure=_rescaled,
        referee="block in plain NumPy",
    ),
)
