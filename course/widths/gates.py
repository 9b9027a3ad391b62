"""How much of a layer is left if its inputs and its units have hard concrete gates of any stretch.

A gate is judged by bisection for the noise at which it opens, the layer by all patterns of open gates.
"""

from collections.abc import Callable
from itertools import product

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong

Answer = tuple[Array, Array, float, float]


def _gates(inputs: int, units: int, paper: bool = False) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        beta, gamma, zeta = (2 / 3, -0.1, 1.1) if paper else (
            round(float(rng.choice([0.3, 0.5, 1.5]) + rng.uniform(0, 0.1)), 2),
            round(-float(rng.uniform(0.2, 0.6)), 2),
            round(1 + float(rng.uniform(0.7, 1.2)), 2),
        )  # fmt: skip
        values = {"log_alpha_in": rng.uniform(-4, -0.5, inputs), "log_alpha_out": rng.uniform(-3, 1.5, units)}
        return {**values, "beta": beta, "gamma": gamma, "zeta": zeta}

    return draw


def _opens(log_alpha: float, beta: float, gamma: float, zeta: float) -> float:
    # z grows with u: it leaves 0 at one place.
    low, high = 0.0, 1.0
    for _ in range(70):
        u = (low + high) / 2
        s = 1 / (1 + np.exp(-(np.log(u) - np.log1p(-u) + log_alpha) / beta)) if 0 < u < 1 else float(u >= 1)
        low, high = (low, u) if s * (zeta - gamma) + gamma > 0 else (u, high)
    return 1 - (low + high) / 2


def _all_patterns(log_alpha_in: Array, log_alpha_out: Array, beta: float, gamma: float, zeta: float) -> Answer:
    p, q = (np.array([_opens(a, beta, gamma, zeta) for a in each]) for each in (log_alpha_in, log_alpha_out))
    both = np.concatenate([p, q])
    weights = units = 0.0
    for pattern in product([False, True], repeat=len(both)):
        chance = float(np.prod(np.where(pattern, both, 1 - both)))
        ins, outs = sum(pattern[: len(p)]), sum(pattern[len(p) :])
        weights, units = weights + chance * ins * outs, units + chance * (outs if ins else 0)
    return p, q, weights, units


def _left(
    open_: Callable[[Array, float, float, float], Array] = lambda a, beta, gamma, zeta: (
        a - beta * np.log(-gamma / zeta)
    ),
    weights: Callable[[Array, Array], float] = lambda p, q: float(p.sum() * q.sum()),
    fed: Callable[[Array], float] = lambda p: float(1 - np.prod(1 - p)),
) -> Callable[..., Answer]:
    def form(log_alpha_in: Array, log_alpha_out: Array, beta: float, gamma: float, zeta: float) -> Answer:
        p, q = (1 / (1 + np.exp(-open_(a, beta, gamma, zeta))) for a in (log_alpha_in, log_alpha_out))
        return p, q, weights(p, q), float(q.sum()) * fed(p)

    return form


GATES = Exercise(
    id="wid.3",
    function="expected_left",
    outputs=("p_in", "p_out", "weights", "units"),
    formula="P(z ≠ 0) = σ(log α − β log(−γ/ζ));  weights Σ_i Σ_j P_i Q_j;  units Σ_i P_i (1 − Π_j (1 − Q_j)),"
    " P of the units and Q of the inputs",
    slide="S0, Methods for pruning",
    ledger="D90, D95",
    section="notebook 20, sections 2 and 5",
    minutes=25,
    referee=_all_patterns,
    cases=(
        Case("the paper's stretch", 1, _gates(2, 3, paper=True), public=True),
        Case("another stretch and temperature", 2, _gates(3, 4), draws=3),
        Case("one input", 1, _gates(1, 5), draws=2),
    ),
    wrong=(
        Wrong(
            "no temperature",
            _left(lambda a, beta, gamma, zeta: a - np.log(-gamma / zeta)),
            "This lacks the temperature. The logit is divided by β before the sigmoid, and so is log α (D90).",
        ),
        Wrong(
            "stretch upside down",
            _left(lambda a, beta, gamma, zeta: a + beta * np.log(-gamma / zeta)),
            "This has log(ζ / −γ) for log(−γ / ζ): more stretch below zero would open more gates. Which s gives z = 0?"
            " (D90).",
        ),
        Wrong(
            "wholly open",
            _left(lambda a, beta, gamma, zeta: a - beta * np.log((1 - gamma) / (zeta - 1))),
            "This is P(z = 1), how often a gate is wholly open. Asked for is P(z ≠ 0) (D90).",
        ),
        Wrong(
            "no stretch",
            _left(lambda a, beta, gamma, zeta: a),
            "This is σ(log α), how often s is above one half. The stretch moves the place at which z leaves zero"
            " (D90).",
        ),
        Wrong(
            "the paper's numbers",
            _left(lambda a, beta, gamma, zeta: a - 2 / 3 * np.log(0.1 / 1.1)),
            "This has β = 2/3, γ = −0.1 and ζ = 1.1 for the numbers that are given.",
        ),
        Wrong(
            "the layer's own gates",
            _left(weights=lambda p, q: float(q.sum() * len(p))),
            "This counts all inputs of a unit that is open. The weights of an input that is closed are gone, too"
            " (D95).",
        ),
        Wrong(
            "both sums of gates",
            _left(weights=lambda p, q: float(q.sum() * len(p) + p.sum() * len(q))),
            "This adds up the price of all gates, which is the penalty of training. A weight needs both of its gates,"
            " and counts once (D95).",
        ),
        Wrong(
            "units without inputs",
            _left(fed=lambda p: 1.0),
            "This counts units that see no input. Such a unit is a constant, and goes into the next bias.",
        ),
        Wrong(
            "units with all inputs",
            _left(fed=lambda p: float(np.prod(p))),
            "This counts a unit only while all inputs are open. One is enough.",
        ),
        Wrong(
            "a mean number of inputs",
            _left(fed=lambda p: float(min(1.0, p.sum()))),
            "This takes the expected number of open inputs for the probability that there is one.",
        ),
    ),
    hint="A unit has no input with the probability that every input is closed.",
    package="pruning.penalties.l0.HardConcrete, pruning.penalties.l0.expected_weights",
)
