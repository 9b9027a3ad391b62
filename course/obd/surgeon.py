"""Deletion with the answer of all other weights: a block (obs.1), and one after the other in a layer (obs.2).

The referees minimise over the weights that are left, in H, and form no inverse of it; the greedy one tries every next
weight.
"""

from collections.abc import Callable, Sequence

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed


def _bowl(rng: np.random.Generator, n: int) -> Array:
    # Positive definite, and no two weights without a term in common, neither in it nor in its inverse.
    a = signed(rng, 0.5, 1, n)
    return np.diag(rng.uniform(1, 3, n)) + 4 * np.outer(a, a)


# ---- obs.1: a block, where the gradient need not be zero -------------------------------------------------------------
def _block(n: int, deleted: int, gradient: bool = True) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        H, Q, g = _bowl(rng, n), rng.permutation(n)[:deleted], signed(rng, 1, 3, n) * gradient
        lowest = signed(rng, 0.5, 2, n)  # w - H^-1 g: were it near zero in Q, a deletion would cost nothing
        return {"H": H, "w": lowest + np.linalg.solve(H, g), "Q": Q, "g": g}

    return draw


def _parabola(H: Array, g: Array, d: Array) -> float:
    return float(g @ d + d @ H @ d / 2)


def _by_elimination(H: Array, w: Array, Q: Sequence[int], g: Array) -> tuple[float, Array]:
    # The step of Q is known; where the slope of all others vanishes, the parabola is lowest.
    Q = [int(q) for q in Q]
    S = [q for q in range(len(w)) if q not in Q]
    d = -np.where(np.isin(np.arange(len(w)), Q), w, 0)
    d[S] = np.linalg.solve(H[np.ix_(S, S)], -(g + H @ d)[S])
    return _parabola(H, g, d), d


def _answer(weight: Callable[[Array, Array, Array], Array], half: float = 0.5) -> Callable[..., tuple[float, Array]]:
    # -H^-1 g and a step along the columns Q of H^-1; `weight` says how far along each.
    def form(H: Array, w: Array, Q: Array, g: Array) -> tuple[float, Array]:
        V = np.linalg.inv(H)
        v, free = (w - V @ g)[Q], -g @ V @ g / 2
        far = weight(H[np.ix_(Q, Q)], V[np.ix_(Q, Q)], v)
        return float(free + half * v @ far), -V @ g - V[:, Q] @ far

    return form


def _damage(H: Array, w: Array, Q: Array, g: Array) -> tuple[float, Array]:
    d = np.zeros(len(w))
    d[Q] = -w[Q]
    return _parabola(H, g, d), d


def _with_gradient(factor: float, price: bool = False) -> Callable[..., tuple[float, Array]]:
    def form(H: Array, w: Array, Q: Array, g: Array) -> tuple[float, Array]:
        cost, d = _by_elimination(H, w, Q.tolist(), factor * g)
        return (_parabola(H, g, d) if price else cost), d

    return form


