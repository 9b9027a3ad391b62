"""Self-adaptive pruning: the slope of a decision, what an image costs, what the straight-through gradient is worth."""

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

import nn
from pruning.dynamic import straight_through
from pruning.dynamic.self_adaptive import Gated, WithinBudget, cost
from pruning.dynamic.straight_through import Quadratic
from pruning.ledger.core import Claim, Form, Formula, Measured, relative

Array = np.ndarray
BUDGET, STRENGTH = 0.3, 5.0


def _sigmoid(s: Any) -> Any:
    return 1 / (1 + np.exp(-s))


def _saliencies(c_in: int, c_out: int) -> nn.Sequential:
    """Return a layer that predicts s = 0 of all images."""
    affine = nn.Linear(c_in, c_out, np.random.default_rng(0))
    affine.W.data = np.zeros((c_out, c_in))
    return nn.Sequential(nn.GlobalAvgPool2d(), affine)


# ---- D140: the slope of a decision -----------------------------------------------------------------------------------
def _images(rng: np.random.Generator) -> dict[str, Any]:
    # Saliencies beyond both ends of the clip and between, of images that see v1 and of images that see v2.
    s = np.concatenate([rng.uniform(-2.2, 2.2, (3, 6)), rng.uniform(2.6, 4, (1, 6)), rng.uniform(-4, -2.6, (1, 6))])
    soft = rng.permutation(np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]))
    return {
        "W": rng.standard_normal((5, 2)),
        "x": rng.standard_normal((2, 4, 6)),
        "s": s,
        "soft": soft,
        "g": rng.standard_normal((5, 4, 6)),
    }


def _layer(W: Array, x: Array, s: Array, soft: Array, g: Array) -> tuple[Array, Array]:
    """Return y and dE/ds of a gated 1 x 1 convolution of images with four pixels."""
    layer = Gated(nn.Conv2d(2, 5, 1, np.random.default_rng(0), bias=False), _saliencies(2, 5), None)
    layer.conv.W.data, layer.noise = W[:, :, None, None], (s, soft)
    y = layer.forward(x[:, :, None, :])
    return y[:, :, 0, :], layer.to_saliency(g[:, :, None, :])


def _by_hand(slope: Callable[[Array], Array], through: Callable[[Array], Array]) -> Callable[..., tuple[Array, Array]]:
    def form(W: Array, x: Array, s: Array, soft: Array, g: Array) -> tuple[Array, Array]:
        a = np.einsum("oc,cpn->opn", W, x)
        v1 = np.minimum(1, np.maximum(0, 1.2 * _sigmoid(s) - 0.1))
        v = np.where(soft == 1, v1, np.where(s > 0, 1.0, 0.0))
        return v[:, None] * a, np.einsum("opn,opn->on", g, a) * slope(s) * through(soft)

    return form


def _complex_step(s: Array) -> Array:
    v = 1.2 * _sigmoid(s + 1e-30j) - 0.1
    return np.asarray(np.where((v.real > 0) & (v.real < 1), v.imag / 1e-30, 0.0))


def _all(soft: Array) -> Array:
    return np.ones(soft.shape)


# ---- D141: what an image costs ---------------------------------------------------------------------------------------
def _decisions(rng: np.random.Generator) -> dict[str, Any]:
    v, w = (1.0 * (rng.random((n, 6)) < 0.6) for n in (4, 3))
    v[0], w[0] = 1, 1
    return {"v": v, "w": w}


def _budgeted(v: Array, w: Array) -> tuple[Array, ...]:
    """Return the cost of each image, the penalty, and its derivatives for one channel of each of two layers."""
    rng = np.random.default_rng(0)
    layers = [Gated(nn.Conv2d(i, o, k, rng, stride=k), _saliencies(i, o), None) for i, o, k in ((2, 4, 1), (4, 3, 2))]
    layers[0].imposed, layers[1].imposed = v, w
    net = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.Flatten()).eval()
    loss, t = WithinBudget(nn.SquaredError(), net, BUDGET, STRENGTH), np.zeros((3 * 2 * 3, v.shape[1]))
    y = net.forward(rng.standard_normal((2, 4, 6, v.shape[1])))
    penalty = loss.forward(y, t) - nn.SquaredError().forward(y, t)
    loss.backward()
    extras = [np.broadcast_to(np.asarray(layer.extra), layer.v.shape) for layer in layers]
    return cost(net), np.array(penalty), extras[0], extras[1]


