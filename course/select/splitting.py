"""ADMM: the nearest n-of-m matrix (admm.1), and one round on a parabola with a rho for each weight (admm.2)."""

from collections.abc import Callable
from itertools import combinations

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed

Step = Callable[..., tuple[Array, Array, Array]]


# ---- admm.1: n of every m ----------------------------------------------------------------------------------------
def _matrix(rows: int, columns: int, n: int, m: int, ties: bool = False, steps: bool = False) -> Draw:
    # `ties`: moduli 1 and 2; `steps`: 0.1, 0.2, ..., each once, for the numbers that are rounded.
    def draw(rng: np.random.Generator) -> Inputs:
        sizes = rng.uniform(0.5, 1.5, (rows, columns)) * np.linspace(1, 3, rows)[:, None] * np.linspace(1, 2, columns)
        if ties:
            sizes = rng.integers(1, 3, (rows, columns)) * 1.0
        if steps:
            sizes = 0.1 * (1 + rng.permutation(rows * columns).reshape(rows, columns))
        W = sizes * rng.choice([-1.0, 1.0], (rows, columns))
        W[0, :m] = -np.abs(W[0, :m])  # a block without a positive entry
        return {"W": W, "n": n, "m": m}

    return draw


def _by_enumeration(W: Array, n: int, m: int) -> Array:
    # Every choice of n places in a block is tried; the first of the nearest is taken, so that ties go to low indices.
    Y = np.zeros(W.shape)
    for i, row in enumerate(W):
        for start in range(0, len(row), m):
            places = range(start, min(start + m, len(row)))
            choices = combinations(places, min(n, len(places)))
            best = min(choices, key=lambda S: sum(float(row[j]) ** 2 for j in places if j not in S))
            for j in best:
                Y[i, j] = row[j]
    return Y


def _largest(score: Array, n: int, ties: int = 1) -> Array:
    # Ones at the n largest of a list, zeros elsewhere.
    keep = np.zeros(len(score))
    keep[np.lexsort((ties * np.arange(len(score)), -score))[:n]] = 1
    return keep


def _blocks(score: Callable[[Array], Array] = np.abs, ties: int = 1) -> Callable[..., Array]:
    def form(W: Array, n: int, m: int) -> Array:
        parts = [W[:, start : start + m] for start in range(0, W.shape[1], m)]
        return np.hstack([np.array([row * _largest(score(row), n, ties) for row in part]) for part in parts])

    return form


def _row_wide(W: Array, n: int, m: int) -> Array:
    number = sum(min(n, W.shape[1] - start) for start in range(0, W.shape[1], m))
    return np.array([row * _largest(np.abs(row), number) for row in W])


def _down_columns(W: Array, n: int, m: int) -> Array:
    return _blocks()(W.T, n, m).T


def _all_of_the_last(W: Array, n: int, m: int) -> Array:
    whole = W.shape[1] // m * m
    return np.hstack([_blocks()(W[:, :whole], n, m), W[:, whole:]]) if whole else W.copy()


def _at_least(W: Array, n: int, m: int) -> Array:
    # All that are as large as the n-th largest of their block stay.
    Y = np.zeros(W.shape)
    for start in range(0, W.shape[1], m):
        sizes = np.abs(W[:, start : start + m])
        cutoff = np.sort(sizes, axis=1)[:, ::-1][:, [min(n, sizes.shape[1]) - 1]]
        Y[:, start : start + m] = np.where(sizes >= cutoff, W[:, start : start + m], 0)
    return Y


