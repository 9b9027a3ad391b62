"""Transformable architecture search: interpolated channels, mixed widths, expected cost, its term; distillation."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

import nn
from pruning.architectures.transformable import Band, Search
from pruning.architectures.width_cost import WidthCost
from pruning.architectures.width_mix import WidthMix, interpolation, mixes
from pruning.ledger.core import Claim, Form, Formula, Measured, relative

Array = np.ndarray
STEP, EPS = 1e-30, 1e-5
WIDTHS = (2, 3, 5)


def _softmax(v: Any) -> Any:
    exp = np.exp(v - np.max(v.real))
    return exp / exp.sum()


# ---- D160: interpolation ---------------------------------------------------------------------------------------------
def _overlaps(n: int, m: int) -> Array:
    """Return A by intervals: row i takes the channels j whose [j/n, (j+1)/n) meets [i/m, (i+1)/m), in whole numbers."""
    i, j = np.arange(m)[:, None], np.arange(n)
    A = 1.0 * ((j * m < (i + 1) * n) & ((j + 1) * m > i * n))
    return np.asarray(A / A.sum(axis=1, keepdims=True))


def _floored(n: int, m: int) -> Array:
    rows = [(i * n // m, max(i * n // m + 1, (i + 1) * n // m)) for i in range(m)]
    return np.array([[(first <= j < last) / (last - first) for j in range(n)] for first, last in rows])


def _interpolated(rng: np.random.Generator) -> Iterator[Measured]:
    """The rows of A, and how much of the variance of independent channels they leave."""
    for n, m in ((5, 7), (7, 5), (57, 64), *(tuple(rng.integers(2, 30, 2).tolist()) for _ in range(4))):
        yield Measured("means over the channels that a row meets", relative(interpolation(n, m), _overlaps(n, m)))
    for n, m in ((5, 7), (7, 5), (57, 64)):
        message = "The window then ends too early, or is empty; neighbouring rows share no channel any more."
        yield Measured("floor for ceil", relative(_floored(n, m), _overlaps(n, m)), True, message)
        share = np.minimum((np.arange(m)[:, None] + 1) / m, (np.arange(n) + 1) / n)
        share = np.maximum(share - np.maximum(np.arange(m)[:, None] / m, np.arange(n) / n), 0) * m
        message = "Means do not weight a channel by how much of it a row meets."
        yield Measured("weights by overlap", relative(share, _overlaps(n, m)), True, message)
    left = float((interpolation(57, 64) ** 2).sum(axis=1).mean())
    yield Measured("variance left of 57 channels in 64", relative(left, 0.5625))
    message = "The mean of two independent channels has half of their variance, and 56 of 64 rows are such means."
    yield Measured("variance kept", relative(1.0, 0.5625), True, message)


# ---- D161, D162: the layer -------------------------------------------------------------------------------------------
def _layer(rng: np.random.Generator) -> dict[str, Any]:
    drawn = sorted(rng.permutation(3)[:2].tolist())
    return {
        "x": rng.standard_normal((5, 4)),
        "G": rng.standard_normal((5, 4)),
        "a": rng.uniform(-0.3, 0.3, 3),  # no softmax is saturated, of which no digits would be left
        "gumbel": rng.permutation([-0.5, 0.1, 0.4]),
        "drawn": np.array(drawn),
        "tau": float(rng.uniform(0.4, 0.7)),
        "gamma": rng.uniform(0.5, 2, (3, 5)),
        "beta": rng.standard_normal((3, 5)),
    }


def _built(x: Array, G: Array, a: Array, gumbel: Array, drawn: Array, tau: float, gamma: Array, beta: Array) -> Any:
    """Return y, dE/dx and dE/da of the layer, with E = sum of G y."""
    mix = WidthMix(*map(nn.BatchNorm, WIDTHS), rng=np.random.default_rng(0), temperature=tau)
    for norm, scale, shift in zip(mix.norms, gamma, beta):
        norm.gamma.data, norm.beta.data = scale[: norm.channels], shift[: norm.channels]
    mix.logits.data, h = np.array(a), np.zeros(3)
    h[drawn] = 100.0
    mix.noise = np.stack([gumbel, h])
    y = mix.forward(x)
    return y, mix.backward(G), np.asarray(mix.logits.grad)


def _by_hand(
    x: Any, a: Any, gumbel: Array, drawn: Array, tau: float, gamma: Array, beta: Array, shared: bool = False
) -> Any:
    """Return y in plain NumPy: two batch norms, stretched by overlaps; `shared` takes the scales of the widest."""
    m, y = WIDTHS[drawn[-1]], np.zeros(x.shape, complex)
    p = _softmax((a[drawn] + gumbel[drawn]) / tau)
    for weight, k in zip(p, drawn):
        part, row = x[: WIDTHS[k]], -1 if shared else k
        part = part - part.mean(axis=1, keepdims=True)
        part = part / np.sqrt((part * part).mean(axis=1, keepdims=True) + EPS)
        z = gamma[row, : WIDTHS[k], None] * part + beta[row, : WIDTHS[k], None]
        y[:m] += weight * (_overlaps(WIDTHS[k], m) @ z)
    return y


def _mixed(**given: Any) -> Any:
    return _built(**given)[:2]


def _mixed_by_hand(x: Array, G: Array, **given: Any) -> tuple[Array, Array]:
    gx = np.array([[np.sum(G * _by_hand(x + 1j * STEP * _unit(x, i), **given)).imag for i in range(x.size)]]) / STEP
    return _by_hand(x, **given).real, gx.reshape(x.shape)


def _unit(like: Array, i: int) -> Array:
    unit = np.zeros(like.size)
    unit[i] = 1
    return unit.reshape(like.shape)


def _shared_norm(x: Array, G: Array, **given: Any) -> tuple[Array, Array]:
    return _mixed_by_hand(x, G, **given, shared=True)


def _noiseless(gumbel: Array, **given: Any) -> tuple[Array, Array]:
    return _mixed_by_hand(gumbel=0 * gumbel, **given)


def _zero_filled(x: Array, G: Array, **given: Any) -> tuple[Array, Array]:
    # Each width where it stands, the missing channels zero, instead of stretched.
    found = []
    p = _softmax((given["a"][given["drawn"]] + given["gumbel"][given["drawn"]]) / given["tau"])
    for k in given["drawn"]:
        alone = {**given, "drawn": np.array([k])}
        found.append(_mixed_by_hand(x, G, **alone))
    return tuple(p[0] * one + p[1] * other for one, other in zip(*found))


def _slope(**given: Any) -> Any:
    return _built(**given)[2]


def _slope_by_steps(x: Array, G: Array, a: Array, **given: Any) -> Array:
    return np.array([np.sum(G * _by_hand(x, a + 1j * STEP * _unit(a, k), **given)).imag for k in range(3)]) / STEP


def _slope_of(divided: bool = True, centred: bool = True, everywhere: bool = False) -> Any:
    def form(x: Array, G: Array, a: Array, gumbel: Array, drawn: Array, tau: float, **given: Any) -> Array:
        on = np.arange(3) if everywhere else drawn
        p = _softmax((a[on] + gumbel[on]) / tau)
        gp = np.array([_alone(x, G, a, gumbel, int(k), WIDTHS[on[-1]], given) for k in on])
        found = np.zeros(3)
        found[on] = p * (gp - centred * (p @ gp)) / (tau if divided else 1.0)
        return found

    return form


def _alone(x: Array, G: Array, a: Array, gumbel: Array, k: int, m: int, given: Any) -> float:
    # <dE/dy, A_k norm_k>, with m rows.
    z = _by_hand(x, a, gumbel, np.array([k]), 1.0, given["gamma"], given["beta"]).real[: WIDTHS[k]]
    return float(np.sum(G[:m] * (_overlaps(WIDTHS[k], m) @ z)))


# ---- D163: the expected cost -----------------------------------------------------------------------------------------
def _cost_inputs(rng: np.random.Generator) -> dict[str, Any]:
    return {"a": rng.standard_normal(3), "b": rng.standard_normal(2)}


def _chain(a: Array, b: Array) -> Any:
    rng = np.random.default_rng(0)
    layers: list[Any] = [nn.Conv2d(1, 5, 3, rng, padding=1), WidthMix(*map(nn.BatchNorm, WIDTHS), rng=rng), nn.ReLU()]
    layers += [nn.Conv2d(5, 4, 2, rng), WidthMix(*map(nn.BatchNorm, (1, 4)), rng=rng), nn.Flatten()]
    net = nn.Sequential(*layers, nn.Linear(36, 3, rng))
    for mix, logits in zip(mixes(net).values(), (a, b)):
        mix.logits.data = np.array(logits)
    return net


def _macs(c: Any, d: Any) -> Any:
    """Images of 4 x 4: 9 taps at 16 places, 4 taps at 9, and 9 pixels of a map for each of 3 outputs."""
    return 16 * 9 * c + 9 * 4 * c * d + 9 * 3 * d


def _expected(a: Array, b: Array) -> tuple[Array, ...]:
    cost = WidthCost(_chain(a, b), (1, 4, 4))
    return np.asarray(cost.expected()), *(np.asarray(each) for each in cost.gradient().values())


def _sum_over_all(a: Any, b: Any) -> Any:
    p, q = _softmax(a), _softmax(b)
    return sum(p[i] * q[j] * _macs(WIDTHS[i], (1, 4)[j]) for i, j in product(range(3), range(2)))


def _enumerated(a: Array, b: Array) -> tuple[Array, ...]:
    by_a = [_sum_over_all(a + 1j * STEP * _unit(a, k), b + 0j).imag / STEP for k in range(3)]
    by_b = [_sum_over_all(a + 0j, b + 1j * STEP * _unit(b, k)).imag / STEP for k in range(2)]
    return np.asarray(_sum_over_all(a, b)), np.array(by_a), np.array(by_b)


def _cost_of(chosen: bool = False, centred: bool = True, readers: bool = True) -> Any:
    c, d = np.array(WIDTHS, float), np.array([1.0, 4.0])

    def form(a: Array, b: Array) -> tuple[Array, ...]:
        p, q = _softmax(a), _softmax(b)
        means = (c[a.argmax()], d[b.argmax()]) if chosen else (p @ c, q @ d)
        by_c, by_d = 144 + 36 * means[1] * readers, 36 * means[0] + 27 * readers
        slopes = by_c * p * (c - centred * (p @ c)), by_d * q * (d - centred * (q @ d))
        return np.asarray(_macs(*means)), *slopes

    return form


# ---- D164: the cost term ---------------------------------------------------------------------------------------------
def _terms(rng: np.random.Generator) -> Iterator[Measured]:
    """What the cost term adds to the gradient of the logits, where the chosen net and the expected one disagree."""
    x, t = rng.standard_normal((1, 4, 4, 8)), rng.integers(0, 3, 8)
    cases = (([0.0, 0.1, 0.2], [0.0, 0.1], 1), ([0.2, 0.1, 0.0], [0.1, 0.0], -1), ([0.0, 0.1, 0.2], [0.1, 0.0], 0))
    for one, other, side in cases:
        a, b = np.array(one), np.array(other)
        added = _added(a, b, x, t)
        most, expected = _macs(5, 4), _sum_over_all(a, b)
        slopes = np.concatenate(_enumerated(a, b)[1:]) / expected
        yield Measured("side * strength * d log E[MACs]", _off(added, 2 * side * slopes, slopes))
        by_expected = int(expected > 0.62 * most) - int(expected < 0.5 * most)
        if by_expected != side:
            message = "The expectation is not what the band is asked about: it may lie in it while the net does not."
            off = _off(2 * by_expected * slopes, 2 * side * slopes, slopes)
            yield Measured("branch on the expected MACs", off, True, message)
        if side:
            message = "The log makes it relative: without it, the term grows with the size of the net."
            off = _off(2 * side * expected * slopes, 2 * side * slopes, slopes)
            yield Measured("E[MACs] without log", off, True, message)
    # A tolerance of 0.12: the band from 0.62 goes down to 0.50 of the most, not to 0.88 of 0.62, which is 0.5456.
    sides = [Band(0.62, 0.12).direction(share) for share in (0.49, 0.5, 0.53, 0.62, 0.63)]
    yield Measured("band of a tolerance in shares of the most", float(sides != [-1, 0, 0, 0, 1]))
    message = "The tolerance is a share of the most MACs: of the target it is a narrower band."
    narrower = [int(share > 0.62) - int(share < 0.62 * (1 - 0.12)) for share in (0.49, 0.5, 0.53, 0.62, 0.63)]
    yield Measured("tolerance as a share of the target", float(sides != narrower), True, message)


def _off(found: Array, right: Array, unit: Array) -> float:
    return float(np.linalg.norm(found - right) / np.linalg.norm(unit))


def _added(a: Array, b: Array, x: Array, t: Array) -> Array:
    """Return what a step of the logits had as gradient, less that of the loss alone, at the same noise."""
    grads = []
    for strength in (2.0, 0.0):
        net, rng = _chain(a, b), np.random.default_rng(1)
        for mix in mixes(net).values():
            mix.noise = rng.gumbel(size=(2, len(mix.widths)))
        logits = [mix.logits for mix in mixes(net).values()]
        weights = nn.SGD([u for u in net.parameters() if u not in logits], 0.1)
        band, loss = Band(0.62, 0.12), nn.SoftmaxCrossEntropy()
        search = Search(net, loss, weights, nn.SGD(logits, 0.0), band, (1, 4, 4), strength)
        search.step_logits(x, t)
        grads.append(np.concatenate([u.grad for u in logits]))
    return np.asarray(grads[0] - grads[1])


# ---- D165: distillation ----------------------------------------------------------------------------------------------
def _teaching(rng: np.random.Generator) -> dict[str, Any]:
    y, z = rng.standard_normal((2, 4, 3)) * 3
    return {"y": y, "z": z, "t": rng.integers(0, 4, 3), "T": float(rng.uniform(2, 6)), "alpha": 0.9}


def _taught(y: Array, z: Array, t: Array, T: float, alpha: float) -> tuple[Array, Array]:
    loss = nn.Distillation(T, alpha)
    return np.asarray(loss.forward(y, (t, z))), np.asarray(loss.backward())


def _lesson(y: Any, z: Array, t: Array, T: float, alpha: float, power: int = 2, turned: bool = False) -> Any:
    total = 0.0
    for n in range(y.shape[1]):
        p, q = _softmax(y[:, n] / T), _softmax(z[:, n] / T)
        p, q = (q, p) if turned else (p, q)
        total = total - (1 - alpha) * np.log(_softmax(y[:, n])[t[n]])
        total = total + alpha * T**power * np.sum(q * (np.log(q) - np.log(p)))
    return total / y.shape[1]


def _lesson_by_steps(y: Array, power: int = 2, turned: bool = False, **given: Any) -> tuple[Array, Array]:
    steps = [_lesson(y + 1j * STEP * _unit(y, i), power=power, turned=turned, **given).imag for i in range(y.size)]
    return np.asarray(_lesson(y, power=power, turned=turned, **given)), np.array(steps).reshape(y.shape) / STEP


WHERE = "Dong, Yang 2019, Network pruning via transformable architecture search"
MIX, COST = "pruning.architectures.width_mix", "pruning.architectures.width_cost.WidthCost"
STATEMENTS = (
    Claim(
        id="D160",
        title="channel-wise interpolation",
        printed=r"(Az)_i=\operatorname{mean}\left(z_{\lfloor in/m\rfloor},\dots,z_{\lceil(i+1)n/m\rceil-1}\right)",
        verdict="right if",
        remark="As adaptive average pooling, a matrix; it leaves 9/16 of the variance where 57 channels become 64.",
        where=WHERE + ", section 3.1, and its code",
        code=f"{MIX}.interpolation",
        notebook="22, section 6",
        measure=_interpolated,
        referee="overlaps of intervals in whole numbers",
    ),
    Formula(
        id="D161",
        title="mixed widths: the gradient of the logits",
        printed=r"\frac{\partial E}{\partial a_k}=\frac{p_k}{\tau}\Big(\frac{\partial E}{\partial p_k}"
        r"-\sum_{l\in I}p_l\frac{\partial E}{\partial p_l}\Big),\quad k\in I",
        verdict="lost",
        remark="Not printed, where a program differentiates; the drawing of I itself has no derivative.",
        where="derived from " + WHERE + ", section 3.1",
        code=f"{MIX}.WidthMix.backward",
        notebook="22, section 5",
        draw=_layer,
        tolerance=1e-11,
        right=_slope,
        referees=(Form("complex step of plain NumPy", _slope_by_steps),),
        wrong=(
            Form("without 1/tau", _slope_of(divided=False), "The temperature divides the logits, and their slope."),
            Form("without the mean", _slope_of(centred=False), "The p of the two add up to 1: one falls, one rises."),
            Form("over all widths", _slope_of(everywhere=True), "The softmax is that of the two that were drawn."),
        ),
    ),
    Formula(
        id="D162",
        title="mixed widths: the layer",
        printed=r"y=\sum_{k\in I}p_k\,A_k\,\mathrm{norm}_k(x_{1..c_k})",
        verdict="right",
        remark="Two widths a draw in the authors' code; each has a batch norm of its own.",
        where=WHERE + ", section 3.1, and its code",
        code=f"{MIX}.WidthMix.forward, {MIX}.WidthMix.backward",
        notebook="22, section 5",
        draw=_layer,
        draws=2,
        right=_mixed,
        referees=(Form("plain NumPy and its complex step", _mixed_by_hand),),
        wrong=(
            Form("one norm for all", _shared_norm, "Widths are scaled and shifted by parameters of their own."),
            Form("p without the noise", _noiseless, "The two are weighted by the same noisy logits that drew them."),
            Form("zeros instead of stretching", _zero_filled, "The narrower width would not reach the last channels."),
        ),
    ),
    Formula(
        id="D163",
        title="mixed widths: the expected multiply-accumulates",
        printed=r"E[\mathrm{MACs}]=\sum_l q_l\,E[c_{l-1}]\,E[c_l],\quad"
        r"\frac{\partial E[c]}{\partial a_k}=p_k(c_k-E[c])",
        verdict="right",
        remark="Exact in a chain, where the two widths of a product are drawn independently.",
        where=WHERE + ", section 3.1, and its code",
        code=f"{COST}.expected, {COST}.gradient",
        notebook="22, section 7",
        draw=_cost_inputs,
        right=_expected,
        referees=(Form("all combinations of widths", _enumerated),),
        wrong=(
            Form("widths of the largest logits", _cost_of(chosen=True), "That is what one net costs, with no slope."),
            Form("slope p c", _cost_of(centred=False), "More of one width is less of the others."),
            Form("without the reader", _cost_of(readers=False), "A channel costs the layer that reads it, too."),
        ),
    ),
    Claim(
        id="D164",
        title="transformable architecture search: the cost term",
        printed=r"L=\pm\log E[\mathrm{MACs}]\ \text{outside of the band},\qquad 0\ \text{in it}",
        verdict="right if",
        remark="The code asks the net of the largest logits for the side; its tolerance is a share of the most MACs.",
        where=WHERE + ", section 3.1, and its code",
        code="pruning.architectures.transformable.Search, pruning.architectures.transformable.Band",
        notebook="22, section 7",
        measure=_terms,
        referee="all combinations of widths, by the complex step",
    ),
    Formula(
        id="D165",
        title="distillation",
        printed=r"(1-\alpha)\,CE(y,t)+\alpha T^2\,KL(\mathrm{softmax}(z/T)\,\|\,\mathrm{softmax}(y/T))",
        verdict="right",
        remark="The factor T^2 keeps the size of the gradient when the temperature changes.",
        where="Hinton, Vinyals, Dean 2015, Distilling the knowledge in a neural network, section 2",
        code="nn.losses.Distillation",
        notebook="22, section 8",
        draw=_teaching,
        draws=3,
        right=_taught,
        referees=(Form("sums in plain NumPy and their complex step", _lesson_by_steps),),
        wrong=(
            Form("without T^2", lambda **g: _lesson_by_steps(power=0, **g), "The teacher fades as 1/T^2."),
            Form("T for T^2", lambda **g: _lesson_by_steps(power=1, **g), "Slope by y/T and log p both bring 1/T."),
            Form("KL turned", lambda **g: _lesson_by_steps(turned=True, **g), "The teacher's probabilities weight."),
        ),
    ),
)