def _counted(v: Array, w: Array, n_in: bool = True, read: bool = True) -> Any:
    # Products of every filter with every channel: 24 positions of one pixel, and 6 of four.
    first = sum(24 * v[o] for _ in range(2) for o in range(4))
    second = sum(6 * 4 * w[o] * (v[c] if read else 1) for c in range(4) for o in range(3))
    if not n_in:
        return (24 * v.sum(axis=0) + 6 * 4 * w.sum(axis=0)) / (24 * 4 + 6 * 4 * 3)
    return (first + second) / (24 * 8 + 24 * 12)


def _penalized(
    counted: Callable[..., Any] = _counted, of_mean: bool = True, passed: bool = True, N: int = 6
) -> Callable[..., tuple[Array, ...]]:
    """Return the same by hand, with derivatives by the complex step of lam (mean cost - budget)^2."""

    def penalty(v: Any, w: Any) -> Any:
        share = counted(v, w)
        return STRENGTH * ((share.sum() / N - BUDGET) ** 2 if of_mean else np.sum((share - BUDGET) ** 2) / N)

    def form(v: Array, w: Array) -> tuple[Array, ...]:
        slopes = [np.zeros(v.shape), np.zeros(w.shape)]
        for k, u in enumerate((v, w)):
            for index in np.ndindex(u.shape):
                step = np.zeros(u.shape, complex)
                step[index] = 1e-30j
                moved = penalty(v + step, w) if k == 0 else penalty(v, w + step)
                slopes[k][index] = moved.imag / 1e-30
        if not passed:  # what a channel costs where it is made, and not where it is read
            slopes[0] = slopes[0] * 48 / (48 + 24 * w.sum(axis=0))
        return counted(v, w), np.array(penalty(v, w)), slopes[0], slopes[1]

    return form


def _without_n_in(v: Any, w: Any) -> Any:
    return _counted(v, w, n_in=False)


def _all_are_read(v: Any, w: Any) -> Any:
    return _counted(v, w, read=False)


# ---- D142: the straight-through gradient -----------------------------------------------------------------------------
def _expected(loss: Quadratic, s: Array) -> float:
    total = 0.0
    for bits in product((0.0, 1.0), repeat=len(s)):
        b = np.array(bits)
        p = math.prod(math.erfc((1 - 2 * bit) * each / math.sqrt(2)) / 2 for bit, each in zip(bits, s))
        total += p * float(loss.g @ b + loss.curvature / 2 * b @ loss.A @ b)
    return total


def _differences(loss: Quadratic, s: Array) -> Array:
    found = []
    for step in 2e-3 * np.eye(len(s)):
        near, far = (_expected(loss, s + k * step) - _expected(loss, s - k * step) for k in (1, 2))
        found.append((8 * near - far) / 12 / 2e-3)
    return np.array(found)


def _mean_slope(s: Array) -> Array:
    """Return E v1'(s + e) / phi(s), by midpoints of a fine grid between the kinks."""
    ends = np.linspace(-math.log(11), math.log(11), 200_001)
    middle = (ends[1:] + ends[:-1]) / 2
    slope, width = 1.2 * _sigmoid(middle) * _sigmoid(-middle), ends[1] - ends[0]
    density = np.exp(-((middle - s[:, None]) ** 2) / 2)
    return np.asarray(np.sum(slope * density, axis=1) * width / np.exp(-s * s / 2))


def _straight_through(rng: np.random.Generator) -> Iterator[Measured]:
    """Four decisions: the estimator over the exact gradient, entry by entry, without and with d2L/db_i2."""
    b = straight_through.patterns(4)
    for _ in range(2):
        bent, s = straight_through.drawn(4, 3.0, rng)
        pairs = Quadratic(bent.g, bent.A - np.diag(np.diag(bent.A)), bent.curvature)
        true, factor = _differences(pairs, s), _mean_slope(s)
        yield Measured("d E L / ds", relative(straight_through.exact(pairs.losses(b), s), true))
        passed = straight_through.straight_through(pairs.gradients(b), s)
        yield Measured("E[dL/db v1'] = factor d E L / ds", relative(passed, factor * true))
        message = "v1 has another mean slope than the density of the noise has at the step."
        yield Measured("without the factor", relative(passed, true), True, message)
        true, passed = _differences(bent, s), straight_through.straight_through(bent.gradients(b), s)
        message = "dL/db_i is then the slope at one end, and what opening changes is the mean slope between both."
        yield Measured("where L bends in single decisions", relative(passed, factor * true), True, message)
    one, s = Quadratic(np.array([-0.4]), np.ones((1, 1)), 1.0), np.array([-1.0])
    found = straight_through.straight_through(one.gradients(straight_through.patterns(1)), s)[0]
    yield Measured("b^2/2 - 0.4 b at s = -1: the sign is wrong", float(_differences(one, s)[0] < 0 or found > 0))