BLOCK = Exercise(
    id="obs.1",
    function="obs",
    outputs=("price", "dw"),
    formula="with v = w − H⁻¹g and M = [H⁻¹]_QQ:  δw = −H⁻¹g − H⁻¹_:Q M⁻¹ v_Q,  δE = ½ v_Qᵀ M⁻¹ v_Q − ½ gᵀH⁻¹g;"
    " at a minimum, g = 0, Hassibi and Stork's",
    slide="S0, Methods for pruning",
    ledger="S0-F8a, S0-F8b",
    section="notebook 10, sections 1 and 3",
    minutes=40,
    referee=_by_elimination,
    cases=(
        Case("one weight at a minimum", 1, _block(4, 1, gradient=False), public=True),
        Case("one weight where g is not zero", 1, _block(5, 1), draws=2),
        Case("pairs", 2, _block(6, 2), draws=3),
        Case("all but one weight", 1, _block(5, 4), draws=2),
    ),
    wrong=(
        Wrong(
            "others stay (OBD)",
            _damage,
            "This is optimal brain damage in blocks: the other weights do not answer (S0-F8a).",
        ),
        Wrong(
            "gradient forgotten",
            _with_gradient(0.0),
            "This is the surgeon at a minimum, g = 0, as pruning.scores.obs has it. Here g need not be zero, and the"
            " step has to answer to it as well.",
        ),
        Wrong(
            "gradient in the price only",
            _with_gradient(0.0, price=True),
            "This takes the step of a minimum and prices it with g. With g in the Lagrangian the best step is"
            " another one.",
        ),
        Wrong(
            "sign of g",
            _with_gradient(-1.0),
            "This is right for −g. Differentiate g·δ + ½ δᵀHδ before you solve for δ.",
        ),
        Wrong(
            "H_QQ for the inverse of [H⁻¹]_QQ",
            _answer(lambda HQ, M, v: HQ @ v),
            "This has H_QQ for the inverse of [H⁻¹]_QQ. A block of the inverse is not the inverse of a block, and w_Q"
            " does not end at zero (S0-F8b).",
        ),
        Wrong(
            "one by one, added up",
            _answer(lambda HQ, M, v: v / np.diag(M)),
            "This adds up the steps of single deletions. Each is right alone, and moves the others that have to go:"
            " w_Q + δw_Q is not zero (S0-F8b).",
        ),
        Wrong(
            "step not divided",
            _answer(lambda HQ, M, v: v),
            "This lacks the multiplication with the inverse of [H⁻¹]_QQ: w_Q + δw_Q is not zero (S0-F8b).",
        ),
        Wrong(
            "no half",
            _answer(lambda HQ, M, v: np.linalg.solve(M, v), half=1.0),
            "This lacks the half in front of the quadratic form of w_Q: the step is right, its price is not (S0-F8b).",
        ),
    ),
    hint="Two checks that need no formula: w + dw is zero in Q, and g + H dw is zero everywhere else.",
    package="pruning.scores.obs.block_saliency, pruning.scores.obs.delete",
)


# ---- obs.2: a layer, whose rows share H ------------------------------------------------------------------------------
def _rows(rows: int, inputs: int, m: int) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        return {"Hinv": _bowl(rng, inputs), "W": signed(rng, 0.3, 2, (rows, inputs)), "m": m}

    return draw


def _twins(rng: np.random.Generator) -> Inputs:
    # Inputs 0 and 1 stand for one another: in each row one of them is cheap, as long as the other is there.
    H = np.eye(5)
    H[0, 1] = H[1, 0] = rng.uniform(0.96, 0.98)
    W = signed(rng, 0.6, 0.8, (2, 5))
    W[:, :2] = rng.uniform(0.9, 1.1, (2, 2))
    order = rng.permutation(5)
    return {"Hinv": np.linalg.inv(H)[np.ix_(order, order)], "W": W[:, order], "m": 4}


def _every_next(Hinv: Array, W: Array, m: int) -> tuple[Array, float]:
    H, g = np.linalg.inv(Hinv), np.zeros(len(Hinv))
    gone: list[list[int]] = [[] for _ in W]
    price = 0.0
    for _ in range(m):
        costs = {
            (i, q): _by_elimination(H, W[i], [*gone[i], q], g)[0] - _by_elimination(H, W[i], gone[i], g)[0]
            for i, q in np.ndindex(W.shape)
            if q not in gone[i]
        }
        i, q = min(costs, key=lambda k: costs[k])
        price += costs[i, q]
        gone[i].append(q)
    return _kept(H, W, gone), price


def _kept(H: Array, W: Array, gone: Sequence[Sequence[int]]) -> Array:
    return np.stack([w + _by_elimination(H, w, Q, np.zeros(len(w)))[1] for w, Q in zip(W, gone)])


