"""What a net costs whose widths are still random, where some layers read and write the same width.

Judged by all combinations of widths, and the derivatives by the complex step through that enumeration.
"""

from collections.abc import Callable
from itertools import product

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed

Answer = tuple[float, list[Array]]


def _widths(sizes: tuple[int, ...]) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        logits = [signed(rng, 0.3, 1.5, k) for k in sizes]
        for a in logits:
            a[0] = a.max() + 0.4  # the likeliest is clear
        widths = [np.cumsum(rng.integers(2, 6, k)).astype(float) for k in sizes]
        q, r = rng.integers(1, 10, len(sizes) + 1).astype(float), rng.integers(2, 6, len(sizes)).astype(float)
        return {"logits": logits, "widths": widths, "q": q, "r": r, "n_in": 3, "n_out": int(rng.integers(5, 11))}

    return draw


def _expected(logits: list[Array], widths: list[Array], q: Array, r: Array, n_in: int, n_out: int) -> complex:
    p = [np.exp(a) / np.sum(np.exp(a)) for a in logits]
    total = 0.0 + 0.0j
    for k in product(*map(range, map(len, widths))):
        chain = [n_in, *(c[i] for c, i in zip(widths, k)), n_out]
        cost = sum(each * c * d for each, c, d in zip(q, chain, chain[1:]))
        cost += sum(each * c * c for each, c in zip(r, chain[1:]))
        total += complex(np.prod([each[i] for each, i in zip(p, k)])) * cost
    return total


def _enumerated(logits: list[Array], widths: list[Array], q: Array, r: Array, n_in: int, n_out: int) -> Answer:
    slopes = [np.zeros(len(a)) for a in logits]
    for layer, a in enumerate(logits):
        for k in range(len(a)):
            moved = [each.astype(complex) for each in logits]
            moved[layer][k] += 1e-30j
            slopes[layer][k] = _expected(moved, widths, q, r, n_in, n_out).imag / 1e-30
    return _expected(logits, widths, q, r, n_in, n_out).real, slopes


def _cost(
    square: Callable[[Array, Array], float] = lambda p, c: float(p @ (c * c)),
    chosen: bool = False,
    centred: bool = True,
    by_logit: bool = True,
    one_side: bool = False,
    outer: bool = True,
    log: bool = False,
    slope: Callable[[Array, Array], Array] = lambda p, c: c * c,
) -> Callable[..., Answer]:
    def form(logits: list[Array], widths: list[Array], q: Array, r: Array, n_in: int, n_out: int) -> Answer:
        p = [np.exp(a) / np.exp(a).sum() for a in logits]
        if chosen:
            p = [(a == a.max()).astype(float) for a in logits]
        m = [float(n_in), *(float(each @ c) for each, c in zip(p, widths)), float(n_out) if outer else 0.0]
        E = sum(each * c * d for each, c, d in zip(q, m, m[1:])) + sum(
            each * square(a, c) for each, a, c in zip(r, p, widths)
        )
        grads = []
        for k, (a, c) in enumerate(zip(p, widths)):
            s = c * (q[k] * m[k] + (0 if one_side else q[k + 1] * m[k + 2])) + r[k] * slope(a, c)
            g = s - (a @ s if centred else 0)
            grads.append((g * a if by_logit else g) / (E if log else 1))
        return float(np.log(E)) if log else float(E), grads

    return form


COST = Exercise(
    id="wid.5",
    function="expected_cost",
    outputs=("expected", "gradients"),
    formula="E = Σ_l q_l m_l m_(l+1) + Σ_l r_l E[c_l²], m_l = Σ_k p_lk c_lk, m_0 = n_in, m_(L+1) = n_out;  "
    "s_lk = c_lk (q_(l−1) m_(l−1) + q_l m_(l+1)) + r_l c_lk²,  ∂E/∂a_lk = p_lk (s_lk − Σ_j p_lj s_lj)",
    slide="S0, Methods for pruning",
    ledger="D163, S4-F2",
    section="notebook 22, section 7",
    minutes=35,
    package="pruning.architectures.width_cost.WidthCost",
    referee=_enumerated,
    cases=(
        Case("one layer of three widths", 1, _widths((3,)), public=True),
        Case("three layers", 3, _widths((3, 4, 2)), draws=3),
        Case("a layer of one width", 1, _widths((3, 1, 4)), draws=2),
    ),
    wrong=(
        Wrong(
            "square of the mean",
            _cost(square=lambda p, c: float(p @ c) ** 2, slope=lambda p, c: 2 * float(p @ c) * c),
            "This has the square of the mean width for the mean of its square. Both ends of such a layer are one width,"
            " and not independent.",
        ),
        Wrong(
            "square of the mean, in the value only",
            _cost(square=lambda p, c: float(p @ c) ** 2),
            "This has the right gradients and the square of the mean width in the value. Both ends of such a layer are"
            " one width, and not independent.",
        ),
        Wrong(
            "the likeliest widths",
            _cost(chosen=True),
            "This is the cost of the likeliest widths. The expectation weighs all of them, and"
            " only it has a derivative.",
        ),
        Wrong(
            "by the probabilities",
            _cost(centred=False, by_logit=False),
            "These are derivatives by the probabilities. Those by the logits go on through the softmax.",
        ),
        Wrong(
            "softmax as if diagonal",
            _cost(centred=False),
            "This multiplies with p alone. A logit that grows takes probability from all others: the gradients of a"
            " layer add up to 0.",
        ),
        Wrong(
            "p forgotten",
            _cost(by_logit=False),
            "This is s − E[s] without the probability in front: widths that are hardly drawn have hardly a gradient.",
        ),
        Wrong(
            "one side only",
            _cost(one_side=True),
            "This differentiates what writes the channels, and forgets what reads them.",
        ),
        Wrong(
            "the last layer left out",
            _cost(outer=False),
            "This leaves out the layer with the n_out outputs. It reads the last width.",
        ),
        Wrong(
            "logarithm",
            _cost(log=True),
            "This is the logarithm of the expected cost, which makes a term of a loss. The cost itself is asked for.",
        ),
    ),
    hint="The expectation of a product is the product of the expectations if the two are independent. A width is not"
    " independent of itself.",
)
