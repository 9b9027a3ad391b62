"""What deletions cost on a parabola without an answer of the others: one a time in rows (obd.3), and a pair (obd.4)."""

from collections.abc import Callable

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed

Score = Callable[[Array, Array], Array]


# ---- obd.3: every row loses m weights, but never its last ------------------------------------------------------------
def _weights(
    rows: int, columns: int, m: int, negative: float = 0.0, ties: bool = False, dead: int = 0, few: bool = False
) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        u = signed(rng, 0.1, 2, (rows, columns))
        h = rng.uniform(0.2, 2, (rows, columns)) * rng.choice([1.0, 10.0], (rows, columns))
        h *= 4.0 ** np.arange(rows)[:, None]  # rows are of different worth: together they would not go evenly
        if ties:
            u, h = np.sign(u) * rng.uniform(0.5, 2), np.repeat(h[:, :1], columns, axis=1)
        h = np.where(rng.permuted(np.tile(np.arange(columns) < negative * columns, (rows, 1)), axis=1), -h, h)
        gone = np.tile(np.arange(columns) < dead, (rows, 1))
        if few:
            gone[0], gone[1] = np.arange(columns) < columns - m, True  # as many left as should go; none left
        mask = np.where(rng.permuted(gone, axis=1), 0.0, 1.0)
        return {"u": u * mask, "h": h, "mask": mask, "m": m}

    return draw


def _one_by_one(u: Array, h: Array, mask: Array, m: int) -> tuple[Array, Array]:
    # The price is the area under a slope that grows from 0 to |h u| on the way to zero; where it falls, nothing.
    s, new = np.zeros(u.shape), np.array(mask)
    for k in np.ndindex(u.shape):
        s[k] = abs(u[k]) * (0 + max(0.0, float(h[k] * abs(u[k])))) / 2
    for i in range(len(u)):
        for _ in range(m):
            live = [j for j in range(u.shape[1]) if new[i, j]]
            if len(live) > 1:
                new[i, min(live, key=lambda j: s[i, j])] = 0
    return s, new


def _policy(u: Array, h: Array) -> Array:
    return np.maximum(h, 0) * u * u / 2


def _by(
    score: Score, live: bool = True, last: bool = True, together: bool = False, ties: int = 1
) -> Callable[..., tuple[Array, Array]]:
    # Delete by this score; `last`: a row keeps its last weight; `together`: all rows are one.
    def form(u: Array, h: Array, mask: Array, m: int) -> tuple[Array, Array]:
        s = score(u, h)
        new, ranked = mask.copy(), np.where(mask > 0, s, np.inf) if live else s
        if together:
            order = np.argsort(ranked.ravel(), kind="stable")
            new.ravel()[order[: min(m * len(u), int(mask.sum()))]] = 0
            return s, new
        for i in range(len(u)):
            order = np.lexsort((ties * np.arange(u.shape[1]), ranked[i]))
            left = int(mask[i].sum()) - last if live else m
            new[i, order[: max(0, min(m, left))]] = 0
        return s, new

    return form


SALIENCY = Exercise(
    id="obd.3",
    function="delete",
    outputs=("saliency", "mask"),
    formula="sₖ = max(hₖₖ, 0) uₖ² / 2; in every row the m live weights with the smallest sₖ go, ties to the lowest"
    " index, and the last one stays",
    slide="S0, OBD",
    ledger="S0-F7a",
    section="notebook 02, section 6",
    minutes=25,
    referee=_one_by_one,
    cases=(
        Case("two rows of five weights", 1, _weights(2, 5, 2), public=True),
        Case("some weights are gone already", 1, _weights(4, 12, 3, dead=4), draws=2),
        Case("negative curvatures", 1, _weights(3, 10, 4, negative=0.2), draws=2),
        Case("equal saliencies", 1, _weights(3, 40, 5, ties=True), draws=2),
        Case("rows with few weights left or none", 1, _weights(4, 6, 3, few=True), draws=2),
    ),
    wrong=(
        Wrong(
            "magnitude",
            _by(lambda u, h: np.abs(u)),
            "This is deletion by magnitude, |u|. It knows nothing of the loss: u² is to be weighed with the curvature.",
        ),
        Wrong(
            "no half",
            _by(lambda u, h: np.maximum(h, 0) * u * u),
            "This lacks the half of the expansion by Taylor: the order is right, the predicted increase of E is twice"
            " too large (S0-F7a).",
        ),
        Wrong(
            "u not squared",
            _by(lambda u, h: np.maximum(h, 0) * np.abs(u) / 2),
            "This has |u| for u². A deletion is a step of the length |u| on a parabola (S0-F7a).",
        ),
        Wrong(
            "most negative first",
            _by(lambda u, h: h * u * u / 2),
            "This gives weights with a negative curvature a negative saliency, and the largest of them go first. Such"
            " a weight counts as free, and as no better than free (notebook 02, section 5).",
        ),
        Wrong(
            "modulus of h",
            _by(lambda u, h: np.abs(h) * u * u / 2),
            "This has |h| where h is negative. There the parabola promises no cost at all, not a large one.",
        ),
        Wrong(
            "dead weights count",
            _by(_policy, live=False),
            "This deletes weights that are gone already (mask 0, saliency 0), so that fewer than m go.",
        ),
        Wrong(
            "all rows together",
            _by(_policy, together=True),
            "This ranks all weights in one list, as pruning.masks.smallest does. Here every row loses m of its own.",
        ),
        Wrong(
            "rows emptied",
            _by(_policy, last=False),
            "This takes the last weight of a row, and its unit sees no input any more. A row keeps its last weight.",
        ),
        Wrong(
            "ties to the highest index",
            _by(_policy, ties=-1),
            "This lets the highest index go first among equal saliencies. The lowest goes first here.",
        ),
    ),
    hint="np.argsort with kind='stable' keeps the order of equals.",
    package="pruning.scores.obd.saliency",
)