def _greedy(downdate: bool = True, shared: bool = False, each: bool = False) -> Callable[..., tuple[Array, float]]:
    def form(Hinv: Array, W: Array, m: int) -> tuple[Array, float]:
        inverses, price = [Hinv.copy() for _ in W], 0.0
        live = np.ones(W.shape, bool)
        for step in range(m * len(W) if each else m):
            d = np.stack([np.diag(V) for V in inverses])
            can = live & (d > 1e-9)
            s = np.where(can, W**2 / (2 * np.where(can, d, 1)), np.inf)
            if each:
                s[np.arange(len(W)) != step // m] = np.inf
            if not np.isfinite(s).any():
                break
            i, q = np.unravel_index(np.argmin(s), s.shape)
            price, live[i, q] = price + s[i, q], False
            V = inverses[i]
            W[i] -= W[i, q] / V[q, q] * V[:, q]
            if downdate:
                W[i] *= live[i]
                V = V - np.outer(V[:, q], V[:, q]) / V[q, q]
                inverses = [V] * len(W) if shared else [*inverses[:i], V, *inverses[i + 1 :]]
        return W, float(price)

    return form


def _at_once(answer: bool) -> Callable[..., tuple[Array, float]]:
    # The order of the first scores; with answer by the inverse, without by H itself.
    def form(Hinv: Array, W: Array, m: int) -> tuple[Array, float]:
        H = np.linalg.inv(Hinv)
        s = W**2 / (2 * np.diag(Hinv)) if answer else W**2 * np.diag(H) / 2
        order = np.argsort(s.ravel())[:m]
        gone = [[int(k % W.shape[1]) for k in order if k // W.shape[1] == i] for i in range(len(W))]
        if answer:
            D = _kept(H, W, gone) - W
            return W + D, float(np.sum(D @ H * D) / 2)
        W.ravel()[order] = 0
        return W, float(s.ravel()[order].sum())

    return form


def _twice(Hinv: Array, W: Array, m: int) -> tuple[Array, float]:
    new, price = _every_next(Hinv, W, m)
    return new, 2 * price


GREEDY = Exercise(
    id="obs.2",
    function="greedy_obs",
    outputs=("W", "price"),
    formula="(i, q) = argmin w_iq² / (2 [V_i]_qq);  w_i ← w_i − w_iq / [V_i]_qq V_i e_q,"
    "  V_i ← V_i − V_i e_q e_qᵀ V_i / [V_i]_qq, of this row alone",
    slide="S0, Methods for pruning",
    ledger="S0-F8b, S0-F8f",
    section="notebook 10, section 3",
    minutes=40,
    referee=_every_next,
    cases=(
        Case("one deletion", 1, _rows(2, 3, 1), public=True),
        Case("three deletions", 1, _rows(2, 4, 3), draws=3),
        Case("inputs that stand for one another", 2, _twins, draws=2),
        Case("all but two weights go", 1, _rows(3, 4, 10), draws=2),
    ),
    wrong=(
        Wrong(
            "no downdate",
            _greedy(downdate=False),
            "This goes on with the inverse of the beginning. Without the downdate the next answer brings back the"
            " weights that were deleted before (S0-F8b).",
        ),
        Wrong(
            "order of the first scores",
            _at_once(answer=True),
            "This takes the m cheapest by the first scores. After a deletion the others are worth something else: of"
            " two weights that stand for one another only one may go (S0-F8f).",
        ),
        Wrong(
            "one inverse for all rows",
            _greedy(shared=True),
            "This downdates the inverse of all rows after a deletion in one of them. Rows do not interact, and start"
            " from the same H⁻¹; each goes on with its own.",
        ),
        Wrong(
            "m of every row",
            _greedy(each=True),
            "This deletes m weights of every row. Asked for are m weights of the whole matrix, wherever they are"
            " cheapest.",
        ),
        Wrong(
            "no answer (OBD)",
            _at_once(answer=False),
            "This is optimal brain damage: chosen and priced by H_qq w² / 2, and the other weights stay as they are.",
        ),
        Wrong(
            "no half",
            _twice,
            "This lacks the half in the saliency: W is right, the price is twice too large (S0-F8a).",
        ),
    ),
    hint="A deleted weight is zero at the end, but for rounding: look at yours after two deletions.",
    package="pruning.scores.obs.prune",
)
