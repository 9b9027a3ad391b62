"""The penalties of one variable: soft thresholds, and the jumps of those that are sparser still."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

import textbook
from pruning.ledger.core import Form, Formula, Statement

Threshold: TypeAlias = Callable[[np.ndarray, float], np.ndarray]
Thresholds: TypeAlias = Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]


def _draw_soft(rng: np.random.Generator) -> dict[str, object]:
    lam = float(rng.uniform(0.5, 0.9))
    inside, outside = lam * rng.uniform(-0.95, 0.95, 3), (1.0 + rng.uniform(0.1, 2, 4)) * np.array([1, -1, 1, -1])
    return {"w": np.concatenate([inside, outside, [lam, -lam, 0.0]]), "lam": lam}


def _soft_by_bisection(w: np.ndarray, lam: float) -> np.ndarray:
    """The slope x - w + lam sign(x) grows: halve the interval around its change of sign, until two floats are left."""
    low, high = -np.abs(w) - 1, np.abs(w) + 1
    for _ in range(100):
        x = (low + high) / 2
        rises = x - w + lam * np.sign(x) > 0
        low, high = np.where(rises, low, x), np.where(rises, x, high)
    return (low + high) / 2


def _best_of_three(w: np.ndarray, lam: float) -> np.ndarray:
    # Away from 0 the slope x - w +- lam is zero at w -+ lam: one of the three has the least 1/2 (x - w)^2 + lam |x|.
    x = np.array([w - lam, w + lam, 0 * w])
    least = np.argmin((x - w) ** 2 / 2 + lam * np.abs(x), axis=0)
    return np.choose(least, x)


def _soft(w: np.ndarray, lam: float) -> np.ndarray:
    return np.sign(w) * np.maximum(np.abs(w) - lam, 0)


def _draw_sparser(rng: np.random.Generator) -> dict[str, object]:
    """Weights around the two jumps, a hundredth or more away from each, and some that are far larger."""
    lam = float(rng.uniform(0.3, 1.5))
    jumps, near = np.array([1.5 * np.cbrt(lam) ** 2, np.sqrt(2 * lam)]), np.array([0.8, 0.99, 1.01, 1.2, 2.0, 5.0])
    w = np.outer(jumps, near).ravel() * rng.choice([-1, 1], 12)
    sure = np.all(np.abs(np.abs(w)[:, None] / jumps - 1) > 1e-3, axis=1)
    return {"w": w[sure], "lam": lam}


def _both_thresholds(w: np.ndarray, lam: float) -> tuple[np.ndarray, np.ndarray]:
    return textbook.half_threshold(w, lam), textbook.hard_threshold(w, lam)


def _half_by_bisection(w: np.ndarray, lam: float) -> np.ndarray:
    """From x = (lam/4)^(2/3) on the slope x - |w| + lam / (2 root(x)) grows; its zero there competes with x = 0."""
    size = np.abs(w)
    bottom = np.full_like(size, (lam / 4) ** (2 / 3))
    low, high = bottom, np.maximum(size, bottom)
    for _ in range(100):
        x = (low + high) / 2
        rises = x - size + lam / (2 * np.sqrt(x)) > 0
        low, high = np.where(rises, low, x), np.where(rises, x, high)
    better = (high - size) ** 2 / 2 + lam * np.sqrt(high) < size**2 / 2
    return np.sign(w) * np.where(better, high, 0)


def _half_by_roots(w: np.ndarray, lam: float) -> np.ndarray:
    """All roots t >= 0 of t^3 - |w| t + lam/2, by the eigenvalues of a matrix: the best of 0 and t^2."""
    x = np.zeros_like(w)
    for i, size in enumerate(np.abs(w)):
        roots = np.roots([1, 0, -size, lam / 2])
        squares = [0.0, *(float(t.real) ** 2 for t in roots if abs(t.imag) < 1e-9 and t.real > 0)]
        x[i] = np.sign(w[i]) * min(squares, key=lambda square: (square - size) ** 2 / 2 + lam * np.sqrt(square))
    return x


def _cheaper(w: np.ndarray, lam: float) -> np.ndarray:
    # A nonzero x costs lam whatever it is, so that x = w is the best of them; it costs lam where 0 costs w^2 / 2.
    return np.where(w**2 / 2 > lam, w, 0)


def _with(half: Threshold, hard: Threshold = _cheaper) -> Thresholds:
    def form(w: np.ndarray, lam: float) -> tuple[np.ndarray, np.ndarray]:
        return half(w, lam), hard(w, lam)

    return form


def _jump_at(lam: float) -> float:
    return float(1.5 * np.cbrt(lam) ** 2)


def _half_without_jump(w: np.ndarray, lam: float) -> np.ndarray:
    return _soft(w, _jump_at(lam))


def _half_keeps_w(w: np.ndarray, lam: float) -> np.ndarray:
    return np.where(np.abs(w) > _jump_at(lam), w, 0)


def _half_by_smaller_root(w: np.ndarray, lam: float) -> np.ndarray:
    x = np.zeros_like(w)
    for i in np.flatnonzero(np.abs(w) > _jump_at(lam)):
        roots = np.roots([1, 0, -abs(w[i]), lam / 2]).real
        x[i] = np.sign(w[i]) * roots[roots > 0].min() ** 2
    return x


def _half_jumps_too_early(w: np.ndarray, lam: float) -> np.ndarray:
    # Where the slope has a zero at all, not where it is better than 0: from 3 (lam/4)^(2/3) = 1.19 lam^(2/3) on.
    x = np.zeros_like(w)
    for i in np.flatnonzero(np.abs(w) > 3 * (lam / 4) ** (2 / 3)):
        x[i] = np.sign(w[i]) * np.roots([1, 0, -abs(w[i]), lam / 2]).real.max() ** 2
    return x


STATEMENTS: tuple[Statement, ...] = (
    Formula(
        id="S1-F12",
        title="a sparser penalty: the half power, and the count",
        printed=r"|x|^{1/2}+|y|^{1/2}:\qquad\min_x\tfrac12(x-w)^2+\lambda\sqrt{|x|}\ \Rightarrow\ "
        r"x=0\text{ for }|w|\le\tfrac32\lambda^{2/3},\text{ and a jump to }\lambda^{2/3}",
        verdict="right",
        remark="It is sparser, and not convex: the solution jumps, for the count of nonzeros from 0 to root(2 lam).",
        where='S1, "Can we introduce a more sparse regularization term?"',
        code="textbook.half_threshold, textbook.hard_threshold",
        notebook="04, section 8",
        draw=_draw_sparser,
        right=_both_thresholds,
        referees=(
            Form("bisection of the slope, against x = 0", _with(_half_by_bisection)),
            Form("roots of the cubic", _with(_half_by_roots)),
        ),
        wrong=(
            Form("soft threshold", _with(_soft), "That is the penalty |x|, which shrinks all by the same amount."),
            Form(
                "no jump",
                _with(_half_without_jump),
                "At the threshold x is not 0 but lam^(2/3): there are two minimisers.",
            ),
            Form("w kept", _with(_half_keeps_w), "Where it is not zero, x is still pulled by lam / (2 root(x))."),
            Form(
                "smaller root", _with(_half_by_smaller_root), "The slope has two zeros; the smaller one is a maximum."
            ),
            Form(
                "where a root appears",
                _with(_half_jumps_too_early),
                "There the minimum is only local: x = 0 is still better.",
            ),
            Form(
                "hard threshold at lam",
                _with(_half_by_bisection, lambda w, lam: np.where(np.abs(w) > lam, w, 0)),
                "Deleting w costs w^2 / 2 and keeping it lam: that is equal at root(2 lam).",
            ),
            Form(
                "hard threshold at root(lam)",
                _with(_half_by_bisection, lambda w, lam: np.where(w**2 > lam, w, 0)),
                "That belongs to (x - w)^2 without the half.",
            ),
        ),
    ),
    Formula(
        id="S1-F13",
        title="the soft threshold",
        printed=r"x>0\Rightarrow\omega\,\lambda>0\ (\omega>\lambda)\to x=\omega\,\lambda;\quad "
        r"x<0\Rightarrow\omega+\lambda<0\to x=\omega+\lambda;\quad x=0,\text{ others}",
        verdict="slip",
        remark="In the text that we have a minus sign is lost: read w - lam > 0 and x = w - lam.",
        where='S1, "Provide closed-form solution to single variable Lasso problem" and "Note: Lasso solution"',
        code="textbook.soft_threshold",
        notebook="04, section 8",
        draw=_draw_soft,
        right=textbook.soft_threshold,
        referees=(
            Form("bisection of the slope", _soft_by_bisection),
            Form("best of three candidates", _best_of_three),
        ),
        wrong=(
            Form(
                "w lam for w - lam",
                lambda w, lam: np.where(w > lam, w * lam, np.where(w < -lam, w + lam, 0)),
                "So it stands, without its minus: the slope x - w + lam is zero at w - lam.",
            ),
            Form("threshold lam/2", lambda w, lam: _soft(w, lam / 2), "That belongs to (x - w)^2 without the half."),
            Form(
                "threshold 2 lam", lambda w, lam: _soft(w, 2 * lam), "The half is already in the slope, which is x - w."
            ),
            Form(
                "hard threshold",
                lambda w, lam: np.where(np.abs(w) > lam, w, 0),
                "What stays is shrunk too: the slope of lam |x| is lam however large x is.",
            ),
            Form("sign forgotten", lambda w, lam: np.abs(_soft(w, lam)), "A negative w has a negative minimiser."),
            Form(
                "w - lam on both sides",
                lambda w, lam: np.where(np.abs(w) > lam, w - lam, 0),
                "On the left side it is w + lam: the penalty pulls towards zero.",
            ),
        ),
    ),
)
