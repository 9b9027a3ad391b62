"""Adversarial neural pruning: masks, their means and divergence, the attack, two objectives, the vulnerability."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import nn
from nn import gradcheck
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.penalties.adversarial import PGD, AdversarialGradients, vulnerability
from pruning.penalties.beta_bernoulli import BetaBernoulli, Divergence

Array = np.ndarray
TAU, ALPHA = 0.6, 0.02
CODE = "pruning.penalties.beta_bernoulli.BetaBernoulli"
ATTACK = "pruning.penalties.adversarial"
WHERE = "Madaan et al. 2019, arXiv:1908.04355"


def _softplus(raw: Any) -> Any:
    return np.log(1 + np.exp(raw))


def _gate(a_raw: Array, b_raw: Array, tau: float = TAU) -> BetaBernoulli:
    gate = BetaBernoulli(len(a_raw), np.random.default_rng(0), tau=tau, alpha=ALPHA)
    gate.a_raw.data, gate.b_raw.data = np.array(a_raw), np.array(b_raw)
    return gate


# ---- D170: one gate --------------------------------------------------------------------------------------------------
def _draws(rng: np.random.Generator) -> dict[str, Any]:
    C, N = 4, 6
    uniform = {name: rng.uniform(0.1, 0.9, (C, N)) for name in ("u", "v")}
    return {
        "a_raw": rng.uniform(-1.5, 0, C),
        "b_raw": rng.uniform(0.5, 2, C),
        "g": rng.uniform(1, 2, (C, N)),
        **uniform,
    }


def _sampled(a_raw: Array, b_raw: Array, u: Array, v: Array, g: Array) -> tuple[Array, ...]:
    gate = _gate(a_raw, b_raw)
    gate.noise = np.stack([u, v])
    z = gate.forward(np.ones(u.shape))
    gate.backward(g)
    return z, gate.a_raw.grad, gate.b_raw.grad


def _plain(a_raw: Any, b_raw: Any, u: Array, v: Array, tau: float = TAU) -> Any:
    pi = (1 - u ** (1 / _softplus(b_raw)[:, None])) ** (1 / _softplus(a_raw)[:, None])
    odds = pi / (1 - pi) * v / (1 - v)
    return odds ** (1 / tau) / (1 + odds ** (1 / tau))


def _by_complex_step(plain: Callable[..., Any]) -> Callable[..., tuple[Array, ...]]:
    def form(a_raw: Array, b_raw: Array, u: Array, v: Array, g: Array) -> tuple[Array, ...]:
        by_a = gradcheck.complex_step(lambda raw: np.sum(g * plain(raw, b_raw, u, v)), a_raw)
        by_b = gradcheck.complex_step(lambda raw: np.sum(g * plain(a_raw, raw, u, v)), b_raw)
        return plain(a_raw, b_raw, u, v), by_a, by_b

    return form


# ---- D171, D172: divergence and mean ---------------------------------------------------------------------------------
def _shapes(rng: np.random.Generator) -> dict[str, Any]:
    return {"a": rng.uniform(0.2, 0.7, 5), "b": rng.uniform(1.2, 4, 5)}


def _raw(value: Array) -> Array:
    return np.asarray(np.log(np.expm1(value)))


def _divergence(a: Array, b: Array) -> tuple[Array, ...]:
    gate = _gate(_raw(a), _raw(b))
    return gate.divergence(), *gate.divergence_slopes()


def _points() -> tuple[Array, Array]:
    """Return log u and weights of Gauss's rule over u in (0, 1): in log u below 1/2, in log(1 - u) above."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(-60, np.log(0.5), 21)
    half = np.diff(edges)[:, None] / 2
    s, weight = (edges[:-1, None] + half * (nodes + 1)).ravel(), (half * weights).ravel()
    return np.concatenate([s, np.log1p(-np.exp(s))]), np.tile(weight * np.exp(s), 2)


