"""What the draws of this set have in common: they are drawn again where a wrong form comes near the right one."""

from collections.abc import Callable

import numpy as np

from course.spec import Array, Draw, Exercise, Inputs, copied, error

FAR = 0.01
"""Least relative error of a wrong form, unless it is right."""


def apart(draw: Draw, exercise: Callable[[], Exercise]) -> Draw:
    """Return a draw on whose inputs each wrong form is right or far from it, but never nearly right."""

    def far(rng: np.random.Generator) -> Inputs:
        while True:
            inputs = draw(rng)
            if not any(1e-9 < off < FAR for off in _errors(exercise(), inputs)):
                return inputs

    return far


def _errors(exercise: Exercise, inputs: Inputs) -> list[float]:
    right = exercise.named(exercise.referee(**copied(inputs)))
    with np.errstate(all="ignore"):
        return [error(exercise.named(wrong.function(**copied(inputs))), right) for wrong in exercise.wrong]


def one_of(*draws: Draw) -> Draw:
    """Return a draw that is one of these, by chance."""
    return lambda rng: draws[int(rng.integers(len(draws)))](rng)


def soft(z: float, threshold: float) -> float:
    """Return S(z, threshold)."""
    return float(np.sign(z) * max(abs(z) - threshold, 0.0))


def columns(rng: np.random.Generator, n: int, p: int) -> Array:
    """Return (n, p) correlated columns of different lengths."""
    X: Array = rng.standard_normal((n, p)) + 0.7 * rng.standard_normal((n, 1))
    return X * rng.choice([0.4, 0.6, 1.5, 2.0], p)
