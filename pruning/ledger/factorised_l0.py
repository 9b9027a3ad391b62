"""FLOP: the rank, the expected share, the constraint and who ascends it, the test gate, and the recurrence around."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import nn
from nn.gradcheck import complex_step
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.penalties import factorised_l0 as flop
from pruning.penalties.hard_concrete import HardConcrete
from pruning.penalties.l0 import LIMIT

Array = np.ndarray
GAMMA, ZETA = -0.1, 1.1


def _sigmoid(a: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-a)))


def _open(log_alpha: Array) -> Array:
    # P(s > 1/12) of s = sigmoid(logistic noise + log alpha): the logistic distribution beyond logit(1/12) - log alpha.
    return _sigmoid(log_alpha - math.log(-GAMMA / ZETA))


def _net(rng: np.random.Generator, log_alpha: Array | None = None) -> tuple[Any, list[HardConcrete]]:
    """Matrices of 3 components of 7 + 9 weights, and 2 of 9 + 4."""
    net = nn.Sequential(flop.factorised(7, 9, rng), nn.Tanh(), flop.factorised(9, 4, rng))
    gates = [layer for layer in net.modules() if isinstance(layer, HardConcrete)]
    log_alpha = 2 * rng.standard_normal(5) if log_alpha is None else log_alpha
    gates[0].log_alpha.data, gates[1].log_alpha.data = log_alpha[:3].copy(), log_alpha[3:].copy()
    return net, gates


SIZES, DENSE = np.array([16, 16, 16, 13, 13]), 74
INPUTS = np.array([7, 7, 7, 9, 9])


# ---- D110: the rank --------------------------------------------------------------------------------------------------
def _ranks(rng: np.random.Generator) -> Iterator[Measured]:
    """How many of 200 matrices gain weights, or could have one component more."""
    shapes = [(int(D), int(m)) for D, m in rng.integers(2, 400, (200, 2))]

    def off(rank: Callable[[int, int], int]) -> float:
        return float(sum(not rank(D, m) * (D + m) <= D * m < (rank(D, m) + 1) * (D + m) for D, m in shapes))

    yield Measured("D m // (D + m)", off(flop.rank))
    message = "Two factors of full rank have up to twice the weights of the matrix."
    yield Measured("min(D, m)", off(min), True, message)
    message = "A component has D + m weights, not the larger of the two."
    yield Measured("D m // max(D, m)", off(lambda D, m: D * m // max(D, m)), True, message)


# ---- D111: the expected share ----------------------------------------------------------------------------------------
def _shares(rng: np.random.Generator) -> Iterator[Measured]:
    """s against the mean over all 32 sets of open gates."""
    net, gates = _net(rng)
    a = np.concatenate([gate.log_alpha.data for gate in gates])
    p = _open(a)
    sets = np.array(list(np.ndindex(*5 * (2,))))
    s = 1 - float(np.prod(np.where(sets, p, 1 - p), axis=1) @ (sets @ SIZES)) / DENSE

    def off(found: float) -> float:
        return relative(np.array(found), np.array(s))

    yield Measured("1 - sum (D + m) P / sum (D + m)", off(flop.expected_share(net)))
    message = "A row of Q goes with the column of P: with D alone the first matrix counts too little."
    yield Measured("D for D + m", off(1 - float(INPUTS @ p) / INPUTS.sum()), True, message)
    yield Measured("P = sigmoid(log alpha)", off(1 - float(SIZES @ _sigmoid(a)) / DENSE), True, "That is P(s > 1/2).")
    message = "The mean over components is the mean over weights only where all are of one size."
    yield Measured("mean of 1 - P", off(1 - float(p.mean())), True, message)


# ---- D112: the constraint --------------------------------------------------------------------------------------------
def _draw_constraint(rng: np.random.Generator) -> dict[str, Any]:
    l1, l2 = rng.uniform(-2, 0), rng.uniform(0.5, 3)
    return {"log_alpha": rng.standard_normal(5), "l1": float(l1), "l2": float(l2), "t": float(rng.uniform(0.6, 0.9))}


def _excess(log_alpha: Array, t: float) -> Array:
    return np.asarray(1 - (SIZES * _open(log_alpha)).sum() / DENSE - t)


def _added(log_alpha: Array, l1: float, l2: float, t: float) -> Array:
    net, gates = _net(np.random.default_rng(0), log_alpha)
    pull = flop.Lagrangian(net, t)
    pull.multipliers.data = np.array([l1, l2])
    for gate in gates:
        gate.log_alpha.grad = np.zeros(gate.channels)
    pull.after_backward(1)
    return np.concatenate([gate.log_alpha.grad for gate in gates])


def _by_complex_step(log_alpha: Array, l1: float, l2: float, t: float) -> Array:
    return complex_step(lambda a: l1 * _excess(a, t) + l2 * _excess(a, t) ** 2, log_alpha)


def _gradient(pull: Callable[[float, float, float], float], sign: float = -1.0) -> Callable[..., Array]:
    def form(log_alpha: Array, l1: float, l2: float, t: float) -> Array:
        p = _open(log_alpha)
        return np.asarray(pull(l1, l2, float(_excess(log_alpha, t))) * sign * SIZES / DENSE * p * (1 - p))

    return form


# ---- D113, D114: the ascent ------------------------------------------------------------------------------------------
def _game(rng: np.random.Generator, up: bool = True) -> tuple[float, Array]:
    """s behind 1,500 steps where E = 0.5 s wants all gates open, and the multipliers on the way."""
    net, gates = _net(rng, rng.standard_normal(5))
    pull, found = flop.Lagrangian(net, 0.6), []
    optimizer = nn.Adam([gate.log_alpha for gate in gates], 3e-2)
    for step in range(1500):
        for gate in gates:
            p = gate.open()
            gate.log_alpha.grad = -0.5 * p * (1 - p) * {3: 16, 2: 13}[gate.channels] / DENSE
        before = pull.multipliers.data.copy()
        pull.after_backward(step)
        if not up:
            pull.multipliers.data = 2 * before - pull.multipliers.data
        optimizer.step()
        pull.after_step(step)
        found.append(pull.multipliers.data.copy())
    return flop.expected_share(net), np.array(found)


def _ascent(rng: np.random.Generator) -> Iterator[Measured]:
    yield Measured("multipliers ascend", abs(_game(rng)[0] - 0.6))
    message = "Both fall together with the constraint: they pay for being far from the target."
    yield Measured("multipliers descend", abs(_game(rng, up=False)[0] - 0.6), True, message)


def _growth(rng: np.random.Generator) -> Iterator[Measured]:
    """How often a multiplier falls on the way, and how often it rises."""
    steps = np.diff(_game(rng)[1], axis=0)
    yield Measured("l2 falls", float(np.sum(steps[:, 1] < 0)))
    message = "The slope of l1 is s - t, which has both signs."
    yield Measured("l1 never falls", float(np.sum(steps[:, 0] < 0)), True, message)
    yield Measured("l1 never rises", float(np.sum(steps[:, 0] > 0)), True, message)


# ---- D115: the test gate ---------------------------------------------------------------------------------------------
def _mean(log_alpha: Array) -> Array:
    # E z at beta = 1: (zeta - gamma) times the integral of A (1 - s) / (A + (1 - A) s) from s(z = 0) to s(z = 1).
    A = np.exp(log_alpha)
    c, (low, high) = 1 - A, ((z - GAMMA) / (ZETA - GAMMA) for z in (0, 1))
    return np.asarray((ZETA - GAMMA) * A * (np.log((A + c * high) / (A + c * low)) / c**2 - (high - low) / c))


def _gates(rng: np.random.Generator) -> Iterator[Measured]:
    """How far a form is from E z at most, beyond 0.0074."""
    half = np.linspace(0.1, 12, 12_000)
    a = np.concatenate([-half[::-1], half])
    gate = HardConcrete(a.size, rng, beta=1.0)
    gate.log_alpha.data, mean = a, _mean(a)

    def beyond(form: Array, other: Array = mean) -> float:
        return float(np.maximum(0.0, np.max(np.abs(form - other)) - 0.0074))  # NaN stays

    yield Measured("sigmoid(0.8 log alpha)", beyond(_sigmoid(0.8 * a)))
    points = float(np.maximum(0.0, np.max(np.abs(gate.mean() - mean)) - 1e-10))
    yield Measured("E z by 64 points, within 1e-10", points)
    for slope in (0.79, 0.81):
        message = "Of slopes with two digits 0.80 has the least largest error, 0.0073."
        yield Measured(f"sigmoid({slope} log alpha)", beyond(_sigmoid(slope * a)), True, message)
    message = "That is the test gate of the L0 paper, closed where z is open in many draws."
    yield Measured("clip of the stretched sigmoid", beyond(gate.factor()), True, message)


# ---- D116: how far a gate may go -------------------------------------------------------------------------------------
def _bounds(rng: np.random.Generator) -> Iterator[Measured]:
    """What is missing from 100/101, the share that all gates closed as far as they go should have."""
    net, gates = _net(rng, np.full(5, -50.0))
    flop.Lagrangian(net, 0.95).after_step(1)
    yield Measured("P(z != 0) of 1/101 or more", abs(flop.expected_share(net) - 100 / 101))
    for gate in gates:
        gate.log_alpha.data = np.full(gate.channels, -LIMIT)
    message = "A gate at -log 100 counts 11/111 of its weights, and no share beyond 100/111 is ever reached."
    yield Measured("log alpha of -log 100 or more", abs(flop.expected_share(net) - 100 / 101), True, message)


# ---- D117: the recurrence --------------------------------------------------------------------------------------------
def _draw_sequence(rng: np.random.Generator) -> dict[str, Any]:
    return {"W": rng.standard_normal((9, 3)), "x": rng.standard_normal((3, 5, 2)), "gh": rng.standard_normal((3, 5, 2))}


def _through(W: Array, x: Array, gh: Array) -> Array:
    layer = nn.SRU(nn.Linear(3, 9, np.random.default_rng(0), bias=False), 3)
    layer.inner.W.data = W  # type: ignore[attr-defined]
    layer.forward(x)
    return np.asarray(layer.backward(gh))


def _parts(W: Array, x: Array) -> tuple[Array, ...]:
    a = np.einsum("oi,itn->otn", W, x)
    u, f, r, c = a[:3], _sigmoid(a[3:6]), _sigmoid(a[6:]), [0 * a[:3, 0]]
    for t in range(x.shape[1]):
        c.append(f[:, t] * c[t] + (1 - f[:, t]) * u[:, t])
    return u, f, r, np.stack(c, axis=1)


def _by_steps(W: Array, x: Array, gh: Array) -> Array:
    def energy(x: Array) -> Array:
        _, _, r, c = _parts(W, x)
        return np.asarray((gh * (r * np.tanh(c[:, 1:]) + (1 - r) * x)).sum())

    return complex_step(energy, x)


def _back(carried: Callable[[Array], Array], highway: float = 1.0) -> Callable[..., Array]:
    def form(W: Array, x: Array, gh: Array) -> Array:
        u, f, r, c = _parts(W, x)
        y, gc, carry = np.tanh(c[:, 1:]), np.zeros(x.shape), np.zeros(gh[:, 0].shape)
        for t in reversed(range(x.shape[1])):
            gc[:, t] = gh[:, t] * r[:, t] * (1 - y[:, t] ** 2) + carry
            carry = gc[:, t] * carried(f[:, t])
        ga = np.concatenate([gc * (1 - f), gc * (c[:, :-1] - u) * f * (1 - f), gh * (y - x) * r * (1 - r)])
        return np.asarray(highway * gh * (1 - r) + np.einsum("oi,otn->itn", W, ga))

    return form


WHERE = "the authors' code of Wang et al. 2019"
STATEMENTS = (
    Claim(
        id="D110",
        title="FLOP: as many components as the matrix has weights for",
        printed=r"r=\left\lfloor\frac{Dm}{D+m}\right\rfloor",
        verdict="right",
        remark="Two factors have r (D + m) weights, at most those of the matrix.",
        where=WHERE,
        code="pruning.penalties.factorised_l0.rank",
        notebook="21, section 3.1",
        tolerance=0.0,
        measure=_ranks,
        referee="weights counted",
    ),
    Claim(
        id="D111",
        title="FLOP: the share that is expected to go",
        printed=r"s=1-\frac{\sum_k(D_k+m_k)P(z_k\neq0)}{\sum_k(D_k+m_k)}",
        verdict="right",
        remark="The size of a component is D + m, a row of Q and a column of P.",
        where=WHERE,
        code="pruning.penalties.factorised_l0.expected_share",
        notebook="21, section 3.2",
        measure=_shares,
        referee="all sets of open gates",
    ),
    Formula(
        id="D112",
        title="FLOP: what the constraint adds to the gradients of the gates",
        printed=r"\frac{\partial}{\partial\log\alpha_k}\left[\lambda_1(s-t)+\lambda_2(s-t)^2\right]"
        r"=-\left(\lambda_1+2\lambda_2(s-t)\right)\frac{D_k+m_k}{\sum_j(D_j+m_j)}\,p_k(1-p_k)",
        verdict="lost",
        remark="The authors leave it to autograd; p is P(z != 0), and more of it is less that goes.",
        where="derived from the objective of Wang et al. 2019",
        code="pruning.penalties.factorised_l0.Lagrangian",
        notebook="21, section 4.1",
        draw=_draw_constraint,
        right=_added,
        referees=(Form("complex step", _by_complex_step),),
        wrong=(
            Form("sign of ds/dlog alpha", _gradient(lambda l1, l2, e: l1 + 2 * l2 * e, 1.0), "s falls as p rises."),
            Form("no factor of 2", _gradient(lambda l1, l2, e: l1 + l2 * e), "The square has the slope 2 (s - t)."),
            Form("no s - t", _gradient(lambda l1, l2, e: l1 + 2 * l2), "The second pull vanishes at the target."),
        ),
    ),
    Claim(
        id="D113",
        title="FLOP: the multipliers ascend",
        printed=r"\max_{\lambda_1,\lambda_2}\min_{W,\alpha}E+\lambda_1(s-t)+\lambda_2(s-t)^2",
        verdict="right",
        remark="Adam, which descends, is given -(s - t) and -(s - t)^2, and both multipliers begin at 0.",
        where=WHERE,
        code="pruning.penalties.factorised_l0.Lagrangian",
        notebook="21, section 4.3",
        tolerance=1e-3,
        measure=_ascent,
        referee="the share at the end",
    ),
    Claim(
        id="D114",
        title="FLOP: the second multiplier can only grow",
        printed=r"\frac{\partial}{\partial\lambda_2}=(s-t)^2\ge0",
        verdict="lost",
        remark="Its pull fades only where s reaches t; the first multiplier turns round.",
        where="derived from the objective of Wang et al. 2019",
        code="pruning.penalties.factorised_l0.Lagrangian",
        notebook="21, section 4.3",
        tolerance=0.0,
        measure=_growth,
        referee="steps counted",
    ),
    Claim(
        id="D115",
        title="FLOP: the magic number 0.8",
        printed=r"z_{\mathrm{test}}=\sigma\left(0.8\,\log\alpha/\beta\right)",
        verdict="right if",
        remark="If beta is 1, with ends at -0.1 and 1.1: it is E z within 0.0073, the least of slopes with two digits.",
        where=WHERE,
        code="pruning.penalties.factorised_l0.cut, pruning.penalties.hard_concrete.HardConcrete",
        notebook="21, section 3.3",
        tolerance=0.0,
        measure=_gates,
        referee="E z in closed form",
    ),
    Claim(
        id="D116",
        title="FLOP: a closed gate that still counts",
        printed=r"\log\alpha\ge-\log100\ \Rightarrow\ s\le\tfrac{100}{111}",
        verdict="lost",
        remark="Gates that come back need a bound; on P(z != 0) it leaves the size what it says it is.",
        where="derived",
        code="pruning.penalties.factorised_l0.Lagrangian, pruning.penalties.factorised_l0.expected_share",
        notebook="21, section 4.4",
        measure=_bounds,
        referee="fractions",
    ),
    Formula(
        id="D117",
        title="SRU: back through time",
        printed=r"\frac{\partial E}{\partial c_t}=r_t\left(1-\tanh^2c_t\right)\frac{\partial E}{\partial h_t}"
        r"+f_{t+1}\frac{\partial E}{\partial c_{t+1}}",
        verdict="lost",
        remark="The state is carried back by products of single numbers, the forget gates of the next steps.",
        where="derived from Lei et al. 2018, without the vectors that multiply the state inside the gates",
        code="nn.SRU",
        notebook="21, section 2",
        draw=_draw_sequence,
        right=_through,
        referees=(Form("complex step", _by_steps),),
        wrong=(
            Form("carry without f", _back(np.ones_like), "c_t reaches c_(t+1) times f_(t+1)."),
            Form("nothing carried", _back(np.zeros_like), "That cuts every step off from those behind it."),
            Form("no highway", _back(lambda f: f, 0.0), "x passes to h by 1 - r as well."),
        ),
    ),
)