# ---- obd.4: two at once ----------------------------------------------------------------------------------------------
def _pair(gradient: bool, negative: bool = False) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        u, h = signed(rng, 0.5, 2, 2), rng.uniform(0.5, 3, 2)
        if negative:
            h[rng.integers(2)] *= -1
        g = rng.choice([-1.0, 1.0]) * np.sign(u) * rng.uniform(0.5, 1, 2)  # both terms of g·u have one sign
        return {"u": u, "h": h, "hkl": round(float(signed(rng, 0.5, 1.5, ())), 1), "g": g if gradient else np.zeros(2)}

    return draw


def _path(u: Array, h: Array, hkl: float, g: Array) -> float:
    # The slope is a straight line on each of two legs, first weight 0 goes to zero and then weight 1, and the integral
    # of such a one is its value in the middle times the length.
    first = (g[0] + h[0] * (-u[0] / 2)) * -u[0]
    second = (g[1] + hkl * -u[0] + h[1] * (-u[1] / 2)) * -u[1]
    return float(first + second)


def _price(cross: float = 1.0, gradient: float = -1.0, half: float = 0.5, cut: bool = False) -> Callable[..., float]:
    def form(u: Array, h: Array, hkl: float, g: Array) -> float:
        curvature = np.maximum(h, 0) if cut else h
        return float(half * np.sum(curvature * u * u) + cross * hkl * u[0] * u[1] + gradient * np.sum(g * u))

    return form


PAIR = Exercise(
    id="obd.4",
    function="pair_price",
    outputs=("price",),
    formula="δE = ½ hₖ uₖ² + ½ hₗ uₗ² + hₖₗ uₖ uₗ − g·u",
    slide="S0, Optimal brain damage",
    ledger="S0-F1, S0-F2",
    section="notebook 02, section 1",
    minutes=25,
    referee=_path,
    cases=(
        Case("at a minimum where g = 0", 1, _pair(False), public=True),
        Case("away from a minimum", 2, _pair(True), draws=4),
        Case("one curvature is negative", 1, _pair(True, negative=True), draws=2),
    ),
    wrong=(
        Wrong(
            "no cross term",
            _price(cross=0.0),
            "This is the sum of the two single prices, as OBD and predicted_change have it. The term with h_kl is"
            " missing: the model keeps the diagonal, E does not (S0-F2).",
        ),
        Wrong(
            "cross term halved",
            _price(cross=0.5),
            "This has half of the cross term. The double sum runs over ordered pairs: (k, l) and (l, k) are both in"
            " it (S0-F1).",
        ),
        Wrong(
            "cross term doubled",
            _price(cross=2.0),
            "This has twice the cross term. The half in front of the double sum holds for it, too (S0-F1).",
        ),
        Wrong(
            "sign of g",
            _price(gradient=1.0),
            "This adds g·u. A deletion is the step −u, and the term of first order is g times this step (S0-F1).",
        ),
        Wrong(
            "gradient forgotten",
            _price(gradient=0.0),
            "This takes the gradient for zero, OBD's extremal approximation. Here g is given, and need not vanish.",
        ),
        Wrong(
            "no half",
            _price(half=1.0),
            "This lacks the half in front of the terms h u² (S0-F1).",
        ),
        Wrong(
            "cut at zero",
            _price(cut=True),
            "This cuts a negative curvature at zero. That is a policy for ranking; the price on the parabola itself is"
            " asked for.",
        ),
    ),
    hint="Put the step of both deletions into the expansion of E, and count how often each term occurs in the double"
    " sum.",
    package="pruning.scores.obd.predicted_change",
)