WHERE = "Chen, Zhu, Li, Zhao 2019, Self-adaptive network pruning"
HASHING = "Kaiser, Bengio 2018, Discrete autoencoders for sequence models"
CODE = "pruning.dynamic.self_adaptive"
STATEMENTS = (
    Formula(
        id="D140",
        title="self-adaptive pruning: the slope of a decision",
        printed=r"\frac{\partial E}{\partial s}=\frac{\partial E}{\partial v}\,[0<v_1<1]\,1.2\,\sigma(s)(1-\sigma(s))"
        r"\quad\text{for }v=v_1\text{ and for }v=v_2=[s>0]",
        verdict="lost",
        remark="The abstract has no formula; v1 and v2 are those of improved semantic hashing.",
        where=f"derived for {WHERE}, abstract, after {HASHING}",
        code=f"{CODE}.Gated.forward, {CODE}.Gated.to_saliency",
        notebook="24, section 2",
        draw=_images,
        right=_layer,
        referees=(Form("complex step of v1", _by_hand(_complex_step, _all)),),
        wrong=(
            Form(
                "no clip mask",
                _by_hand(lambda s: 1.2 * _sigmoid(s) * _sigmoid(-s), _all),
                "Where v1 is 0 or 1 it does not move with s.",
            ),
            Form(
                "the slope of a sigmoid",
                _by_hand(lambda s: _complex_step(s) / 1.2, _all),
                "v1 is stretched by 1.2 before it is clipped.",
            ),
            Form(
                "images that see v1 only",
                _by_hand(_complex_step, lambda soft: soft),
                "Those that see the step v2 would teach nothing: their gradient takes the way of v1.",
            ),
        ),
    ),
    Formula(
        id="D141",
        title="self-adaptive pruning: what an image costs",
        printed=r"c_n=\frac{\sum_l k_l^2A_l\,n^{l-1}n^l}{\sum_l k_l^2A_lN^{l-1}N^l},\quad"
        r"\lambda\left(\frac1N\sum_nc_n-p\right)^2",
        verdict="lost",
        remark="The abstract says that the average cost meets a budget; the term is ours.",
        where=f"derived for {WHERE}, abstract",
        code=f"{CODE}.cost, {CODE}.WithinBudget",
        notebook="24, section 3",
        draw=_decisions,
        right=_budgeted,
        referees=(Form("filter by filter, complex step", _penalized()),),
        wrong=(
            Form("without n_in", _penalized(_without_n_in), "A filter is cheaper the fewer channels it reads."),
            Form("all channels are read", _penalized(_all_are_read), "What is closed in front need not be read."),
            Form("each image within the budget", _penalized(of_mean=False), "One image may cost more than another."),
            Form(
                "paid where it is made only",
                _penalized(passed=False),
                "A channel that opens is read by all open filters behind it.",
            ),
        ),
    ),
    Claim(
        id="D142",
        title="straight-through: exact up to a factor, or not",
        printed=r"E\left[\frac{\partial L}{\partial b_i}(b)\,v_1'(s_i+\epsilon_i)\right]"
        r"=\frac{E\,v_1'(s_i+\epsilon_i)}{\varphi(s_i)}\,\frac{\partial}{\partial s_i}E\,L(b)",
        verdict="right if",
        remark="If L is linear in each single decision; where it bends in one, even the sign can be wrong.",
        where="derived; the estimator is that of Bengio, Leonard, Courville 2013",
        code="pruning.dynamic.straight_through.exact, pruning.dynamic.straight_through.straight_through",
        notebook="24, section 4",
        tolerance=1e-8,
        measure=_straight_through,
        referee="differences of the sum over all decisions",
    ),
)