N_OF_M = Exercise(
    id="admm.1",
    function="project_n_of_m",
    outputs=("Y",),
    formula="Y = W at the n largest |W_ij| of every block of m neighbours in a row, ties to the lowest index, else 0",
    slide="S3, section 1, on ADMM",
    ledger="S3-F9",
    section="notebook 14, section 2.1",
    minutes=20,
    referee=_by_enumeration,
    cases=(
        Case("two rows of eight, 2 of 4", 1, _matrix(2, 8, 2, 4, steps=True), public=True),
        Case("other n and m, the last block is shorter", 1, _matrix(4, 13, 2, 5), draws=2),
        Case("equal moduli", 1, _matrix(6, 12, 2, 6, ties=True), draws=2),
        Case("blocks of one, m = 1", 1, _matrix(3, 5, 1, 1)),
    ),
    wrong=(
        Wrong(
            "the whole row",
            _row_wide,
            "This keeps as many weights of every row, but the largest of all its blocks together. Every block has n of"
            " its own.",
        ),
        Wrong(
            "the smallest stay",
            _blocks(lambda row: -np.abs(row)),
            "This keeps the smallest weights. What the projection sets to zero is its distance, and that has to be"
            " least (S3-F9).",
        ),
        Wrong(
            "by value",
            _blocks(lambda row: row),
            "This sorts by value, so that negative weights go first. The distance is a sum of squares (S3-F9).",
        ),
        Wrong(
            "blocks down the columns",
            _down_columns,
            "This has its blocks down the columns of W. They lie in the rows, side by side.",
        ),
        Wrong(
            "ties to the highest index",
            _blocks(ties=-1),
            "This keeps the highest index among equals. Both are nearest points; the lowest stays here.",
        ),
        Wrong(
            "ties all stay",
            _at_least,
            "This keeps all weights that are as large as the n-th largest: with ties more than n of a block.",
        ),
        Wrong(
            "the last block as it was",
            _all_of_the_last,
            "This leaves the short block at the end of a row as it was. It keeps n weights at most, too.",
        ),
    ),
    hint="For a given set of n places, how far is W from its nearest point, and which set makes that least?",
    package="pruning.penalties.projections.weights",
)


# ---- admm.2: one round of the scaled form ------------------------------------------------------------------------
def _parabola(rng: np.random.Generator, p: int, equal: bool) -> dict[str, Array]:
    V = np.linalg.qr(rng.standard_normal((p, p)))[0]
    H = V * rng.uniform(1, 4, p) @ V.T
    rho = np.full(p, 1 + rng.uniform()) if equal else rng.permutation(np.geomspace(0.5, 8, p))
    return {"H": (H + H.T) / 2, "g": 3 * rng.standard_normal(p), "rho": rho}


def _state(p: int, k: int, rounds: int = 0, equal: bool = False) -> Draw:
    # Draw until every slip shows; `rounds`: so many rounds lie behind W, Y and U.
    def draw(rng: np.random.Generator) -> Inputs:
        while True:
            drawn = _parabola(rng, p, equal)
            W, Y, U = (signed(rng, 0.5, 2, p) for _ in range(3))
            Y *= _largest(np.abs(Y), k)
            if rounds:
                W, Y, U = np.linalg.solve(drawn["H"], drawn["g"]), np.zeros(p), np.zeros(p)
            for _ in range(rounds):
                W, Y, U = _round()(W=W, Y=Y, U=U, k=k, **drawn)
            inputs = {"H": drawn["H"], "g": drawn["g"], "W": W, "Y": Y, "U": U, "rho": drawn["rho"], "k": k}
            if _clear({name: np.round(v, 1) if equal and np.ndim(v) else v for name, v in inputs.items()}, equal):
                return inputs

    return draw


def _clear(inputs: Inputs, equal: bool) -> bool:
    """Whether what stays is far from what goes, and every form but those that must not be is far from the right one."""
    right = np.concatenate(_round()(**inputs))
    W, k, rho = right[: len(inputs["g"])], inputs["k"], inputs["rho"]
    scores = np.sort(rho * (W + inputs["U"]) ** 2)[::-1]
    if k == len(W):
        return True
    forms = [form for name, form in SLIPS.items() if not (equal and name in SAME_IF_EQUAL)]
    off = [np.abs(np.concatenate(form(**inputs)) - right).max() for form in forms]
    return bool(scores[k] < 0.9 * scores[k - 1] and min(off) > 0.05)


def _by_supports(H: Array, g: Array, W: Array, Y: Array, U: Array, rho: Array, k: int) -> tuple[Array, Array, Array]:
    # W: the quadratic term is p more rows of a least-squares problem, whose other rows are a root of H.
    A, p = np.linalg.cholesky(H).T, len(g)
    b = np.linalg.solve(A.T, g)
    W = np.linalg.lstsq(np.vstack([A, np.diag(np.sqrt(rho))]), np.append(b, np.sqrt(rho) * (Y - U)), rcond=None)[0]
    # Y: every support is tried.  U: what the projection has cut off W + U.
    best = min(combinations(range(p), k), key=lambda S: sum(rho[j] * (W + U)[j] ** 2 for j in range(p) if j not in S))
    live = np.isin(np.arange(p), best)
    return W, np.where(live, W + U, 0), np.where(live, 0, W + U)


