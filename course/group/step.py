"""One step of structured sparsity learning, with momentum (group.5)."""

from collections.abc import Callable

import numpy as np

from course.group.blocks import along_the_ray
from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed


def _filters(rng: np.random.Generator, lengths: Array, shape: tuple[int, ...]) -> Array:
    W = signed(rng, 0.5, 2, (len(lengths), *shape))
    return W / np.sqrt(np.sum(W * W, axis=(1, 2, 3), keepdims=True)) * lengths[:, None, None, None]


def _public(rng: np.random.Generator) -> Inputs:
    shape = (3, 2, 1, 2)
    W = _filters(rng, np.array([0.6, 2.0, 3.0]), shape[1:])
    return {"W": W, "g": np.zeros(shape), "v": np.zeros(shape), "lr": 0.5, "mu": 0.0, "tau": 0.0, "lam": 2.0}


def _training(dead: int = 0) -> Draw:
    # Where the step of momentum has led, filters are shorter and longer than any of the thresholds.
    def draw(rng: np.random.Generator) -> Inputs:
        shape = (int(rng.integers(2, 4)), 2, 3)
        mu, tau = float(rng.choice([0.9, 0.8])), float(rng.choice([0.3, 0.5]))
        lr, lam = float(rng.uniform(0.02, 0.1)), float(rng.uniform(0.5, 2))
        unit, O = lr * lam / (1 - mu), 5 + dead
        lengths = rng.permutation(np.concatenate([np.zeros(dead), unit * np.array([0.01, 0.3, 1.5, 2.5, 4])]))
        there = _filters(rng, lengths, shape)
        alive = (lengths > 0)[:, None, None, None]
        v, g = (alive * rng.standard_normal((O, *shape)) * unit / lr for _ in range(2))
        W = there + lr * (mu * v + (1 - tau) * g)
        return {"W": W, "g": g, "v": v, "lr": lr, "mu": mu, "tau": tau, "lam": lam}

    return draw


def _settled(W: Array, g: Array, v: Array, lr: float, mu: float, tau: float, lam: float) -> tuple[Array, Array]:
    # Where a loss pulls with the force lam of the penalty for ever, the weights must stand still: the shrinking takes
    # back what a step makes of that force once the velocity has settled.
    pull = 0.0
    for _ in range(1000):
        pull = mu * pull + (1 - tau) * lam
    return _stepped(W, g, v, lr, mu, tau, lambda w: along_the_ray(w, lr * pull))


def _stepped(
    W: Array, g: Array, v: Array, lr: float, mu: float, tau: float, prox: Callable[[Array], Array]
) -> tuple[Array, Array]:
    v = mu * v + (1 - tau) * g
    return np.stack([prox(w) for w in W - lr * v]), v


def _soft(w: Array, t: float) -> Array:
    size = float(np.linalg.norm(w))
    return w * max(1 - t / size, 0.0) if size > 0 else w


def _filter_by_filter(W: Array, t: float) -> Array:
    return np.stack([_soft(w, t) for w in W])


def _channel_by_channel(W: Array, t: float) -> Array:
    return np.stack([_soft(W[:, c], t) for c in range(W.shape[1])], axis=1)


def _form(
    threshold: Callable[[float, float], float] = lambda mu, tau: (1 - tau) / (1 - mu),
    prox: Callable[[Array, float], Array] = _filter_by_filter,
    kept: Callable[[float], float] = lambda tau: tau,
    first: bool = False,
) -> Callable[..., tuple[Array, Array]]:
    # `threshold` in units of eta lam; `kept`: the damping of the velocity; `first`: shrunk before the step.
    def form(W: Array, g: Array, v: Array, lr: float, mu: float, tau: float, lam: float) -> tuple[Array, Array]:
        t = lr * lam * threshold(mu, tau)
        v = mu * v + (1 - kept(tau)) * g
        return (prox(W, t) - lr * v if first else prox(W - lr * v, t)), v

    return form


def _subgradient(W: Array, g: Array, v: Array, lr: float, mu: float, tau: float, lam: float) -> tuple[Array, Array]:
    n = np.sqrt(np.sum(W * W, axis=(1, 2, 3), keepdims=True))
    v = mu * v + (1 - tau) * (g + lam * W / np.where(n > 0, n, 1))
    return W - lr * v, v


def _divided(W: Array, t: float) -> Array:
    n = np.sqrt(np.sum(W * W, axis=(1, 2, 3), keepdims=True))
    return np.maximum(n - t, 0) * (W / n)


STEP = Exercise(
    id="group.5",
    function="ssl_step",
    outputs=("W", "v"),
    formula="v ← μv + (1 − τ)g,  U = W − ηv,  W_o ← (1 − t/‖U_o‖)₊ U_o with t = ηλ (1 − τ)/(1 − μ), for every filter o",
    slide="S1, Group Lasso Regularization (derived)",
    ledger="D10, D10a",
    section="notebook 12, sections 3 and 4",
    minutes=30,
    referee=_settled,
    cases=(
        Case("no momentum, no gradient", 1, _public, public=True),
        Case("momentum and damping", 2, _training(), draws=3),
        Case("filters that are gone", 1, _training(dead=2), draws=2),
    ),
    wrong=(
        Wrong(
            "subgradient",
            _subgradient,
            "This is a step along the subgradient. It throws a short filter across zero, and none is ever exactly zero"
            " (D10).",
        ),
        Wrong(
            "threshold without momentum",
            _form(lambda mu, tau: 1.0),
            "This has the threshold ηλ. With momentum a force moves the weights farther than η times itself a step, and"
            " the penalty is such a force (D10).",
        ),
        Wrong(
            "threshold without damping",
            _form(lambda mu, tau: 1 / (1 - mu)),
            "This has the threshold ηλ/(1 − μ) of undamped momentum, as pruning.penalties.group_lasso.proximal_step has"
            " it. The damping makes the steps of the loss shorter, and the fixed point of this one is that of another"
            " λ.",
        ),
        Wrong(
            "damping alone",
            _form(lambda mu, tau: 1 - tau),
            "This has the threshold ηλ(1 − τ), that of the first step from rest. What counts is the velocity after many"
            " steps.",
        ),
        Wrong(
            "velocity not damped",
            _form(kept=lambda tau: 0.0),
            "This adds all of g to the velocity, as nn.SGD does. Here it is (1 − τ) g.",
        ),
        Wrong(
            "velocity damped by the momentum",
            lambda W, g, v, lr, mu, tau, lam: _form()(W, g, v, lr, mu, mu, lam),
            "This takes 1 − μ for 1 − τ. The damping has a number of its own.",
        ),
        Wrong(
            "channels for filters",
            _form(prox=_channel_by_channel),
            "This takes the channels W[:, c] for groups. Asked for are the filters, W[o].",
        ),
        Wrong(
            "weight by weight",
            _form(prox=lambda W, t: W - np.clip(W, -t, t)),
            "This shrinks every weight alone. A filter goes as a whole, and as long as it stays it keeps its direction"
            " (D10).",
        ),
        Wrong(
            "shrunk before the step",
            _form(first=True),
            "This shrinks first and steps after. Then the step of the loss makes every zero nonzero again.",
        ),
        Wrong(
            "0 / 0",
            _form(prox=_divided),
            "This divides a filter by its length, also where that is 0, and is nan there: one dead filter spoils the"
            " net.",
        ),
    ),
    hint="Let the gradient of the loss be constant. Where does v settle, and how long is a step then?",
    package="pruning.penalties.group_lasso.proximal_step, nn.SGD",
)
