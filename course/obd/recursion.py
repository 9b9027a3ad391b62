"""Second derivatives: where the recursion starts (obd.1), and one layer of it with a trained scale (obd.2).

A parabola's second difference is its second derivative at any step, so that the layer is judged by three values of E
and no calculus; the start is judged by the complex step through dE/da.
"""

from collections.abc import Callable, Sequence

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed

# ---- obd.1 -----------------------------------------------------------------------------------------------------------
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], ...]] = {  # f, f', f''
    "tanh": (np.tanh, lambda a: 1 - np.tanh(a) ** 2, lambda a: -2 * np.tanh(a) * (1 - np.tanh(a) ** 2)),
    "sine": (np.sin, np.cos, lambda a: -np.sin(a)),
    "cube": (lambda a: a**3, lambda a: 3 * a**2, lambda a: 6 * a),
}


def _outputs(names: Sequence[str], units: int = 0, patterns: int = 0, c: float = 0.0) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        f, df, d2f = ACTIVATIONS[names[int(rng.integers(len(names)))]]
        shape = (units or int(rng.integers(2, 6)), patterns or int(rng.integers(3, 9)))
        a = signed(rng, 0.4, 1.2, shape)
        d = f(a) + signed(rng, 0.4, 2, shape)
        return {"y": f(a), "df": df(a), "d2f": d2f(a), "d": d, "c": c or float(rng.choice([0.5, 0.3, 3.0]))}

    return draw


def _complex_step(y: Array, df: Array, d2f: Array, d: Array, c: float) -> Array:
    # dE/da at a + ih, where f is y + ih f' and f' is f' + ih f''.
    h = 1e-30
    return np.imag(-2 * c * (d - (y + 1j * h * df)) * (df + 1j * h * d2f)) / h


BOUNDARY = Exercise(
    id="obd.1",
    function="boundary_hessian",
    outputs=("ha",),
    formula="E = c Σ (d − y)², y = f(a):  ∂²E/∂a² = 2c f′(a)² − 2c (d − y) f″(a)",
    slide="S0, Computing the second derivative",
    ledger="S0-F6",
    section="notebook 02, section 3",
    minutes=20,
    referee=_complex_step,
    cases=(
        Case("the slide's loss with c = 1 and tanh", 1, _outputs(["tanh"], 2, 3, 1.0), public=True),
        Case("other c and other activations", 2, _outputs(["sine", "cube", "tanh"]), draws=4),
        Case("one unit and one pattern", 1, _outputs(["sine", "tanh"], 1, 1), draws=2),
    ),
    wrong=(
        Wrong(
            "factor 1 for 2",
            lambda y, df, d2f, d, c: c * (df * df - (d - y) * d2f),
            "This is half of the right value. The square in the loss leaves a factor 2 in every derivative; a loss with"
            " a half in front has c = 1/2 here (S0-F6).",
        ),
        Wrong(
            "c forgotten",
            lambda y, df, d2f, d, c: 2 * df * df - 2 * (d - y) * d2f,
            "This is the slide's form, which is for E = Σ (d − y)². Here a constant c stands in front of the sum.",
        ),
        Wrong(
            "c in one term only",
            lambda y, df, d2f, d, c: 2 * df * df - 2 * c * (d - y) * d2f,
            "This has c in the second term alone. The constant stands in front of all of E, and so of both terms.",
        ),
        Wrong(
            "mean over the patterns",
            lambda y, df, d2f, d, c: (2 * df * df - 2 * (d - y) * d2f) / y.shape[-1],
            "This is the second derivative of the mean over the patterns, as nn.SquaredError has it. Here E is c times"
            " the sum, whatever the number of patterns.",
        ),
        Wrong(
            "sign of the second term",
            lambda y, df, d2f, d, c: 2 * c * (df * df + (d - y) * d2f),
            "This has the wrong sign in front of the f″ term. The target comes first in d − y: look at the sign of"
            " ∂E/∂y (S0-F6).",
        ),
        Wrong(
            "f″ dropped",
            lambda y, df, d2f, d, c: 2 * c * df * df,
            "This is the rule of Levenberg and Marquardt: the f″ term is missing. It is exact only where d = y or"
            " f″ = 0 (notebook 02, section 5).",
        ),
        Wrong(
            "f′ not squared",
            lambda y, df, d2f, d, c: 2 * c * (df - (d - y) * d2f),
            "This has f′ once in the first term. A second derivative passes the activation twice (S0-F6).",
        ),
    ),
    hint="Differentiate E twice with respect to one a. The second time, two factors depend on a.",
    package="nn.SquaredError.backward_hessian",
)


# ---- obd.2: a = s * (W x) + b ----------------------------------------------------------------------------------------
def _layer(inputs: int = 0, outputs: int = 0, patterns: int = 0, unit: bool = False) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        i, o, n = (size or int(rng.integers(3, 7)) for size in (inputs, outputs, patterns))
        scales = np.where(rng.random(o) < 0.5, rng.uniform(0.3, 0.7, o), rng.uniform(1.5, 2.5, o))
        return {
            "W": signed(rng, 0.2, 2, (o, i)),
            "s": np.ones(o) if unit else scales,
            "x": signed(rng, 0.2, 2, (i, n)),
            "ha": signed(rng, 0.2, 2, (o, n)),
        }

    return draw


