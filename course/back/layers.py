"""Two layers whose paths must be counted: batch norm with weighted patterns (back.3), and a gated shortcut (back.4).

The first is judged by the complex step through its forward pass; the second is a straight line in every number alone,
so that a step of the size 1 is exact.
"""

from collections.abc import Callable

import numpy as np

from course.back.formulas import Triple
from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed


# ---- back.3: patterns count with weights v, which sum to 1 -----------------------------------------------------------
def _patterns(N: int = 0, D: int = 0, padded: bool = False, tenths: bool = False) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        shape = (D or int(rng.integers(2, 6)), N or int(rng.integers(5, 9)))
        v = rng.permutation(np.linspace(0.3, 2, shape[1])) * rng.uniform(0.9, 1.1, shape[1])
        if padded:
            v[rng.permutation(shape[1])[:2]] = 0
        v = rng.permutation([0.1, 0.2, 0.3, 0.4]) if tenths else v / v.sum()
        x, gy = signed(rng, 0.5, 2, shape) + signed(rng, 0.5, 1, (shape[0], 1)), signed(rng, 0.5, 2, shape)
        return {"x": x, "v": v, "gamma": signed(rng, 0.5, 2, shape[0]), "eps": float(rng.choice([0.3, 0.5])), "gy": gy}

    return draw


def _forward(x: Array, v: Array, gamma: Array, beta: Array, eps: float) -> Array:
    y = np.empty(x.shape, complex)
    for i, row in enumerate(x):
        mean = sum(w * value for w, value in zip(v, row))
        variance = sum(w * (value - mean) ** 2 for w, value in zip(v, row))
        y[i] = [gamma[i] * (value - mean) / np.sqrt(variance + eps + 0j) + beta[i] for value in row]
    return y


def _norm_by_complex_step(x: Array, v: Array, gamma: Array, eps: float, gy: Array) -> Triple:
    step, at = 1e-30, [x.astype(complex), gamma.astype(complex), np.zeros(len(x), complex)]
    found = []
    for variable in at:
        slope = np.empty(variable.shape)
        for k in np.ndindex(variable.shape):
            before = variable[k]
            variable[k] = before + 1j * step
            slope[k] = np.sum(gy * np.imag(_forward(at[0], v, at[1], at[2], eps))) / step
            variable[k] = before
        found.append(slope)
    return found[0], found[1], found[2]


def _norm(
    mean: float = 1.0,
    spread: float = 1.0,
    no_eps: bool = False,
    equal: bool = False,
    inside: bool = False,
    unscaled: bool = False,
) -> Callable[..., Triple]:
    # `mean` and `spread` weigh the two terms that go through the statistics; `inside`: v stands under both sums.
    def form(x: Array, v: Array, gamma: Array, eps: float, gy: Array) -> Triple:
        v = np.full(len(v), 1 / len(v)) if equal else v
        centred = x - (x @ v)[:, None]
        deviation = np.sqrt(centred**2 @ v + (0 if no_eps else eps))[:, None]
        xhat, g = centred / deviation, gamma[:, None] * gy / deviation
        sums = [(gamma[:, None] * gy * each / deviation) for each in (1.0, xhat)]
        one, two = ((each @ v)[:, None] if inside else each.sum(axis=1)[:, None] * v for each in sums)
        ggamma = np.sum(gy * (centred if unscaled else xhat), axis=1)
        return g - mean * one - spread * two * xhat, ggamma, gy.sum(axis=1)

    return form


NORM = Exercise(
    id="back.3",
    function="batchnorm_backward",
    outputs=("gx", "ggamma", "gbeta"),
    formula="x̂ = (x − μ)/σ, σ² = Σ v(x − μ)² + ε:  gₓ = γ/σ (g − v Σg − v x̂ Σg x̂),  Σg x̂,  Σg",
    slide="S0, Automatic structured: Network Slimming (the layer whose scales it prunes)",
    ledger="",
    section="notebook 01, section 1 (the chain rule over all paths)",
    minutes=50,
    referee=_norm_by_complex_step,
    cases=(
        Case("four patterns", 1, _patterns(4, 2, tenths=True), public=True),
        Case("other sizes and weights", 3, _patterns(), draws=3),
        Case("one pattern", 1, _patterns(1), draws=2),
        Case("patterns of weight zero", 1, _patterns(padded=True), draws=2),
    ),
    wrong=(
        Wrong(
            "statistics held constant",
            _norm(mean=0.0, spread=0.0),
            "This holds mean and variance constant, as at test time. Here both are those of the batch, and every x"
            " moves them.",
        ),
        Wrong(
            "mean term only",
            _norm(spread=0.0),
            "This goes through the mean, and not through the variance. x acts in three ways: directly, through the mean"
            " and through the variance.",
        ),
        Wrong(
            "epsilon forgotten",
            _norm(no_eps=True),
            "This divides by the root of the variance alone. ε belongs under the root, forward and backward.",
        ),
        Wrong(
            "patterns of equal weight",
            _norm(equal=True),
            "This counts every pattern 1/N, as the batch norm of the lecture does. Here pattern n counts vₙ.",
        ),
        Wrong(
            "v under the sums",
            _norm(inside=True),
            "This has v inside the sums over the patterns, where it weighs the signals of others. vₙ says how much xₙ"
            " itself moves the statistics: it is the v of the pattern that is differentiated by.",
        ),
        Wrong(
            "gamma's gradient without the deviation",
            _norm(unscaled=True),
            "This multiplies the signal with x − μ for γ's gradient. What γ multiplies is x̂, which is divided by σ.",
        ),
    ),
    hint="One pattern alone is its own mean: what does its output do when x grows?",
    package="nn.BatchNorm",
)