def _round(
    pull: Callable[[Array, Array], Array] = lambda Y, U: Y - U,
    factor: float = 1.0,
    point: Callable[[Array, Array], Array] = lambda W, U: W + U,
    power: float = 1.0,
    climb: Callable[[Array, Array, Array, Array], Array] = lambda W, Y, U, before: U + W - Y,
    project: bool = True,
) -> Step:
    def form(H: Array, g: Array, W: Array, Y: Array, U: Array, rho: Array, k: int) -> tuple[Array, Array, Array]:
        W = np.linalg.solve(H + np.diag(factor * rho), g + factor * rho * pull(Y, U))
        before, v = Y, point(W, U)
        Y = v * _largest(rho**power * v * v, k) if project else Y
        return W, Y, climb(W, Y, U, before)

    return form


def _all_at_once(H: Array, g: Array, W: Array, Y: Array, U: Array, rho: Array, k: int) -> tuple[Array, Array, Array]:
    new, v = _round()(H, g, W, Y, U, rho, k)[0], W + U
    Y = v * _largest(rho * v * v, k)
    return new, Y, U + W - Y


SLIPS: dict[str, Step] = {
    "Y never updated": _round(project=False),
    "sign of U": _round(climb=lambda W, Y, U, before: U - W + Y),
    "projection of W": _round(point=lambda W, U: W),
    "(4) as printed": _round(climb=lambda W, Y, U, before: U + (W - Y + U)),
    "W pulled to Y + U": _round(pull=lambda Y, U: Y + U),
    "U forgotten in W": _round(pull=lambda Y, U: Y),
    "half of rho": _round(factor=0.5),
    "projection without rho": _round(power=0.0),
    "the Y before its step": _round(climb=lambda W, Y, U, before: U + W - before),
    "W - Y": _round(climb=lambda W, Y, U, before: W - Y),
    "the W before its step": _all_at_once,
}
SAME_IF_EQUAL = {"projection without rho"}
MESSAGES = {
    "Y never updated": "This leaves Y as it was. Printed is a step in a variable Z that nothing else reads; it is Y"
    " that has to become the projection (S3-F7).",
    "sign of U": "This has U − W + Y: it goes down where it should climb, and would explode (S3-F8).",
    "projection of W": "This projects W alone. In the scaled form L has its minimum over Y at the projection of another"
    " point (S3-F7).",
    "(4) as printed": "This climbs on (4) as printed, so that U is added once more. The term −Σ (ρ/2) U² is missing"
    " there (S3-F5, S3-F8).",
    "W pulled to Y + U": "This has the sign of U wrong in the step for W. Differentiate (ρ/2)(W − Y + U)² (S3-F6).",
    "U forgotten in W": "This pulls W to Y, without U: the penalty method. The force of the multiplier is missing"
    " (S3-F6).",
    "half of rho": "This has ρ/2 for ρ in the linear system. The half goes when the square is differentiated (S3-F6).",
    "projection without rho": "This keeps the k largest moduli. With a ρ for each weight L has ρ in front of every"
    " square that a zero costs, and the nearest point is another one (S3-F7).",
    "the Y before its step": "This updates U with the Y before its step. U belongs to the new Y (S3-F8).",
    "W - Y": "This forgets the U before. U adds up all differences so far (S3-F8).",
    "the W before its step": "This takes the W from before the round in the steps for Y and U. The three steps come one"
    " after the other, each with what is newest (S3-F7).",
}

ROUND = Exercise(
    id="admm.2",
    function="admm_step",
    outputs=("W", "Y", "U"),
    formula="(H + diag ρ) W⁺ = g + ρ(Y − U);  Y⁺ = W⁺ + U at its k largest ρ(W⁺ + U)², else 0;  U⁺ = U + W⁺ − Y⁺",
    slide="S3, equations (3) to (7)",
    ledger="S3-F5, S3-F6, S3-F7, S3-F8",
    section="notebook 14, sections 1 and 3",
    minutes=40,
    referee=_by_supports,
    cases=(
        Case("one rho for all weights", 1, _state(4, 2, equal=True), public=True),
        Case("a rho for each weight", 2, _state(7, 3), draws=3),
        Case("after three rounds", 1, _state(8, 4, rounds=3), draws=2),
        Case("k = p, nothing has to go", 1, _state(5, 5)),
    ),
    wrong=tuple(Wrong(name, form, MESSAGES[name]) for name, form in SLIPS.items()),
    hint="Write down L with all its terms, and leave out what does not depend on the variable of the step.",
    package="textbook.splitting.least_squares_prox, pruning.penalties.admm.ADMM.update",
)
