"""A test is what is graded (back.5): it gets a function and an alleged gradient, and says whether it is the gradient.

The judge does not ask the function: it knows the rows behind it, and differentiates them.
"""

from collections.abc import Callable

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed
from course.worker import Energy

SLOPES: dict[str, Callable[[Array], Array]] = {
    "tanh": lambda a: 1 - np.tanh(a) ** 2,
    "sin": np.cos,
    "exp": np.exp,
    "square": lambda a: 2 * a,
}


def _terms(E: Energy, u: Array) -> Array:
    # Row k is what term k adds to the gradient.
    return (E.c * SLOPES[E.kind](E.A @ u))[:, None] * E.A


# ---- right gradients, and what is planted ----------------------------------------------------------------------------
def _planted(rng: np.random.Generator, terms: Array) -> Array:
    # A mistake that backward passes have: a factor, a sign, entries exchanged, a term lost, one entry off.
    g, (j, k) = terms.sum(axis=0), rng.permutation(terms.shape[1])[:2]
    kind = rng.integers(6)
    if kind < 3:
        return g * (2.0, 0.5, -1.0)[kind]
    if kind == 3 and abs(g[j] - g[k]) > 0.01 * abs(g[j]):
        g[[j, k]] = g[[k, j]]
    elif kind == 4:
        return g - terms[rng.integers(len(terms))]
    else:
        g[j] *= 1 + rng.choice([-1.0, 1.0]) * 10 ** rng.uniform(-2.5, -1)
    return g


def _energies(wrong: float = 0.5, scale: float = 0.0, units: float = 0.0, dead: bool = False) -> Draw:
    # E is of the size 10^(+-scale), and u_j of the size 10^(+-units); a wrong one is then off where it is smallest.
    def draw(rng: np.random.Generator) -> Inputs:
        n, K = int(rng.integers(4, 7)), 3
        while True:
            A, c, u = signed(rng, 0.2, 0.6, (K, n)), signed(rng, 0.5, 1.5, K), signed(rng, 0.3, 1, n)
            E = Energy(A, c, str(rng.choice(["tanh", "sin", "exp", "square"])))
            terms = _terms(E, u)
            if np.all(abs(terms.sum(axis=0)) > 0.1 * abs(terms).sum(axis=0)) and np.min(abs(terms)) > 0.02:
                break
        size, unit = 10 ** rng.uniform(-scale, scale), 10 ** rng.permutation(np.linspace(-units, units, n))
        A = A * unit * ~(dead & (np.arange(n) == rng.integers(n)))
        E, u = Energy(A, size * c, E.kind), u / unit
        terms, bad = _terms(E, u), rng.random() < wrong
        g = terms.sum(axis=0)
        if bad and units:
            smallest = np.argsort(unit)[rng.choice([0, 0, 1])]
            g[smallest] *= 1 + rng.choice([-1.0, 1.0]) * 10 ** rng.uniform(-2.5, -2)
        elif bad:
            g = _planted(rng, terms)
        return {"E": E, "g": g, "u": u}

    return draw


def _squares(change: Callable[[Array], Array]) -> Draw:
    # Whole numbers, so that a decimal is enough to print a right gradient.
    def draw(rng: np.random.Generator) -> Inputs:
        while True:
            A, c, u = rng.integers(-2, 3, (2, 3)) + 0.0, rng.integers(1, 4, 2) + 0.0, rng.integers(-3, 4, 3) + 0.0
            E = Energy(A, c, "square")
            g = _terms(E, u).sum(axis=0)
            if np.all(g != 0) and len(set(abs(g))) == 3 and np.all(u != 0):
                return {"E": E, "g": change(g), "u": u}

    return draw


# ---- tests -----------------------------------------------------------------------------------------------------------
def _by_rows(E: Energy, g: Array, u: Array) -> float:
    right = _terms(E, u).sum(axis=0)
    return float(np.all(np.abs(g - right) <= 1e-6 * np.abs(right)))


def _slopes(E: Energy, u: Array) -> Array:
    return np.array([np.imag(E(u + 1e-30j * e)) / 1e-30 for e in np.eye(len(u))])


