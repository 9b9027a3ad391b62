"""L0 regularization: how often a gate is open, its slope, the gate of eval mode, and how many weights are left."""

from collections.abc import Callable, Iterator
from itertools import pairwise, product
from typing import Any

import numpy as np

import nn
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.penalties import families
from pruning.penalties.families import Family
from pruning.penalties.hard_concrete import HardConcrete
from pruning.penalties.l0 import ExpectedL0, expected_weights

Array = np.ndarray
BETA, GAMMA, ZETA = 0.6, -0.15, 1.2


def _sigmoid(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def _stretched(u: Any, a: Any) -> Any:
    return _sigmoid((np.log(u) - np.log(1 - u) + a) / BETA) * (ZETA - GAMMA) + GAMMA


def _gate(a: Array) -> HardConcrete:
    gate = HardConcrete(len(a), np.random.default_rng(0), beta=BETA, gamma=GAMMA, zeta=ZETA)
    gate.log_alpha.data = np.array(a)
    return gate


def _masses(a: float) -> tuple[float, float]:
    """Return u at which the stretched s passes 0 and 1, by bisection: it rises with u."""
    ends = []
    for level in (0.0, 1.0):
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if _stretched(middle, a) < level else (low, middle)
        ends.append(high)
    return ends[0], ends[1]


# ---- D90, D91: one gate ----------------------------------------------------------------------------------------------
def _log_alphas(rng: np.random.Generator) -> dict[str, Any]:
    return {"a": rng.uniform(-2, 2, 5)}


def _probabilities(a: Array) -> tuple[Array, Array]:
    gate = _gate(a)
    return gate.open(), gate.wholly_open()


def _bisected(a: Array) -> tuple[Array, Array]:
    found = np.array([_masses(each) for each in a])
    return 1 - found[:, 0], 1 - found[:, 1]


def _open(shift: Callable[[float], float]) -> Callable[[Array], tuple[Array, Array]]:
    # Both probabilities, with another shift of log alpha in the logit, which is given log(s / (1 - s)) at the end.
    ends = np.log(-GAMMA / ZETA), np.log((1 - GAMMA) / (ZETA - 1))
    return lambda a: (_sigmoid(a - shift(ends[0])), _sigmoid(a - shift(ends[1])))


def _noise_and_signal(rng: np.random.Generator) -> dict[str, Any]:
    # Gates that are closed, between, and wholly open.
    return {"a": rng.uniform(-0.5, 0.5, 6), "u": np.array([0.02, 0.3, 0.45, 0.5, 0.6, 0.98]), "g": rng.uniform(1, 2, 6)}


def _slope(a: Array, u: Array, g: Array) -> Array:
    gate = _gate(a)
    gate.noise = u
    gate.forward(np.ones((len(a), 1)))
    gate.backward(g[:, None])
    return np.asarray(gate.log_alpha.grad)


def _slope_by_steps(a: Array, u: Array, g: Array) -> Array:
    z = _stretched(u, a + 1e-30j)
    return np.asarray(g * np.where((z.real > 0) & (z.real < 1), z.imag / 1e-30, 0.0))


def _slope_of(factor: float, masked: bool = True, power: int = 1) -> Callable[..., Array]:
    def form(a: Array, u: Array, g: Array) -> Array:
        z = _stretched(u, a)
        s = (z - GAMMA) / (ZETA - GAMMA)
        inside = (z > 0) & (z < 1) if masked else np.ones(len(a))
        return np.asarray(inside * g * factor * s * (1 - s) ** power)

    return form


# ---- D92: the derivative of the expected loss ------------------------------------------------------------------------
def _points(a: float) -> tuple[Array, Array]:
    """Return points u and weights of Gauss's rule between the kinks of z."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    ends = (0.0, *_masses(a), 1.0)
    pairs = list(pairwise(ends))
    u = np.concatenate([low + (high - low) * (nodes + 1) / 2 for low, high in pairs])
    return u, np.concatenate([weights / 2 * (high - low) for low, high in pairs])


def _expected_loss(a: Any, w: float, t: float) -> Any:
    """Return E (w z - t)^2: masses at 0 and 1 in closed form by u(0) and u(1), and Gauss points of u between them."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    low, high = (_sigmoid(BETA * np.log((z - GAMMA) / (ZETA - z)) - a) for z in (0.0, 1.0))
    between = _stretched(low + (high - low) * (nodes + 1) / 2, a)
    return low * t**2 + (1 - high) * (w - t) ** 2 + (high - low) / 2 * np.sum(weights * (w * between - t) ** 2)


def _along_the_path(rng: np.random.Generator) -> Iterator[Measured]:
    """The mean over u of the gradient along the path, and the derivative of E (w z - t)^2 with its masses."""
    for _ in range(3):
        a, w, t = float(rng.uniform(-0.5, 0.5)), float(rng.uniform(0.8, 1.5)), float(rng.uniform(0.1, 0.3))
        u, weights = _points(a)
        gate = HardConcrete(1, np.random.default_rng(0), beta=BETA, gamma=GAMMA, zeta=ZETA, per_sample=True)
        gate.log_alpha.data, gate.noise = np.array([a]), u[None]
        z = gate.forward(np.ones((1, u.size)))
        gate.backward(weights * 2 * w * (w * z - t))
        exact = _expected_loss(a + 1e-30j, w, t).imag / 1e-30
        yield Measured("mean of the gradient along the path", relative(gate.log_alpha.grad[0], exact))
        unmasked = _slope_of((ZETA - GAMMA) / BETA, masked=False)
        free = np.sum(unmasked(np.full(u.size, a), u, weights * 2 * w * (w * z[0] - t)))
        message = "A clipped gate does not move with log alpha: without the mask it pulls on the loss all the same."
        yield Measured("through the clip, without its mask", relative(free, exact), True, message)
        P = float(gate.open()[0])
        bernoulli = P * (1 - P) * ((w - t) ** 2 - t**2)
        message = "That is the derivative for gates that are 0 or 1, of as many open ones: another net."
        yield Measured("a Bernoulli gate of the same P(z != 0)", relative(bernoulli, exact), True, message)


# ---- D93: the gate of eval mode --------------------------------------------------------------------------------------
def _means(rng: np.random.Generator) -> Iterator[Measured]:
    """E z against its closed form at beta = 1, and the gate of eval mode against mean, median and P(z != 0)."""
    a = rng.uniform(-3, 3, 6)
    gate = HardConcrete(6, np.random.default_rng(0), beta=1, gamma=GAMMA, zeta=ZETA)
    gate.log_alpha.data, alpha = a, np.exp(a)
    low, high = -GAMMA / (ZETA - GAMMA), (1 - GAMMA) / (ZETA - GAMMA)
    area = [alpha * (np.log(alpha + (1 - alpha) * q) / (1 - alpha) ** 2 - q / (1 - alpha)) for q in (low, high)]
    yield Measured("E z at beta = 1", relative(gate.mean(), (ZETA - GAMMA) * (area[1] - area[0])))
    grid = np.linspace(-4.6, 4.6, 93)
    eval_gate = HardConcrete(93, np.random.default_rng(0))  # with the authors' numbers
    eval_gate.log_alpha.data = grid
    z = np.clip(1.2 * _sigmoid(grid) - 0.1, 0, 1)
    yield Measured("clip(sigmoid(log alpha) (zeta - gamma) + gamma)", relative(eval_gate.factor(), z))
    closes = HardConcrete(2, np.random.default_rng(0))
    closes.log_alpha.data = -np.log(11) + np.array([-1e-9, 1e-9])
    yield Measured("closed up to log(-gamma / zeta)", float(closes.factor()[0] > 0 or closes.factor()[1] <= 0))
    still_open = relative(closes.open(), np.full(2, 1 / (1 + 11 ** (1 / 3))))
    yield Measured("open in 1 / (1 + 11^(1/3)) of the draws there", max(0.0, still_open - 1e-8))
    median, not_zero = np.clip(1.2 * _sigmoid(1.5 * grid) - 0.1, 0, 1), _sigmoid(grid + np.log(11) * 2 / 3)
    for name, other, message in (
        ("the mean of z", eval_gate.mean(), "It leaves beta out, and clips the mean, not what it is the mean of."),
        ("the median of z", median, "The median has beta: sigmoid(log alpha / beta)."),
        ("stretched, not clipped", 1.2 * _sigmoid(grid) - 0.1, "A closed gate would turn the sign of its channel."),
        ("P(z != 0)", not_zero, "At log alpha = -2.4 the gate is closed, and P is 0.31."),
    ):
        yield Measured(name, float(np.max(np.abs(other - z))), True, message)


# ---- D94, D95: the penalty, and the number of weights that are left --------------------------------------------------
def _penalties(rng: np.random.Generator) -> Iterator[Measured]:
    """What the companion adds to the gradients of log alpha and of the weights."""
    N, lam, decay = 40, 0.3, 0.7
    net: Any = nn.Sequential(nn.Linear(3, 4, rng), nn.Tanh(), _gate(rng.uniform(-2, 2, 4)), nn.Linear(4, 2, rng))
    penalty = ExpectedL0(net, {"2": families.filters(net, "0.W", lam)}, N, decay)
    for u in net.parameters():
        u.grad = np.zeros(u.shape)
    penalty.after_backward(1)
    W, a = net.layers[0].W.data, net.layers[2].log_alpha.data
    found = (net.layers[2].log_alpha.grad, net.layers[0].W.grad)
    P = _sigmoid(a - BETA * np.log(-GAMMA / ZETA))
    slope, squares = P * (1 - P), np.sum(W**2, axis=1) / 2

    def form(size: float = 3.0, n: float = N, strength: float = lam) -> tuple[Array, Array]:
        return slope * (strength * size + decay * squares) / n, decay * P[:, None] * W / n

    yield Measured("(1/N) P(z != 0) (lam |g| + wd ||W||^2 / 2)", relative(found, form()))
    for name, wrong, message in (
        ("without |g|", form(size=1.0), "A gate of a large layer would cost as little as one of a small layer."),
        ("without 1/N", form(n=1.0), "The loss is a mean over patterns: the penalty would be N times as strong."),
        (
            "weight decay times N",
            (slope * (lam * 3 / N + decay * squares), decay * P[:, None] * W),
            "One of the authors' models multiplies it with N, the other does not.",
        ),
    ):
        yield Measured(name, relative(found, wrong), True, message)
    conv: Any = nn.Sequential(nn.Conv2d(1, 4, 5, rng), _gate(a))
    price = ExpectedL0(conv, {"1": families.incoming(conv, "0.W", lam)}, 1).penalty()
    yield Measured("26 for a filter of 25 weights and a bias", relative(price, 26 * lam * P.sum()))
    message = "In the authors' convolution the bias has the other sign, and lowers the price of its filter."
    yield Measured("24 for a filter of 25 weights and a bias", relative(price, 24 * lam * P.sum()), True, message)


def _left(rng: np.random.Generator) -> Iterator[Measured]:
    """The expected number of weights of a net with gates on inputs and units, over all patterns of them."""
    gates = _gate(rng.uniform(-2, 0, 3)), _gate(rng.uniform(-2, 0, 4))
    net: Any = nn.Sequential(gates[0], nn.Linear(3, 4, rng), nn.ReLU(), gates[1], nn.Linear(4, 5, rng))
    P = np.concatenate([_bisected(gate.log_alpha.data)[0] for gate in gates])
    total = 0.0
    for pattern in product((0, 1), repeat=7):
        opened = np.array(pattern)
        inputs, units = opened[:3].sum(), opened[3:].sum()
        total += np.prod(np.where(opened, P, 1 - P)) * (inputs * units + units * 5)
    yield Measured("sum of P(row) P(column)", relative(expected_weights(net), total))
    groups: dict[str, Family] = {"0": families.columns(net, "1.W", 1.0), "3": families.columns(net, "4.W", 1.0)}
    message = "The gates of a layer count its columns as if all of its rows were open."
    yield Measured("a layer's own gates", relative(ExpectedL0(net, groups, 1).penalty(), total), True, message)
    inputs, units = (float(gate.mean().sum()) for gate in gates)
    message = "A gate that is open by half leaves its weights all the same."
    yield Measured("E z for P(z != 0)", relative(inputs * units + units * 5, total), True, message)


WHERE = "Louizos, Welling, Kingma 2018, Learning sparse neural networks through L0 regularization"
CODE = "pruning.penalties.hard_concrete.HardConcrete"
STATEMENTS = (
    Formula(
        id="D90",
        title="hard concrete gate: how often it is open",
        printed=r"P(z\ne0)=\sigma\left(\log\alpha-\beta\log\tfrac{-\gamma}{\zeta}\right),\quad"
        r"P(z=1)=\sigma\left(\log\alpha-\beta\log\tfrac{1-\gamma}{\zeta-1}\right)",
        verdict="right",
        remark="The first is the paper's, whose sum is the penalty; the second follows in the same way.",
        where=WHERE + ", section 2.2",
        code=f"{CODE}.open, {CODE}.wholly_open",
        notebook="20, section 2",
        draw=_log_alphas,
        right=_probabilities,
        referees=(Form("u at which z leaves 0 and 1, by bisection", _bisected),),
        wrong=(
            Form("sign of log(-gamma / zeta)", _open(lambda end: -BETA * end), "Open more often the higher the bar."),
            Form("without beta", _open(lambda end: end), "The logit of s is divided by beta: the bar is multiplied."),
            Form("beta outside the logit", _open(lambda end: end / BETA), "u has to pass beta times the bar of s."),
        ),
    ),
    Formula(
        id="D91",
        title="hard concrete gate: the slope along the path",
        printed=r"\frac{\partial z}{\partial\log\alpha}=[0<\bar s<1]\,(\zeta-\gamma)\,\frac{s(1-s)}{\beta}",
        verdict="lost",
        remark="Not printed in the paper, where a program differentiates; a clipped gate has no slope.",
        where="derived from " + WHERE + ", section 2.2",
        code=f"{CODE}.backward_gates",
        notebook="20, section 3",
        draw=_noise_and_signal,
        right=_slope,
        referees=(Form("complex step of z", _slope_by_steps),),
        wrong=(
            Form("no clip mask", _slope_of((ZETA - GAMMA) / BETA, masked=False), "Gates at 0 and 1 do not move."),
            Form(
                "beta outside the logit", _slope_of(ZETA - GAMMA), "The logit is divided by beta, and so is its slope."
            ),
            Form("without zeta - gamma", _slope_of(1 / BETA), "s is stretched before it is clipped."),
            Form("s (1 - s)^2", _slope_of((ZETA - GAMMA) / BETA, power=2), "The slope of a sigmoid is s (1 - s)."),
        ),
    ),
    Claim(
        id="D92",
        title="hard concrete gate: its gradient is that of the expected loss",
        printed=r"\frac{\partial}{\partial\log\alpha}E_u\,L(z(u,\log\alpha))"
        r"=E_u\,L'(z)\,\frac{\partial z}{\partial\log\alpha}",
        verdict="right",
        remark="z is continuous in log alpha, so that no term is left over where it is clipped.",
        where=WHERE + ", section 2.2",
        code=f"{CODE}.backward_gates",
        notebook="20, section 3",
        tolerance=1e-10,
        measure=_along_the_path,
        referee="quadrature with masses at 0 and 1",
    ),
    Claim(
        id="D93",
        title="hard concrete gate: what stands for it in eval mode",
        printed=r"\hat z=\min(1,\max(0,\sigma(\log\alpha)(\zeta-\gamma)+\gamma))",
        verdict="right if",
        remark="As a choice: it is neither mean nor median of z, and closed where 31 % of the draws are still open.",
        where=WHERE + ", section 2.2",
        code=f"{CODE}.factor, {CODE}.mean",
        notebook="20, section 6",
        tolerance=1e-10,
        measure=_means,
        referee="closed form at beta = 1, and z in plain NumPy",
    ),
    Claim(
        id="D94",
        title="L0 regularization: the penalty of groups",
        printed=r"\frac1N\sum_{g}P(z_g\ne0)\left(\lambda|g|+\tfrac{wd}{2}\|W^{(g)}\|^2\right)",
        verdict="right",
        remark="A gate pays for all that it closes; in the authors' convolution the bias has the wrong sign.",
        where=WHERE + ", sections 2.3 and 2.4",
        code="pruning.penalties.l0.ExpectedL0",
        notebook="20, section 4",
        measure=_penalties,
        referee="gradients by hand",
    ),
    Claim(
        id="D95",
        title="L0 regularization: the expected number of weights",
        printed=r"E\|W\|_0=\sum_{ij}P(\text{row }i\text{ open})\,P(\text{column }j\text{ open})",
        verdict="lost",
        remark="The sum over a layer's own gates, which is the penalty, counts weights of closed units as well.",
        where="derived; the authors' code sums P(z != 0) |g| of the layer's own gates",
        code="pruning.penalties.l0.expected_weights",
        notebook="20, section 5",
        measure=_left,
        referee="all patterns of open gates",
    ),
)