def _mean_of(f: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """Return the means of f(log pi, log(1 - pi^a)) by quadrature over u."""
    log_u, weights = _points()
    log_complement = log_u[:, None] / b
    log_pi = np.log(-np.expm1(log_complement)) / a
    return weights @ f(log_pi, log_complement)


def _by_quadrature(a: Array, b: Array) -> tuple[Array, ...]:
    def kl(a: Any, b: Any) -> Any:
        def ratio(log_pi: Any, rest: Any) -> Any:
            return np.log(a * b / ALPHA) + (a - ALPHA) * log_pi + (b - 1) * rest

        return _mean_of(ratio, a, b)

    h = 1e-30  # of all gates at once: each has its own a and b
    by_a = kl(_softplus(_raw(a) + h * 1j), b).imag / h
    by_b = kl(a, _softplus(_raw(b) + h * 1j)).imag / h
    return kl(a, b), by_a, by_b


def _printed(change: Callable[..., Any]) -> Callable[..., tuple[Array, ...]]:
    # The three outputs of another formula, its slopes by the complex step at the right places of a and b.
    def form(a: Array, b: Array) -> tuple[Array, ...]:
        right = _by_quadrature(a, b)
        return change(a, b, *right)

    return form


def _harmonic(b: Any) -> Any:
    # psi(b) + gamma + 1/b = the integral of (1 - x^b) / (1 - x), by quadrature.
    nodes, weights = np.polynomial.legendre.leggauss(200)
    x = ((nodes + 1) / 2) ** 3
    return (weights * 1.5 * ((nodes + 1) / 2) ** 2) @ ((1 - x[:, None] ** b) / (1 - x[:, None]))


def _kumaraswamy(a: Array, b: Array) -> Array:
    return np.asarray(_gate(_raw(a), _raw(b)).mean())


# ---- D173: the attack ------------------------------------------------------------------------------------------------
LOSS = nn.SoftmaxCrossEntropy()


def _images(rng: np.random.Generator) -> tuple[Any, Array, Array]:
    """Return a smooth net, images with pixels at the ends of [0, 1] and one that is not read, and labels."""
    net: Any = nn.Sequential(nn.Linear(6, 5, rng), nn.Tanh(), nn.Linear(5, 3, rng))
    net.layers[0].W.data[:, 2] = 0
    x = rng.uniform(0.2, 0.8, (6, 8))
    x[[0, 3]], x[[1, 4]] = 0, 1
    return net, x, rng.integers(0, 3, 8)


def _slope_at(net: Any, x: Array, t: Array) -> Array:
    (first, _, last), right = net.layers, np.eye(3)[t].T

    def E(x: Any) -> Any:
        y = last.W.data @ np.tanh(first.W.data @ x + first.b.data[:, None]) + last.b.data[:, None]
        return np.sum(np.log(np.sum(np.exp(y), axis=0)) - np.sum(right * y, axis=0)) / len(t)

    return np.asarray(gradcheck.complex_step(E, x))


def _attacks(rng: np.random.Generator) -> Iterator[Measured]:
    """Three steps of the attack, by the formula with a complex step; and the ball, the box, the pixel not read."""
    net, x, t = _images(rng)
    eps, step = 0.1, 0.07

    def moves(project: Callable[..., Array], sign: Callable[[Array], Array] = np.sign) -> Array:
        point = x
        for _ in range(3):
            point = project(point, step * sign(_slope_at(net, point, t)))
        return point

    def ball(point: Array) -> Array:
        return np.asarray(np.clip(np.clip(point, x - eps, x + eps), 0, 1))

    found = PGD(eps, step, 3)(net, LOSS, x, t, None)
    right = moves(lambda point, move: ball(point + move))
    yield Measured("three steps", float(np.max(np.abs(found - right))))
    drawn = PGD(eps, step, 3)(net, LOSS, x, t, np.random.default_rng(0))
    yield Measured("outside the ball", max(0.0, float(np.max(np.abs(drawn - x))) - eps))
    yield Measured("outside the box", max(0.0, -float(drawn.min()), float(drawn.max()) - 1))
    for name, other, message in (
        ("projection before the step", moves(lambda point, move: ball(point) + move), "The last step leaves the ball."),
        (
            "the ball of the last point",
            moves(lambda point, move: np.asarray(np.clip(point + np.clip(move, -eps, eps), 0, 1))),
            "Every step may go as far as eps: three of them go three times as far.",
        ),
        (
            "without the box",
            moves(lambda point, move: np.asarray(np.clip(point + move, x - eps, x + eps))),
            "A pixel below 0 is no pixel.",
        ),
        (
            "sign(0) = 1",
            moves(lambda point, move: ball(point + move), lambda g: np.where(g >= 0, 1.0, -1.0)),
            "A pixel that the net does not read would move as far as all others.",
        ),
    ):
        yield Measured(name, float(np.max(np.abs(other - right))), True, message)


# ---- D174: two objectives --------------------------------------------------------------------------------------------
def _masked(rng: np.random.Generator) -> tuple[Any, Array, Array]:
    gate = _gate(rng.uniform(-1, 1, 5), rng.uniform(-1, 1, 5))
    gate.noise = rng.uniform(0.1, 0.9, (2, 5, 12))
    net: Any = nn.Sequential(nn.Linear(4, 5, rng), nn.Tanh(), gate, nn.Tap(), nn.Linear(5, 3, rng))
    return net, rng.uniform(0, 1, (4, 6)), rng.integers(0, 3, 6)


def _objective(
    net: Any, both: Array, t: Array, name: str, shares: tuple[float, float], lam: float, pull: int = 2
) -> Array:
    """Return the slope of  s_0 E(x) + s_1 E(x') + lam V  by a parameter; V pulls on one half or on both."""
    first, _, gate, _, last = net.layers
    values = {"W": first.W.data, "V": last.W.data, "a": gate.a_raw.data, "b": gate.b_raw.data}

    def E(value: Any) -> Any:
        u = {**values, name: value}
        z = _plain(u["a"], u["b"], *gate.noise)
        f = z * np.tanh(u["W"] @ both + first.b.data[:, None])
        y, right = u["V"] @ f + last.b.data[:, None], np.eye(3)[t].T
        N, losses = len(t), []
        for half in (y[:, : len(t)], y[:, len(t) :]):
            losses.append(np.sum(np.log(np.sum(np.exp(half), axis=0)) - np.sum(right * half, axis=0)) / N)
        d = f[:, N:] - (f[:, :N] if pull == 2 else f[:, :N].real)
        V = np.sum(np.sign(d.real) * d) / d.size
        return shares[0] * losses[0] + shares[1] * losses[1] + lam * V

    return np.asarray(gradcheck.complex_step(E, values[name]))


def _two_objectives(rng: np.random.Generator) -> Iterator[Measured]:
    """The gradients of weights and of masks after one forward pass over clean and attacked images."""
    (net, x, t), lam = _masked(rng), 0.8
    attack = PGD(0.2, 0.1, 2)
    both = np.concatenate([x, attack(net, LOSS, x, t, np.random.default_rng(5))], axis=1)
    AdversarialGradients(net, attack, np.random.default_rng(5), strength=lam).gradients(net, LOSS, x, t)
    first, _, gate, _, last = net.layers
    weights, masks = ("W", "V"), ("a", "b")
    found = {"W": first.W.grad, "V": last.W.grad, "a": gate.a_raw.grad, "b": gate.b_raw.grad}

    def slopes(names: tuple[str, ...], *objective: Any) -> tuple[Array, ...]:
        return tuple(_objective(net, both, t, name, *objective) for name in names)

    ours, theirs = (tuple(found[name] for name in names) for names in (weights, masks))
    right = slopes(weights, (1 / 3, 2 / 3), lam), slopes(masks, (0, 1), 0.0)
    yield Measured("weights: (E(x) + 2 E(x')) / 3 + lam V", relative(ours, right[0]))
    yield Measured("masks: E(x')", relative(theirs, right[1]))
    for name, other, place, message in (
        ("masks of clean images", slopes(masks, (1, 0), 0.0), 1, "Then it is Bayesian pruning of a robust net."),
        ("masks of the weights' objective", slopes(masks, (1 / 3, 2 / 3), lam), 1, "The masks see no clean image."),
        ("V pulls on x' alone", slopes(weights, (1 / 3, 2 / 3), lam, 1), 0, "Both halves of the difference move."),
        ("V left out", slopes(weights, (1 / 3, 2 / 3), 0.0), 0, "Then it is adversarial training."),
    ):
        yield Measured(name, relative(other, right[place]), True, message)


# ---- D175: the weight of the prior -----------------------------------------------------------------------------------
def _prior(rng: np.random.Generator) -> Iterator[Measured]:
    """What the companion adds to the gradients of the masks: beta/N times the slopes of KL, N not that of a batch."""
    (net, x, t), beta, N = _masked(rng), 3.0, 50
    gate, grads = net.layers[2], []
    for companions in ((), (Divergence(net, beta, N),)):
        LOSS.forward(net.forward(np.concatenate([x, x], axis=1)), np.concatenate([t, t]))
        net.backward(LOSS.backward())
        for companion in companions:
            companion.after_backward(1)
        grads.append((gate.a_raw.grad, gate.b_raw.grad))
    added = tuple(after - before for before, after in zip(*grads))
    a, b = _softplus(gate.a_raw.data), _softplus(gate.b_raw.data)
    kl, *slopes = _by_quadrature(a, b)
    right = tuple(beta / N * slope for slope in slopes)
    yield Measured("beta/N times the slopes", relative(added, right))
    yield Measured("beta/N times KL", relative(np.array(Divergence(net, beta, N).penalty()), beta / N * np.sum(kl)))
    for name, patterns, message in (
        ("N of a batch", 12, "Of 1,437 images in batches of 128 the prior would be eleven times as strong."),
        ("not over N", 1, "A prior 1,437 times as strong: no loss that can be learnt pays for an open gate."),
    ):
        yield Measured(name, relative(tuple(beta / patterns * slope for slope in slopes), right), True, message)


# ---- D176, D177: what V measures -------------------------------------------------------------------------------------
def _identical(rng: np.random.Generator) -> Iterator[Measured]:
    """V of identical images at a low temperature: z is 0 or 1, and differs in 2 m (1 - m) of the pairs, m = E pi."""
    N, features = 20000, rng.uniform(0.5, 2, 4)
    gate = BetaBernoulli(4, np.random.default_rng(int(rng.integers(2**32))), tau=1e-3)
    gate.a_raw.data, gate.b_raw.data = rng.uniform(-0.5, 0.5, 4), rng.uniform(0, 1, 4)
    x = np.tile(features[:, None], N)
    a, b = _softplus(gate.a_raw.data), _softplus(gate.b_raw.data)
    m, square = _mean_of(lambda log_pi, _: np.exp(log_pi), a, b), _mean_of(lambda log_pi, _: np.exp(2 * log_pi), a, b)
    p = 2 * m * (1 - m)
    V, error = np.mean(features * p), np.sqrt(np.sum(features**2 * p * (1 - p)) / N) / 4
    net: Any = nn.Sequential(gate, nn.Tap())
    drawn = vulnerability(net, x, x)
    yield Measured("2 m (1 - m) f, within five standard errors", max(0.0, float(abs(drawn - V) / error) - 5))
    still = vulnerability(net.eval(), x, x)
    yield Measured("in eval mode", still)
    message = "Halves with draws of their own differ: V is above zero though nothing was attacked."
    yield Measured("zero in train mode", float(V), True, message)
    shared = np.mean(features * 2 * (m - square))
    message = "Each half draws its pi as well: with one pi for both, the masks would agree more often."
    yield Measured("one pi for both halves", float(abs(shared - V)), True, message)


def _scales(rng: np.random.Generator) -> Iterator[Measured]:
    """A ReLU's units divided by c and the weights behind multiplied by it: the same function and attack, another V."""
    c = 4.0
    net: Any = nn.Sequential(nn.Linear(4, 6, rng), nn.ReLU(), nn.Tap(), nn.Linear(6, 5, rng), nn.Tanh(), nn.Tap())
    net.layers.append(nn.Linear(5, 3, rng))
    x, t = rng.uniform(0, 1, (4, 9)), rng.integers(0, 3, 9)
    images = PGD(0.2, 0.1, 3)(net, LOSS, x, t, None)
    other = copy.deepcopy(net)
    first, behind = other.layers[0], other.layers[3]
    first.W.data, first.b.data, behind.W.data = first.W.data / c, first.b.data / c, behind.W.data * c
    yield Measured("the function", relative(other.forward(images), net.forward(images)))
    yield Measured("the attack", relative(PGD(0.2, 0.1, 3)(other, LOSS, x, t, None), images))
    W, b, U, d = net.layers[0].W.data, net.layers[0].b.data, net.layers[3].W.data, net.layers[3].b.data
    hidden = [np.maximum(W @ each + b[:, None], 0) for each in (x, images)]
    first_V = np.mean(np.abs(hidden[1] - hidden[0]))
    second_V = np.mean(np.abs(np.diff([np.tanh(U @ each + d[:, None]) for each in hidden], axis=0)))
    yield Measured("V", relative(np.array(vulnerability(net, x, images)), (first_V + second_V) / 2))
    scaled = (first_V / c + second_V) / 2
    yield Measured("V rescaled", relative(np.array(vulnerability(other, x, images)), scaled))
    message = "The first layer's part of V is a quarter, and no image is told better: V is no property of the function."
    yield Measured("V does not change", relative((first_V + second_V) / 2, scaled), True, message)
    message = "V is the mean over layers of the means over units, not their sum."
    yield Measured("the sum over layers", relative(first_V + second_V, (first_V + second_V) / 2), True, message)


STATEMENTS = (
    Formula(
        id="D170",
        title="beta-Bernoulli gate: a draw and its slopes",
        printed=r"\pi=(1-u^{1/b})^{1/a},\quad z=\sigma((\operatorname{logit}\pi+\operatorname{logit}v)/\tau)",
        verdict="right",
        remark="Computed from logarithms, the slopes stay finite where pi is 0 or 1 to all digits.",
        where=WHERE + ", the authors' code, after Lee et al. 2018",
        code=f"{CODE}.gates, {CODE}.backward_gates",
        notebook="23, section 5",
        draw=_draws,
        right=_sampled,
        referees=(Form("complex step through the formula in plain numbers", _by_complex_step(_plain)),),
        wrong=(
            Form(
                "a and b swapped",
                _by_complex_step(lambda a_raw, b_raw, u, v: _plain(b_raw, a_raw, u, v)),
                "The inner exponent is 1/b, the outer one 1/a.",
            ),
            Form(
                "without the temperature",
                _by_complex_step(lambda a_raw, b_raw, u, v: _plain(a_raw, b_raw, u, v, 1.0)),
                "At tau = 1 a gate is seldom near 0 or 1.",
            ),
            Form(
                "z = pi",
                _by_complex_step(lambda a_raw, b_raw, u, v: _plain(a_raw, b_raw, u, np.full(v.shape, 0.5), 1.0)),
                "Then the mask is no Bernoulli draw: it is its mean.",
            ),
        ),
    ),
    Formula(
        id="D171",
        title="beta-Bernoulli gate: the divergence from its prior",
        printed=r"KL=(1-\tfrac{\alpha}{a})(-\gamma-\psi(b)-\tfrac1b)+\log\tfrac{ab}{\alpha}-\tfrac{b-1}{b}",
        verdict="right",
        remark="It is zero at a = alpha and b = 1, where E pi = alpha / (1 + alpha): the prior closes gates.",
        where=WHERE + ", the authors' code; Lee et al. 2018",
        code=f"{CODE}.divergence, {CODE}.divergence_slopes",
        notebook="23, section 5",
        tolerance=1e-10,
        draw=_shapes,
        draws=3,
        right=_divergence,
        referees=(Form("quadrature over u, and its complex step", _by_quadrature),),
        wrong=(
            Form(
                "a and b swapped",
                lambda a, b: _by_quadrature(b, a),
                "The two exponents have different parts: a against alpha, b against 1.",
            ),
            Form(
                "without (b - 1) / b",
                _printed(lambda a, b, kl, by_a, by_b: (kl + (b - 1) / b, by_a, by_b)),
                "The mean of log(1 - pi^a) is -1/b, not zero.",
            ),
            Form(
                "the mean of log pi without 1/b",
                _printed(lambda a, b, kl, by_a, by_b: (kl + (1 - ALPHA / a) / b, by_a, by_b)),
                "It is (-gamma - psi(b + 1)) / a, and psi(b + 1) = psi(b) + 1/b.",
            ),
            Form(
                "from a uniform prior",
                _printed(
                    lambda a, b, kl, by_a, by_b: (np.log(a * b) - (1 - 1 / a) * _harmonic(b) - (b - 1) / b, by_a, by_b)
                ),
                "alpha = 1: such a prior has no wish to close a gate.",
            ),
        ),
    ),
    Formula(
        id="D172",
        title="beta-Bernoulli gate: its mean, the mask of eval mode",
        printed=r"E\pi=\frac{b\,\Gamma(1+1/a)\,\Gamma(b)}{\Gamma(1+1/a+b)}",
        verdict="right if",
        remark="If the mask of eval mode is to be the mean of pi: the mean of z is nearer to one half.",
        where=WHERE + ", the authors' code",
        code=f"{CODE}.mean, {CODE}.factor",
        notebook="23, section 5",
        tolerance=1e-10,
        draw=_shapes,
        right=_kumaraswamy,
        referees=(Form("quadrature over u", lambda a, b: _mean_of(lambda log_pi, _: np.exp(log_pi), a, b)),),
        wrong=(
            Form(
                "a and b swapped",
                lambda a, b: _mean_of(lambda log_pi, _: np.exp(log_pi), b, a),
                "At b = 1 the mean is a / (1 + a), at a = 1 it is 1 / (1 + b).",
            ),
            Form("the median", lambda a, b: (1 - 0.5 ** (1 / b)) ** (1 / a), "u = 1/2 gives the median of pi."),
            Form("the mean of a Beta(a, b)", lambda a, b: a / (a + b), "Kumaraswamy's distribution is not the Beta."),
        ),
    ),
    Claim(
        id="D173",
        title="projected gradient descent: the attack",
        printed=r"x'\leftarrow P_{\varepsilon}\left(x'+\eta\,\mathrm{sign}\,\partial E/\partial x'\right)",
        verdict="right",
        remark="The projection comes last and is that of the first image; a pixel without a slope stays.",
        where=WHERE + ", the authors' code, after Madry et al. 2018, arXiv:1706.06083",
        code=f"{ATTACK}.PGD",
        notebook="23, section 2",
        measure=_attacks,
        referee="the formula with a complex step",
    ),
    Claim(
        id="D174",
        title="adversarial neural pruning: two objectives, one forward pass",
        printed=r"W:\ \tfrac13E(x)+\tfrac23E(x')+\lambda V,\qquad M:\ E(x')",
        verdict="right",
        remark="The masks never see a clean image, and V does not reach them.",
        where=WHERE + ", the authors' code",
        code=f"{ATTACK}.AdversarialGradients",
        notebook="23, section 6",
        measure=_two_objectives,
        referee="complex step of a forward pass in plain NumPy",
    ),
    Claim(
        id="D175",
        title="adversarial neural pruning: the strength of the prior",
        printed=r"\frac{\beta}{N}\sum_c KL_c",
        verdict="right if",
        remark="If N is the number of training patterns: beta = 1 is the bound on the evidence.",
        where=WHERE + ", the authors' code",
        code="pruning.penalties.beta_bernoulli.Divergence",
        notebook="23, section 5",
        tolerance=1e-10,
        measure=_prior,
        referee="quadrature and its complex step",
    ),
    Claim(
        id="D176",
        title="vulnerability: identical images",
        printed=r"V(x,x)=0",
        verdict="wrong",
        remark="In train mode each half has masks of its own: V of identical images is 2 m (1 - m) of the features.",
        where=WHERE + ", the authors' code; derived",
        code=f"{ATTACK}.vulnerability",
        notebook="23, section 4",
        tolerance=1e-3,
        measure=_identical,
        referee="closed form at a low temperature, by quadrature",
    ),
    Claim(
        id="D177",
        title="vulnerability: the same function rescaled",
        printed=r"V=\frac1L\sum_l\mathrm{mean}\,|f_l(x')-f_l(x)|",
        verdict="scale",
        remark="It is measured in the units of each layer, which weights in front and behind can change at will.",
        where=WHERE + ", the authors' code; derived",
        code=f"{ATTACK}.vulnerability",
        notebook="23, section 4",
        measure=_scales,
        referee="V in plain NumPy",
    ),
)
