"""Noise in the place of outputs, where weights of one row share their alpha and the bias is noisy too.

Mean and variance are judged by all patterns of weights that are one standard deviation off, up or down: these have the
mean and the variance of the normal ones.  The gradients are judged by the complex step through that enumeration.
"""

from collections.abc import Callable

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed

Answer = tuple[Array, Array, Array, Array, Array]


def _layer(outputs: int, inputs: int, patterns: int, blank: int = 0) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        x = signed(rng, 0.3, 1.5, (inputs, patterns))
        x[:, :blank] = 0
        return {
            "W": signed(rng, 0.3, 1.2, (outputs, inputs)),
            "b": signed(rng, 0.3, 1.2, outputs),
            "rho": signed(rng, 0.4, 1.4, outputs),
            "x": x,
            "eps": signed(rng, 0.3, 1.5, (outputs, patterns)),
            "ga": signed(rng, 0.3, 1.5, (outputs, patterns)),
        }

    return draw


def _moments(theta: Array, rho: Array, x: Array) -> tuple[Array, Array]:
    # theta (O, I + 1) with the bias behind, x with a row of ones.
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * theta.shape[1])).reshape(theta.shape[1], -1).T
    a = (theta + np.exp(rho / 2)[:, None] * theta * signs[:, None, :]) @ x  # (patterns of signs, O, N)
    mean = a.mean(axis=0)
    return mean, np.mean((a - mean) ** 2, axis=0)


def _enumerated(W: Array, b: Array, rho: Array, x: Array, eps: Array, ga: Array) -> Answer:
    theta, ones = np.column_stack([W, b]), np.vstack([x, np.ones(x.shape[1])])

    def slope(k: tuple[int, ...], which: int) -> float:
        u = [theta.astype(complex), rho.astype(complex)]
        u[which][k] += 1e-30j
        mean, variance = _moments(u[0], u[1], ones)
        return float(np.sum(ga * (mean + np.sqrt(variance) * eps)).imag / 1e-30)

    g = np.array([[slope((i, j), 0) for j in range(theta.shape[1])] for i in range(len(W))])
    grho = np.array([slope((i,), 1) for i in range(len(W))])
    return (*_moments(theta, rho, ones), g[:, :-1], g[:, -1], grho)


def _noisy(
    alpha: Callable[[Array], Array] = np.exp,
    noisy_bias: bool = True,
    added: bool = False,
    path: bool = True,
    factor: Callable[[Array], Array | float] = lambda rho: 1.0,
    mean: bool = False,
    deviation: bool = False,
) -> Callable[..., Answer]:
    def form(W: Array, b: Array, rho: Array, x: Array, eps: Array, ga: Array) -> Answer:
        A, share = alpha(rho)[:, None], float(noisy_bias)
        v = A * ((W * W) @ (x * x) + share * (b * b)[:, None])
        if added:
            v = A * (abs(W) @ abs(x) + share * abs(b)[:, None]) ** 2
        gv = ga * eps / (2 * np.sqrt(v))
        gW, gb = ga @ x.T, ga.sum(axis=1)
        if path:
            gW, gb = gW + 2 * A * W * (gv @ (x * x).T), gb + share * 2 * A[:, 0] * b * gv.sum(axis=1)
        grho = factor(rho) * np.sum(gv * v, axis=1)
        N = x.shape[1] if mean else 1
        return W @ x + b[:, None], np.sqrt(v) if deviation else v, gW / N, gb / N, grho / N

    return form


NOISE = Exercise(
    id="wid.2",
    function="noisy_layer",
    outputs=("mean", "variance", "gW", "gb", "grho"),
    formula="m = Wx + b,  v_in = α_i (Σ_j w_ij² x_jn² + b_i²),  α = exp ρ;  with e = ∂E/∂a · ε / √v:"
    "  ∂E/∂w_ij = Σ_n (∂E/∂a_in x_jn + α_i w_ij e_in x_jn²),  ∂E/∂ρ_i = ½ Σ_n e_in v_in",
    slide="S0, Methods for pruning",
    ledger="D75, D75a",
    section="notebook 19, section 4",
    minutes=40,
    referee=_enumerated,
    cases=(
        Case("two outputs of two inputs", 1, _layer(2, 2, 3), public=True),
        Case("other sizes", 2, _layer(3, 5, 6), draws=3),
        Case("one pattern", 1, _layer(4, 3, 1), draws=2),
        Case("patterns of zeros", 1, _layer(3, 3, 5, blank=2), draws=2),
    ),
    wrong=(
        Wrong(
            "bias without noise",
            _noisy(noisy_bias=False),
            "This is a layer whose bias has no noise, as that of pruning.penalties.variational_dropout. Here the bias"
            " is one more weight of its row.",
        ),
        Wrong(
            "deviations added",
            _noisy(added=True),
            "This adds up standard deviations. Of independent numbers the variances add up (D75a).",
        ),
        Wrong(
            "rho as log sigma",
            _noisy(alpha=lambda rho: np.exp(2 * rho), factor=lambda rho: 2.0),
            "This has exp(2 ρ), as if ρ were the logarithm of a standard deviation. Here ρ is log α, and α is the"
            " variance in units of the square of the weight (D75).",
        ),
        Wrong(
            "noise of a size of its own",
            _noisy(path=False),
            "This differentiates the mean by W and b and takes the variance for a constant. The noise grows with the"
            " weight: σ² = α w².",
        ),
        Wrong(
            "derivative of the variance",
            _noisy(factor=lambda rho: 2.0),
            "This has twice the derivative by ρ: √v, not v, multiplies ε, and the root brings a half (D75a).",
        ),
        Wrong(
            "by alpha",
            _noisy(factor=lambda rho: np.exp(-rho)),
            "This is the derivative by α. The parameter is ρ = log α, and the chain goes on.",
        ),
        Wrong(
            "mean over the batch",
            _noisy(mean=True),
            "This divides the gradients by the number of patterns. ∂E/∂a has it already if E is a mean.",
        ),
        Wrong(
            "deviation for the variance",
            _noisy(deviation=True),
            "This returns the standard deviation of the pre-activation in the place of its variance.",
        ),
    ),
    hint="Write a = m + √v ε first. Which of the parameters does v depend on?",
    package="pruning.penalties.variational_dropout.VariationalLinear",
)
