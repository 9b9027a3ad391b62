"""The nearest point of a ball whose axes have weights (reg.4).

The nearest point lies inside, or in a face: where some x are zero and the others have given signs.  In each of the 3^K
faces it is a projection on a plane, and the referee tries them all.
"""

import itertools
from collections.abc import Callable

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed

INSIDE = 1 + 1e-9


def _plane(rng: np.random.Generator) -> Inputs:
    return {"w": np.array([2.0, -1.5]), "a": np.array([1.0, 2.0]), "t": 2.0}


def _outside(zeros: int = 0, ties: bool = False) -> Draw:
    # From the answer: x on the ball and theta give w; what has to become zero stays clear of its threshold.
    def draw(rng: np.random.Generator) -> Inputs:
        stay, go = (2, 2) if ties else (int(rng.integers(2, 4)), int(rng.integers(1, 3)))
        a = rng.uniform(0.4, 2.5, stay + go)
        a[0], a[-1] = rng.uniform(0.4, 0.8), rng.uniform(1.6, 2.5)
        size, theta = rng.uniform(0.4, 2, stay), float(rng.uniform(0.5, 1.5))
        if ties:
            a, size = np.repeat([rng.uniform(0.5, 0.8), rng.uniform(1.6, 2.4)], 2), np.repeat(size[:1], 2)
        left = np.concatenate([size, -theta * a[stay:] * rng.uniform(0.2, 0.7, go)]) + theta * a
        if ties:
            left[-1] = left[-2]
        w = np.append(signed(rng, 1, 1, stay + go) * left, np.zeros(zeros))
        order = rng.permutation(len(w))
        a = np.append(a, rng.uniform(0.4, 2.5, zeros))
        return {"w": w[order], "a": a[order], "t": float(a[:stay] @ size)}

    return draw


def _within(rng: np.random.Generator) -> Inputs:
    # Inside this ball, and outside that of a = 1.
    size = int(rng.integers(3, 6))
    w, a = signed(rng, 0.5, 2, size), rng.uniform(0.2, 0.6, size)
    return {"w": w, "a": a, "t": float(a @ np.abs(w) * rng.uniform(1.1, 1.4))}


def _of_all_faces(w: Array, a: Array, t: float) -> Array:
    candidates = [w, np.zeros_like(w)]
    for signs in itertools.product((-1, 0, 1), repeat=len(w)):
        on = np.array(signs) != 0
        if on.any():
            normal = (a * signs)[None, on]
            x = np.zeros_like(w)
            x[on] = w[on] - np.linalg.pinv(normal) @ (normal @ w[on] - t)
            candidates.append(x)
    found = [x for x in candidates if a @ np.abs(x) <= t * INSIDE]
    return min(found, key=lambda x: float(np.sum((x - w) ** 2)))


def _threshold(size: Array, cost: Array, pull: Array, t: float) -> float:
    # The theta at which sum cost max(size - theta pull, 0) = t, by bisection; below zero inside the ball.
    low, high = -1e3, float(np.max(size / pull))
    for _ in range(200):
        theta = (low + high) / 2
        low, high = (theta, high) if cost @ np.maximum(size - theta * pull, 0) > t else (low, theta)
    return theta


def _shrunk(w: Array, a: Array, t: float, pull: Array, inside: bool = True) -> Array:
    if inside and a @ np.abs(w) <= t:
        return w
    theta = _threshold(np.abs(w), a, pull, t)
    return np.sign(w) * np.maximum(np.abs(w) - theta * pull, 0)


def _plain_ball(w: Array, a: Array, t: float) -> Array:
    return _shrunk(w, np.ones_like(a), t, np.ones_like(a))


def _theta_at_once(below: Callable[[Array], Array], again: bool = False) -> Callable[..., Array]:
    # One theta from all entries, without looking at which of them become zero; `again` looks.
    def form(w: Array, a: Array, t: float) -> Array:
        if a @ np.abs(w) <= t:
            return w
        active = np.ones(len(w), bool)
        while True:
            theta = (a[active] @ np.abs(w[active]) - t) / np.sum(below(a[active]))
            left = active & (np.abs(w) > theta * a)
            if not again or not left.any() or np.array_equal(left, active):
                return np.sign(w) * np.maximum(np.abs(w) - theta * a, 0)
            active = left

    return form


def _clipped(w: Array, a: Array, t: float) -> Array:
    if a @ np.abs(w) <= t:
        return w
    x = np.sign(w) * np.minimum(np.abs(w), t / a)
    return x * min(1.0, t / float(a @ np.abs(x)))


BALL = Exercise(
    id="reg.4",
    function="project_weighted_ball",
    outputs=("x",),
    formula="x = w inside; else xᵢ = sign(wᵢ) max(|wᵢ| − θaᵢ, 0) with Σ aᵢ|xᵢ| = t: over the entries A that are not"
    " zero θ = (Σ_A aᵢ|wᵢ| − t) / Σ_A aᵢ²",
    slide="S1, the slide with the two contour figures",
    ledger="S1-F11",
    section="notebook 04, section 7",
    minutes=25,
    referee=_of_all_faces,
    cases=(
        Case("a point of the plane", 1, _plane, public=True),
        Case("other sizes", 1, _outside(), draws=4),
        Case("points inside the ball", 1, _within, draws=2),
        Case("ties and zeros", 1, _outside(zeros=1, ties=True), draws=2),
    ),
    wrong=(
        Wrong(
            "θ without aᵢ",
            lambda w, a, t: _shrunk(w, a, t, np.ones_like(a)),
            "This takes the same θ from every entry. The slope of aᵢ|xᵢ| is aᵢ: an entry that is dear is pulled more.",
        ),
        Wrong(
            "the ball with a = 1",
            _plain_ball,
            "This is the projection on Σ|xᵢ| ≤ t, as textbook.project_l1_ball has it. Here the axes have weights aᵢ.",
        ),
        Wrong(
            "rescaled",
            lambda w, a, t: w * min(1.0, t / float(a @ np.abs(w))),
            "This makes w shorter until it is in the ball. That point lies on the ball and is not the nearest: its"
            " difference from w is not perpendicular to a face.",
        ),
        Wrong(
            "clipped, then rescaled",
            _clipped,
            "This cuts every entry at t/aᵢ, the corner, and then makes all shorter. Neither step is that of the nearest"
            " point.",
        ),
        Wrong(
            "points inside as well",
            lambda w, a, t: _shrunk(w, a, t, a, inside=False),
            "This moves points that are inside to the surface. A point of the ball is its own projection.",
        ),
        Wrong(
            "θ from all entries at once",
            _theta_at_once(lambda a: a * a),
            "This finds θ from all entries, also from those that it sets to zero. Once they are gone, θ is another one:"
            " Σ aᵢ|xᵢ| is not t.",
        ),
        Wrong(
            "divided by Σ aᵢ",
            _theta_at_once(lambda a: a, again=True),
            "This divides by a sum of aᵢ. Put xᵢ = |wᵢ| − θaᵢ into Σ aᵢxᵢ = t, and look at what stands at θ.",
        ),
        Wrong(
            "projected in z = ax",
            lambda w, a, t: _plain_ball(a * w, a, t) / a,
            "This projects z = a∘w on the ball of radius t and divides by a. In z the distance is another one:"
            " ‖x − w‖² is to be least, not ‖a∘(x − w)‖².",
        ),
    ),
    hint="At the solution, w − x is a positive multiple of a slope of Σ aᵢ|xᵢ|.",
    package="textbook.project_l1_ball",
)