def _differences(E: Energy, u: Array) -> Array:
    return np.array([(E(u + 1e-5 * e) - E(u - 1e-5 * e)) / 2e-5 for e in np.eye(len(u))])


def _test(
    accepts: Callable[[Array, Array], bool], slopes: Callable[[Energy, Array], Array] = _slopes
) -> Callable[[Energy, Array, Array], float]:
    return lambda E, g, u: float(accepts(g, slopes(E, u)))


def _aligned(g: Array, right: Array) -> bool:
    return bool(g @ right >= (1 - 1e-9) * np.linalg.norm(g) * np.linalg.norm(right))


REFEREE = Exercise(
    id="back.5",
    function="referee",
    outputs=("verdict",),
    formula="gⱼ = Im E(u + i h eⱼ)/h for every j, each compared with a tolerance relative to itself",
    slide="S0, Computing the second derivative (what is derived has to be tested)",
    ledger="",
    section="notebook 01, section 5",
    minutes=35,
    referee=_by_rows,
    cases=(
        Case("a right gradient", 1, _squares(lambda g: g), public=True),
        Case("a gradient with one wrong entry", 1, _squares(lambda g: g * [1, 1, 1.1]), public=True),
        Case("another right one", 0, _squares(lambda g: 1 * g), public=True),
        Case("a gradient with a factor", 0, _squares(lambda g: g / 2), public=True),
        Case("gradients of sizes from 1e-6 to 1e6", 1, _energies(scale=6), draws=20),
        Case("parameters in units from 1e-6 to 1e6", 1, _energies(units=6), draws=30),
        Case("gradients with an entry that is zero", 1, _energies(dead=True), draws=16),
    ),
    wrong=(
        Wrong(
            "looks at one entry",
            _test(lambda g, right: bool(abs(g[0] - right[0]) <= 1e-6 * abs(right[0]))),
            "So answers a test that looks at the first entry alone. Mistakes may be anywhere: look at all of them.",
        ),
        Wrong(
            "differences with one step",
            _test(lambda g, right: bool(np.all(np.abs(g - right) <= 1e-4 * np.abs(right))), _differences),
            "So answers a test by differences with one step for all parameters. Here one is 1e6 and another 1e-6: the"
            " step drowns in the first and jumps far over the second (notebook 01, section 5.1).",
        ),
        Wrong(
            "divides by zero",
            _test(lambda g, right: bool(np.all(np.abs(g - right) / np.abs(right) <= 1e-6))),
            "So answers a test that divides by an entry that is zero: nan is not below any tolerance, and a right"
            " gradient is refused.",
        ),
        Wrong(
            "np.allclose as it comes",
            _test(lambda g, right: np.allclose(g, right)),
            "So answers np.allclose as it comes. Beside the relative tolerance it has an absolute one of 1e-8, and an"
            " entry of 1e-6 may then be off by a percent.",
        ),
        Wrong(
            "absolute tolerance",
            _test(lambda g, right: bool(np.max(np.abs(g - right)) <= 1e-6)),
            "So answers a test with an absolute tolerance. A gradient of the size 1e-6 passes it with any mistake.",
        ),
        Wrong(
            "direction only",
            _test(_aligned),
            "So answers a test of the direction. A gradient that is twice too long passes it.",
        ),
        Wrong(
            "norm over mixed scales",
            _test(lambda g, right: bool(np.linalg.norm(g - right) <= 1e-6 * np.linalg.norm(right))),
            "So answers a test that compares norms. Beside an entry of 1e6 a small one may be anything: compare each"
            " with itself.",
        ),
        Wrong("always False", lambda E, g, u: 0.0, "So answers a test that refuses everything. This one is right."),
        Wrong(
            "always True",
            lambda E, g, u: 1.0,
            "So answers a test that accepts everything: this gradient is wrong. A test that never failed has not shown"
            " that it can (notebook 01, section 5.4).",
        ),
    ),
    hint="What is small in the unit of one entry is not small in that of another.",
    package="nn.verify_formula",
)