# ---- back.4: a shortcut with a trained factor for each unit ----------------------------------------------------------
def _gates(D: int = 0, N: int = 0, one: bool = False) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        shape = (D or int(rng.integers(3, 6)), N or int(rng.integers(6, 9)))
        return {
            "x": signed(rng, 0.5, 2, shape),
            "F": signed(rng, 0.5, 2, shape),
            "gF": signed(rng, 0.3, 1.5, (shape[0], *shape)),
            "alpha": np.ones(shape[0]) if one else signed(rng, 0.3, 0.8, shape[0]),
            "gy": signed(rng, 0.5, 2, shape),
        }

    return draw


def _gated_by_steps(x: Array, F: Array, gF: Array, alpha: Array, gy: Array) -> tuple[Array, Array]:
    def y(dx: Array, gates: Array) -> Array:
        out = np.empty(x.shape)
        for i, n in np.ndindex(x.shape):
            out[i, n] = gates[i] * (x[i, n] + dx[i, n]) + F[i, n] + sum(gF[i, j, n] * dx[j, n] for j in range(len(x)))
        return out

    nothing = np.zeros(x.shape)
    here, gx, galpha = y(nothing, alpha), np.empty(x.shape), np.empty(alpha.shape)
    for k in np.ndindex(x.shape):
        step = nothing.copy()
        step[k] = 1
        gx[k] = np.sum(gy * (y(step, alpha) - here))
    for i in range(len(alpha)):
        galpha[i] = np.sum(gy * (y(nothing, alpha + (np.arange(len(alpha)) == i)) - here))
    return gx, galpha


def _gated(
    shortcut: Callable[[Array], Array] = lambda alpha: alpha,
    subscripts: str = "ijn,in->jn",
    body: float = 1.0,
    total: Callable[[Array], Array] = lambda each: each.sum(axis=1),
    of: str = "x",
) -> Callable[..., tuple[Array, Array]]:
    def form(x: Array, F: Array, gF: Array, alpha: Array, gy: Array) -> tuple[Array, Array]:
        back = np.einsum(subscripts, gF, gy)
        return shortcut(alpha)[:, None] * gy + body * back, total(gy * (x if of == "x" else F))

    return form


GATED = Exercise(
    id="back.4",
    function="gated_backward",
    outputs=("gx", "galpha"),
    formula="y = αx + F(x):  gₓ = αg + Jᵀg,  g_α = Σₙ g x",
    slide="S0, Network architectures: ResNet (blocks with a shortcut)",
    ledger="",
    section="notebook 01, section 1 (the chain rule over all paths)",
    minutes=20,
    referee=_gated_by_steps,
    cases=(
        Case("alpha = 1", 1, _gates(2, 3, one=True), public=True),
        Case("other alpha and other sizes", 2, _gates(), draws=3),
        Case("one pattern", 1, _gates(N=1), draws=2),
    ),
    wrong=(
        Wrong(
            "shortcut forgotten",
            _gated(shortcut=np.zeros_like),
            "This goes back through F alone. x reaches y by two ways, and their gradients are added.",
        ),
        Wrong(
            "body forgotten",
            _gated(body=0.0),
            "This goes back along the shortcut alone. x reaches y by two ways, and their gradients are added.",
        ),
        Wrong(
            "alpha forgotten",
            _gated(shortcut=np.ones_like),
            "This adds the signal as it is, the shortcut of a residual net. Here the shortcut multiplies with α, on the"
            " way back as on the way there.",
        ),
        Wrong(
            "Jacobian not transposed",
            _gated(subscripts="jin,in->jn"),
            "This multiplies with the Jacobian as on the way forward. Backward, the sum is over the outputs: its first"
            " index.",
        ),
        Wrong(
            "one sum over all units",
            _gated(total=lambda each: each.sum()),
            "This sums the gradient of α over units, too. Every unit has an α of its own; only the patterns share it.",
        ),
        Wrong(
            "mean over the patterns",
            _gated(total=lambda each: each.mean(axis=1)),
            "This divides the gradient of α. If E is a mean, 1/N is in the signal that arrives; a layer only sums.",
        ),
        Wrong(
            "F in the place of x",
            _gated(of="F"),
            "This sums g F(x) for the gradient of α. α multiplies x, and that remains when y is differentiated.",
        ),
    ),
    hint="gF is indexed by output, input, pattern. Over which of them does a signal that comes back sum?",
    package="nn.Residual",
)
