"""Variational dropout: noise at the outputs, log alpha, the divergence in its exact, fitted and older forms, zeros."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

import nn
from nn import gradcheck
from pruning import surgery
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.penalties import variational_dropout as vd

Array = np.ndarray
CUBIC = (1.16145124, -1.50204118, 0.58629921)
K1, K2, K3 = 0.63576, 1.87320, 1.48695


# ---- D75: the ratio of noise and size --------------------------------------------------------------------------------
def _weights(rng: np.random.Generator) -> dict[str, Array]:
    theta = rng.choice([-1.0, 1.0], 30) * rng.uniform(0.01, 0.3, 30)
    return {"theta": theta, "rho": rng.uniform(-5, 1, 30)}


def _ratio(theta: Array, rho: Array) -> Array:
    return np.asarray(np.log(np.exp(rho) ** 2 / theta**2))


# ---- D75a: noise at the outputs --------------------------------------------------------------------------------------
def _batch(rng: np.random.Generator) -> dict[str, Array]:
    W, x, eps, ga = (rng.standard_normal(shape) for shape in ((3, 4), (4, 5), (3, 5), (3, 5)))
    return {"W": W, "rho": rng.uniform(-1, 0.5, W.shape), "x": x, "eps": eps, "ga": ga}


def _layer(W: Array, rho: Array, x: Array, eps: Array, ga: Array) -> tuple[Array, ...]:
    layer = vd.VariationalLinear(4, 3, np.random.default_rng(0))
    layer.W.data, layer.rho.data, layer.noise = W, rho, eps
    layer.forward(x)
    gx = layer.backward(ga)
    return layer.W.grad, layer.rho.grad, gx


def _layer_by_complex_step(W: Array, rho: Array, x: Array, eps: Array, ga: Array) -> tuple[Array, ...]:
    def E(W: Array, rho: Array, x: Array) -> Any:
        v = np.einsum("ij,jn->in", np.exp(rho) ** 2, x**2) + 1e-8
        return np.sum(ga * (np.einsum("ij,jn->in", W, x) + eps * np.sqrt(v)))

    return (
        gradcheck.complex_step(lambda u: E(u, rho, x), W),
        gradcheck.complex_step(lambda u: E(W, u, x), rho),
        gradcheck.complex_step(lambda u: E(W, rho, u), x),
    )


def _wrong_layer(power: int, twice: float, chain: float) -> Any:
    def gradients(W: Array, rho: Array, x: Array, eps: Array, ga: Array) -> tuple[Array, ...]:
        S = np.exp(2 * rho)
        gv = ga * eps / (2 * np.sqrt(S @ x**2 + 1e-8))
        return ga @ x.T, chain * S * (gv @ (x**power).T), W.T @ ga + twice * x * (S.T @ gv)

    return gradients


# ---- D76, D76a, D77: the divergence ----------------------------------------------------------------------------------
def _grid(rng: np.random.Generator) -> dict[str, Array]:
    return {"log_alpha": rng.uniform(-5, 8, 20)}


def _exact(log_alpha: Array) -> tuple[Array, Array]:
    return vd.exact(log_alpha), vd.exact_slope(log_alpha)


def _series(log_alpha: Array) -> tuple[Array, Array]:
    """The means of (psi(J + 1/2) - psi(1/2)) / 2 and of -u / (2 J + 1), for J Poisson of mean u."""
    u, j = np.exp(-log_alpha)[:, None] / 2, np.arange(400)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(j[1:]))])
    digammas = np.concatenate([[0.0], np.cumsum(1 / (j[:-1] + 0.5))])
    p = np.exp(-u + j * np.log(u) - log_factorial)
    return p @ digammas / 2, -u[:, 0] * (p @ (1 / (2 * j + 1)))


def _fit(log_alpha: Array) -> tuple[Array, Array]:
    return vd.fitted(log_alpha), vd.fitted_slope(log_alpha)


def _with_factor(factor: float) -> Any:
    def forms(log_alpha: Array) -> tuple[Array, Array]:
        value, slope = _series(log_alpha)
        return value, factor * slope

    return forms


def _constant(rng: np.random.Generator) -> Iterator[Measured]:
    """What a weight costs that is all noise, and the derivative of the fit."""
    far, near = rng.uniform(40, 60, 10), rng.uniform(-6, 6, 10)

    def fit(log_alpha: Array, k1: float) -> Array:
        return np.asarray(k1 - K1 / (1 + np.exp(-K2 - K3 * log_alpha)) + np.log1p(np.exp(-log_alpha)) / 2)

    yield Measured("the fit, alpha to infinity", float(np.max(np.abs(vd.fitted(far)))))
    yield Measured("the fit", relative(vd.fitted(near), fit(near, K1)))
    slope = gradcheck.complex_step(lambda v: np.sum(fit(v, 0.0)), near)
    yield Measured("its derivative, k1 or not", relative(vd.fitted_slope(near), slope))
    message = "The divergence of 266,200 weights that are all noise would be -169,000 nats, and none is below zero."
    yield Measured("k1 dropped", float(np.max(np.abs(fit(far, 0.0)))), True, message)


def _cubic(rng: np.random.Generator) -> Iterator[Measured]:
    """The polynomial of 2015 less the exact form, with the constant that is best for alpha up to 1."""

    def off(alpha: Array) -> Array:
        power = CUBIC[0] * alpha + CUBIC[1] * alpha**2 + CUBIC[2] * alpha**3
        return np.asarray(-np.log(alpha) / 2 - power - vd.exact(np.log(alpha)))

    small, (two, ten) = off(np.linspace(1e-3, 1, 1000)), off(np.array([2.0, 10.0]))
    middle, half = (small.max() + small.min()) / 2, (small.max() - small.min()) / 2
    yield Measured("alpha up to 1: 0.020", max(0.0, abs(half - 0.0198) - 0.0002))
    yield Measured("alpha = 2: -0.93", max(0.0, abs(two - middle + 0.93) - 0.005))
    yield Measured("alpha = 10: -448", max(0.0, abs(ten - middle + 448) - 0.5))
    message = "Beyond alpha = 1 the cubic term takes over: it pays without bound for noise."
    yield Measured("the polynomial at 2", max(0.0, abs(two - middle) - half), True, message)


# ---- D76b: training --------------------------------------------------------------------------------------------------
def _pull(rng: np.random.Generator) -> Iterator[Measured]:
    """What the prior adds to the gradients, with kappa = 3/4 and N = 40."""
    net: Any = nn.Sequential(vd.VariationalLinear(4, 3, rng))
    layer, optimizer = net.layers[0], nn.SGD(net.parameters(), 0.1)
    layer.W.data, layer.rho.data = rng.standard_normal((3, 4)), rng.uniform(-1, 1, (3, 4))
    optimizer.steps = 30
    prior = vd.LogUniformPrior(net, 40, nn.Ramp(optimizer, 40))
    for u in net.parameters():
        u.grad = np.zeros(u.shape)
    prior.after_backward(31)
    found = layer.W.grad, layer.rho.grad

    def kl(theta: Array, rho: Array) -> Any:
        log_alpha = 2 * rho - np.log(theta * theta)
        return np.sum(K1 - K1 / (1 + np.exp(-K2 - K3 * log_alpha)) + np.log1p(np.exp(-log_alpha)) / 2)

    by_theta = gradcheck.complex_step(lambda u: kl(u, layer.rho.data), layer.W.data)
    by_rho = gradcheck.complex_step(lambda u: kl(layer.W.data, u), layer.rho.data)
    yield Measured("(kappa/N) KL", relative(found, (0.75 / 40 * by_theta, 0.75 / 40 * by_rho)))
    yield Measured("penalty", abs(prior.penalty() / (0.75 / 40 * kl(layer.W.data, layer.rho.data)) - 1))
    for name, form, message in (
        ("no ramp", (by_theta / 40, by_rho / 40), "At once in full, it prunes what has not learnt anything yet."),
        ("N missing", (0.75 * by_theta, 0.75 * by_rho), "E is the mean of N patterns; the bound is of their sum."),
        ("|theta| for theta", (0.75 / 40 * np.abs(by_theta), 0.75 / 40 * by_rho), "KL grows with |theta|, not theta."),
    ):
        yield Measured(name, relative(form, found), True, message)


# ---- D75b: what stays ------------------------------------------------------------------------------------------------
def _zeros(rng: np.random.Generator) -> Iterator[Measured]:
    """The hardened net, and the noisy one in eval mode, against matrices with zeros."""
    net: Any = nn.Sequential(vd.VariationalLinear(5, 6, rng), nn.ReLU(), vd.VariationalLinear(6, 3, rng)).eval()
    for layer in (net.layers[0], net.layers[2]):
        layer.W.data = rng.standard_normal(layer.W.shape)
        layer.rho.data = rng.uniform(0, 3, layer.W.shape) + np.log(np.abs(layer.W.data))
    x = rng.standard_normal((5, 7))

    def output(keep: Any) -> Array:
        first, second = (
            layer.W.data * keep(np.exp(2 * layer.rho.data) / layer.W.data**2)
            for layer in (net.layers[0], net.layers[2])
        )
        return np.asarray(second @ np.maximum(first @ x, 0))

    y, plain = output(lambda alpha: alpha < math.exp(3)), surgery.harden(net)
    yield Measured("eval mode", relative(net.forward(x), y))
    yield Measured("hardened", relative(plain.forward(x), y))
    masks = [float(np.sum(np.abs(u.mask - (u.data != 0)))) for n, u in plain.named_parameters() if n.endswith("W")]
    yield Measured("masks are where weights are", sum(masks))
    for name, keep, message in (
        ("log alpha > 3", lambda alpha: alpha > math.exp(3), "Inverted: what is mostly noise would stay."),
        ("all theta", lambda alpha: alpha > 0, "Nothing is pruned before the threshold is applied."),
        (
            "alpha < 3",
            lambda alpha: alpha < 3,
            "3 is a threshold of the logarithm: alpha = 20, a dropout rate of 0.95.",
        ),
    ):
        yield Measured(name, relative(output(keep), y), True, message)


PAPER = "Molchanov, Ashukha, Vetrov 2017"
CODE = "the authors' code of Molchanov et al. 2017"
STATEMENTS = (
    Formula(
        id="D75",
        title="variational dropout: log alpha",
        printed=r"\log\alpha=2\log\sigma-\log(10^{-16}+2|\theta|)",
        verdict="slip",
        remark="2 log|theta| became log(2|theta|): less is pruned than a log alpha of 3 would prune.",
        where=f"{CODE}, the notebook; the paper has alpha = sigma^2 / theta^2",
        code="pruning.penalties.variational_dropout.log_alpha",
        notebook="19, section 7",
        draw=_weights,
        right=vd.log_alpha,
        referees=(Form("logarithm of sigma^2 / theta^2", _ratio),),
        wrong=(
            Form(
                "log(2|theta|)",
                lambda theta, rho: 2 * rho - np.log(1e-16 + 2 * np.abs(theta)),
                "The factor belongs in front of the logarithm.",
            ),
            Form(
                "2 log(2|theta|)",
                lambda theta, rho: 2 * rho - 2 * np.log(2 * np.abs(theta)),
                "One number too small by log 4, which moves the threshold from 3 to 4.4.",
            ),
            Form(
                "log sigma for log sigma^2",
                lambda theta, rho: rho - 2 * np.log(np.abs(theta)),
                "alpha is a ratio of squares.",
            ),
        ),
    ),
    Formula(
        id="D75a",
        title="variational dropout: gradients with the noise at the outputs",
        printed=r"a=Wx+b+\sqrt{\sigma^2(x\odot x)}\odot\varepsilon",
        verdict="right",
        remark="With gv = ga eps / (2 sqrt v): dE/drho = 2 S (gv (x*x)^T), and dE/dx has 2 x (S^T gv) beside W^T ga.",
        where=f"Kingma, Salimans, Welling 2015; {PAPER}",
        code="pruning.penalties.variational_dropout.VariationalLinear",
        notebook="19, section 4",
        draw=_batch,
        right=_layer,
        referees=(Form("complex step of sum ga a", _layer_by_complex_step),),
        wrong=(
            Form("S x for S x^2", _wrong_layer(1, 2, 2), "The variance of a sum has the squares of its factors."),
            Form("2 missing in dE/dx", _wrong_layer(2, 1, 2), "x stands squared in v."),
            Form("2 missing in dE/drho", _wrong_layer(2, 2, 1), "S = exp(2 rho)."),
            Form("dE/dx = W^T ga", _wrong_layer(2, 0, 2), "The noise depends on x, too."),
        ),
    ),
    Claim(
        id="D75b",
        title="variational dropout: what stays",
        printed=r"\log\alpha_{ij}\ge 3\ \Rightarrow\ w_{ij}=0",
        verdict="right",
        remark="A layer in eval mode is already what surgery.harden makes of it: theta, or zero and a mask.",
        where=PAPER,
        code="pruning.penalties.variational_dropout.VariationalLinear, pruning.surgery.harden",
        notebook="19, section 9",
        measure=_zeros,
        referee="matrices with zeros",
    ),
    Claim(
        id="D76",
        title="variational dropout: the constant of the fit",
        printed=r"-\mathrm{KL}\approx k_1\sigma(k_2+k_3\log\alpha)-\tfrac12\log(1+\alpha^{-1})",
        verdict="slip",
        remark="The paper subtracts k1; without it a weight that is all noise has a divergence of -0.636 nats.",
        where=f"{CODE}; the paper has the constant",
        code="pruning.penalties.variational_dropout.fitted, pruning.penalties.variational_dropout.fitted_slope",
        notebook="19, section 7",
        measure=_constant,
        referee="the fit in plain NumPy, and its complex step",
    ),
    Formula(
        id="D76a",
        title="variational dropout: the divergence in closed form",
        printed=r"\mathrm{KL}=\tfrac12\left(\mathbb E_{J\sim\mathrm{Poisson}(u)}\psi(J+\tfrac12)-\psi(\tfrac12)\right),"
        r"\quad\frac{\partial\mathrm{KL}}{\partial\log\alpha}=-\sqrt u\,D(\sqrt u),\quad u=\tfrac1{2\alpha}",
        verdict="lost",
        remark="w^2 / sigma^2 is a chi-square with noncentrality 1/alpha; D is Dawson's function, so no fit is needed.",
        where="derived here; Hron, Matthews, Ghahramani 2017, arXiv:1711.02989, have an analytical form",
        code="pruning.penalties.variational_dropout.exact, pruning.penalties.variational_dropout.exact_slope",
        notebook="19, section 6",
        tolerance=1e-10,
        draw=_grid,
        right=_exact,
        referees=(Form("sum over the Poisson distribution", _series),),
        wrong=(
            Form("the fit", _fit, "It is 0.0094 nats off at most, near log alpha = -3.5; its slope 0.0137."),
            Form("+ sqrt(u) D", _with_factor(-1), "KL falls while the noise grows."),
            Form("2 sqrt(u) D", _with_factor(2), "dKL/drho is twice as large, not dKL/dlog alpha."),
        ),
    ),
    Claim(
        id="D76b",
        title="variational dropout: the prior in training",
        printed=r"E(\theta,\rho)+\tfrac{\kappa}{N}\sum_{ij}\mathrm{KL}(\log\alpha_{ij})",
        verdict="right if",
        remark="If E is the mean of N patterns. kappa rises from 0 to 1 while the net learns what it needs.",
        where=f"{PAPER}; {CODE}",
        code="pruning.penalties.variational_dropout.LogUniformPrior",
        notebook="19, section 8",
        measure=_pull,
        referee="complex step of the fit in plain NumPy",
    ),
    Claim(
        id="D77",
        title="variational dropout: the polynomial of 2015",
        printed=r"-\mathrm{KL}\approx\mathrm{const}+\tfrac12\log\alpha+c_1\alpha+c_2\alpha^2+c_3\alpha^3",
        verdict="right if",
        remark="If alpha is 1 at most: 0.020 nats off there with the best constant, 0.93 at alpha = 2, 448 at 10.",
        where="Kingma, Salimans, Welling 2015; coefficients as public code has them",
        code="pruning.penalties.variational_dropout.exact",
        notebook="19, section 7",
        tolerance=0.0,
        measure=_cubic,
        referee="the polynomial in plain NumPy",
    ),
)
