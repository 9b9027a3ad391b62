"""The scales of batch norm under a price that differs from channel to channel: one step, and how long they live.

The proximal step is judged by where the slope of its own objective changes sign, found by bisection, and the life of a
scale by letting it die.
"""

from collections.abc import Callable

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed


def _scales(channels: int, momentum: float | None = None, zeros: int = 0) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        eta, mu = 0.13, float(rng.choice([0.5, 0.7, 0.9])) if momentum is None else momentum
        rho = 0.77 * (1 - mu)
        cost = rng.permutation(np.linspace(0.6, 2.4, channels)) + rng.uniform(-0.1, 0.1, channels)
        gamma, v, g = signed(rng, 0.8, 3, channels), signed(rng, 0.2, 0.7, channels), signed(rng, 0.2, 0.9, channels)
        gamma[0], v[0], g[0] = 0.04, 0.0, signed(rng, 0.3, 0.4, 1)[0]  # within the threshold before the step and after
        gamma[1 : 1 + zeros] = 0
        g[1 : 1 + zeros] *= rng.choice([1, 8], zeros)  # some are called back
        order = rng.permutation(channels)
        arrays = {"gamma": gamma[order], "g": g[order], "v": v[order]}
        return {**arrays, "eta": eta, "mu": mu, "rho": rho, "cost": cost[order]}

    return draw


def _nearest(a: float, t: float) -> float:
    # The minimum of (x - a)^2 / 2 + t |x|: where its slope changes sign.
    if abs(a) <= t:  # the slopes on both sides of 0 point to it
        return 0.0
    low, high = min(a, 0.0), max(a, 0.0)
    for _ in range(80):
        x = (low + high) / 2
        low, high = (x, high) if (x - a) + t * np.sign(a) < 0 else (low, x)
    return high if abs(high) < abs(a) else low


def _simulated(
    gamma: Array, g: Array, v: Array, eta: float, mu: float, rho: float, cost: Array
) -> tuple[Array, Array, Array]:
    new, velocity, steps = np.zeros(len(gamma)), np.zeros(len(gamma)), np.zeros(len(gamma))
    for c in range(len(gamma)):
        velocity[c] = mu * v[c] + g[c]
        # A pull of rho cost, step after step, moves a free scale by this much in the long run.
        long_run = eta * rho * cost[c] * sum(mu**k for k in range(2000))
        new[c] = x = _nearest(gamma[c] - eta * velocity[c], long_run)
        while x != 0:
            x, steps[c] = np.sign(x) * max(0.0, abs(x) - long_run), steps[c] + 1
    return new, velocity, steps


def _soft(a: Array, t: Array | float) -> Array:
    return np.asarray(np.sign(a) * np.maximum(abs(a) - t, 0))


def _step(
    prox: Callable[[Array, Array, Array], Array] = lambda gamma, move, t: _soft(gamma - move, t),
    own: bool = True,
    momentum: bool = True,
    average: bool = False,
    life: Callable[[Array, Array, Array, float], Array] = lambda old, new, t, mu: np.ceil(abs(new) / t),
) -> Callable[..., tuple[Array, Array, Array]]:
    def form(
        gamma: Array, g: Array, v: Array, eta: float, mu: float, rho: float, cost: Array
    ) -> tuple[Array, Array, Array]:
        velocity = mu * v + (1 - mu if average else 1) * g
        t = eta * rho * (cost if own else np.full(len(cost), cost.mean())) / (1 - mu if momentum else 1)
        new = prox(gamma, eta * velocity, t)
        return new, velocity, life(gamma, new, t, mu)

    return form


SCALES = Exercise(
    id="wid.1",
    function="scale_step",
    outputs=("gamma", "velocity", "steps"),
    formula="v ← μ v + g,  γ ← S(γ − η v, t),  t_c = η ρ cost_c / (1 − μ);  steps = ⌈|γ_c| / t_c⌉",
    slide="S0, Network slimming",
    ledger="S0-F9, D70, D71, D7c",
    section="notebook 18, section 2",
    minutes=25,
    referee=_simulated,
    cases=(
        Case("four channels without momentum", 1, _scales(4, 0.0), public=True),
        Case("with momentum", 2, _scales(7), draws=3),
        Case("scales at zero", 1, _scales(9, zeros=4), draws=2),
    ),
    wrong=(
        Wrong(
            "threshold without momentum",
            _step(momentum=False),
            "This has the threshold η ρ cost. Momentum lets a gradient that stays move a scale by more than η g a step,"
            " and the penalty has to keep up with it (D70).",
        ),
        Wrong(
            "one price for all",
            _step(own=False),
            "This has the mean of the costs for every channel. Each pays its own price (D7c).",
        ),
        Wrong(
            "subgradient",
            _step(lambda gamma, move, t: gamma - move - t * np.sign(gamma)),
            "This is a step along the subgradient, gamma − η v − t sign(gamma). It passes zero and never stays"
            " there (S0-F9).",
        ),
        Wrong(
            "shrunk before the step",
            _step(lambda gamma, move, t: _soft(gamma, t) - move),
            "This shrinks first and moves afterwards, so that no scale stays at zero. A proximal step moves first.",
        ),
        Wrong(
            "hard threshold",
            _step(lambda gamma, move, t: np.where(abs(gamma - move) > t, gamma - move, 0.0)),
            "This sets small scales to zero and leaves the others as they are: the proximal step of a count, not of"
            " the modulus.",
        ),
        Wrong(
            "negative scales cut",
            _step(lambda gamma, move, t: np.maximum(gamma - move - t, 0)),
            "This takes a negative scale to zero at once. A scale may be negative, and is shrunk from its own side.",
        ),
        Wrong(
            "velocity as a mean",
            _step(average=True),
            "This has v ← μ v + (1 − μ) g. Here the gradient is added as a whole, as nn.SGD does it.",
        ),
        Wrong(
            "steps rounded down",
            _step(life=lambda old, new, t, mu: np.floor(abs(new) / t)),
            "This rounds the number of steps down: the scale is still above zero then.",
        ),
        Wrong(
            "life without momentum",
            _step(life=lambda old, new, t, mu: np.ceil(abs(new) / (t * (1 - mu)))),
            "This is a life of |γ| / (η ρ cost) steps. With momentum a free scale is taken back faster (D71).",
        ),
        Wrong(
            "life of the old scale",
            _step(life=lambda old, new, t, mu: np.ceil(abs(old) / t)),
            "This counts the steps from the scale before the step. Asked for are those from the new one on.",
        ),
    ),
    hint="Without momentum the threshold has no μ; with it, think of what the steps add up to.",
    package="nn.SGD, pruning.penalties.group_lasso.proximal_step",
)