def _thin(rng: np.random.Generator) -> Inputs:
    return _layer(*rng.permutation([1, 3, 4]).tolist())(rng)


def _second_differences(W: Array, s: Array, x: Array, ha: Array) -> tuple[Array, ...]:
    # E = 1/2 sum ha a^2 has the curvature ha in a, nothing off its diagonal, and is a parabola in every number below.
    parts = {"W": W, "s": s, "b": np.zeros(len(s)), "x": x}

    def E(**changed: Array) -> float:
        p = parts | changed
        a = p["s"][:, None] * (p["W"] @ p["x"]) + p["b"][:, None]
        return float(0.5 * np.sum(ha * a * a))

    found = []
    for name, u in parts.items():
        h = np.empty(u.shape)
        for k in np.ndindex(u.shape):
            step = np.zeros(u.shape)
            step[k] = 1.0
            h[k] = E(**{name: u + step}) - 2 * E() + E(**{name: u - step})
        found.append(h)
    return tuple(found)


def _right(W: Array, s: Array, x: Array, ha: Array) -> dict[str, Array]:
    hz = ha * (s * s)[:, None]
    return {
        "hW": hz @ (x * x).T,
        "hs": np.sum(ha * (W @ x) ** 2, axis=1),
        "hb": np.sum(ha, axis=1),
        "hx": (W * W).T @ hz,
    }


def _but(**changed: Callable[..., Array]) -> Callable[..., tuple[Array, ...]]:
    # The right outputs with some exchanged: each mistake alone.
    def form(W: Array, s: Array, x: Array, ha: Array) -> tuple[Array, ...]:
        return tuple((_right(W, s, x, ha) | {name: f(W, s, x, ha) for name, f in changed.items()}).values())

    return form


LAYER = Exercise(
    id="obd.2",
    function="scaled_linear_hessian",
    outputs=("hW", "hs", "hb", "hx"),
    formula="a = s ∘ (W x) + b:  ∂²E/∂wᵢⱼ² = sᵢ² Σₙ hᵢₙ xⱼₙ²,  ∂²E/∂sᵢ² = Σₙ hᵢₙ (W x)ᵢₙ²,  ∂²E/∂bᵢ² = Σₙ hᵢₙ,"
    "  ∂²E/∂xⱼₙ² = Σᵢ wᵢⱼ² sᵢ² hᵢₙ",
    slide="S0, Computing the second derivative",
    ledger="S0-F4, S0-F5a",
    section="notebook 02, section 2",
    minutes=40,
    referee=_second_differences,
    cases=(
        Case("s = 1: the layer of the lecture", 1, _layer(3, 2, 4, unit=True), public=True),
        Case("trained scales and other sizes", 3, _layer(), draws=4),
        Case("one pattern or input or output", 1, _thin, draws=3),
    ),
    wrong=(
        Wrong(
            "w for w²",
            _but(hx=lambda W, s, x, ha: W.T @ (ha * (s * s)[:, None])),
            "This has w for w² in hx. A second derivative passes the weight twice (S0-F5a).",
        ),
        Wrong(
            "s not squared",
            _but(hW=lambda W, s, x, ha: (ha * s[:, None]) @ (x * x).T, hx=lambda W, s, x, ha: (W * W).T @ (ha.T * s).T),
            "This has the scale once. It multiplies the first derivative, and the curvature passes it twice (S0-F4).",
        ),
        Wrong(
            "scale forgotten",
            _but(hW=lambda W, s, x, ha: ha @ (x * x).T, hx=lambda W, s, x, ha: (W * W).T @ ha),
            "These are the lines of the plain layer a = W x + b, as nn.Linear has them. Here a scale stands between W x"
            " and a.",
        ),
        Wrong(
            "batch mean first",
            _but(hW=lambda W, s, x, ha: np.outer(np.sum(ha * (s * s)[:, None], axis=1), np.mean(x, axis=1) ** 2)),
            "This multiplies a sum over the batch with the square of a mean over the batch in hW. Every pattern has a"
            " curvature of its own, which belongs to its own input (S0-F4).",
        ),
        Wrong(
            "x for x²",
            _but(hW=lambda W, s, x, ha: (ha * (s * s)[:, None]) @ x.T),
            "This has x for x² in hW: it is the line of the gradient. The input comes in with each of the two"
            " derivatives (S0-F4).",
        ),
        Wrong(
            "squares under the sum in hs",
            _but(hs=lambda W, s, x, ha: np.sum(ha * ((W * W) @ (x * x)), axis=1)),
            "This has the sum of squares (W∘W)(x∘x) in hs. What s multiplies is the sum W x, and that is squared as a"
            " whole.",
        ),
        Wrong(
            "mean for the bias",
            _but(hb=lambda W, s, x, ha: np.mean(ha, axis=1)),
            "This has the mean over the patterns in hb. The bias is an input of 1 in every pattern, and their"
            " curvatures are added up (S0-F4).",
        ),
    ),
    hint="E is a parabola in each number alone: what does a change by when this number grows by 1?",
    package="nn.Linear.backward_hessian",
)
