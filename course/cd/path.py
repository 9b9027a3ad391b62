"""The number of coefficients along a path (cd.5): it is not monotone, and a table of solutions has to be searched."""

from collections.abc import Callable, Sequence

import numpy as np

from course.cd.draws import one_of
from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed

Found = tuple[float, Array]

DUST = 1e-10


def _table(counts: Sequence[int], k: int, p: int = 9, rising: bool = False, dust: bool = False) -> Draw:
    # Solutions with these numbers of coefficients, which join and leave one after the other, as lam falls.
    def draw(rng: np.random.Generator) -> Inputs:
        betas, active = np.zeros((p, len(counts))), list[int]()
        for column, count in enumerate(counts):
            while len(active) > count:
                active.pop(int(rng.integers(len(active))))
            while len(active) < count:
                active.append(int(rng.choice([j for j in range(p) if j not in active])))
            betas[active, column] = signed(rng, 0.2, 2, count)
        if dust:
            betas += np.where(betas == 0, signed(rng, 1e-13, 1e-12, betas.shape), 0)
        lams = np.round(rng.uniform(4, 6) - np.arange(len(counts)) * rng.uniform(0.3, 0.4), 1)
        order = slice(None, None, -1 if rising else 1)
        return {"lams": lams[order], "betas": betas[:, order], "k": k}

    return draw


def _try_all(lams: Array, betas: Array, k: int) -> Found:
    best: tuple[int, float, list[int]] = (-1, 0.0, [])
    for lam, beta in zip(lams.tolist(), betas.T.tolist()):
        support = [j for j, b in enumerate(beta) if not -DUST <= b <= DUST]
        if best[0] < len(support) <= k or (len(support) == best[0] and lam > best[1]):
            best = (len(support), lam, support)
    return best[1], np.array(best[2], dtype=float)


def _search(which: Callable[[Array, Array, int], int], dust: float = DUST, sort: bool = True) -> Callable[..., Found]:
    # `which` sees the counts from the largest lam to the smallest, and returns a column.
    def form(lams: Array, betas: Array, k: int) -> Found:
        order = np.argsort(-lams) if sort else np.arange(len(lams))
        lams, betas = lams[order], betas[:, order]
        there = np.abs(betas) > dust
        i = which(np.sum(there, axis=0), lams, k)
        return float(lams[i]), np.flatnonzero(there[:, i]).astype(float)

    return form


def _first(counts: Array, lams: Array, k: int) -> int:
    return int(np.argmax(counts == np.max(counts[counts <= k], initial=-1)))


def _last(counts: Array, lams: Array, k: int) -> int:
    return len(counts) - 1 - _first(counts[::-1], lams, k)


def _lowered(counts: Array, lams: Array, k: int) -> int:
    # Down from the largest lam, until a (k+1)-th coefficient would come in.
    more = np.flatnonzero(counts > k)
    return int(more[0]) - 1 if more.size else len(counts) - 1


def _raised(counts: Array, lams: Array, k: int) -> int:
    # Up from the smallest lam, until at most k are left.
    return int(np.flatnonzero(counts <= k)[-1])


def _halved(counts: Array, lams: Array, k: int) -> int:
    low, high = 0, len(counts) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if counts[middle] <= k else (low, middle - 1)
    return low


def _at_least(counts: Array, lams: Array, k: int) -> int:
    return int(np.argmax(counts >= k)) if np.any(counts >= k) else len(counts) - 1


FIRST = Exercise(
    id="cd.5",
    function="first_with",
    outputs=("lam", "support"),
    formula="among the solutions with at most k coefficients above 1e-10 those with the most, and of these the one at"
    " the largest λ",
    slide="S1, Channel pruning, below eq. (2)",
    ledger="S1-F10b",
    section="notebook 05b, section 3.5",
    minutes=35,
    referee=_try_all,
    cases=(
        Case("one after the other joins", 1, _table([0, 1, 2, 3, 4, 5], 3, p=5), public=True),
        Case(
            "one leaves and comes back",
            1,
            one_of(_table([0, 2, 4, 5, 4, 5, 6, 5], 5), _table([0, 1, 3, 4, 4, 3, 4, 6], 4)),
            draws=4,
        ),
        Case(
            "k is jumped over",
            1,
            one_of(_table([0, 2, 4, 6, 5, 5, 7, 8], 5), _table([0, 3, 3, 6, 7, 4, 8, 8], 5)),
            draws=3,
        ),
        Case(
            "dust and the smallest lam first", 1, _table([0, 0, 2, 4, 3, 3, 2, 5], 3, rising=True, dust=True), draws=2
        ),
    ),
    wrong=(
        Wrong(
            "halving",
            _search(_halved),
            "This halves the path as if the number of coefficients only grew while λ falls. A coefficient can leave"
            " again, and then halving ends at one of several places (S1-F10b).",
        ),
        Wrong(
            "the last one",
            _search(_last),
            "This takes the smallest λ with this number of coefficients. The largest is asked for.",
        ),
        Wrong(
            "down to the first that is too many",
            _search(_lowered),
            "This comes down from the largest λ and stops before there are more than k, as textbook.lasso_at_most does."
            " Later there may be as many as k again; and of several λ with the same number the first is asked for"
            " (S1-F10b).",
        ),
        Wrong(
            "up to the first that is few enough",
            _search(_raised),
            "This comes up from the smallest λ and stops as soon as there are at most k, as channel pruning does. More"
            " of them, or the same number at a larger λ, may come later (S1-F10b).",
        ),
        Wrong(
            "at least k",
            _search(_at_least),
            "This takes the first solution with k coefficients or more. There may be more than k.",
        ),
        Wrong(
            "dust counted",
            _search(_first, dust=0.0),
            "This counts coefficients of 1e-12 as nonzero. They are what a solver leaves where zero is meant.",
        ),
        Wrong(
            "first column",
            _search(_first, sort=False),
            "This takes the first column with this number of coefficients. The table may begin with the smallest λ.",
        ),
    ),
    hint="Count the coefficients of every solution before you choose one.",
    package="textbook.lasso_at_most, pruning.reconstruction.lasso_channels.bisected",
)
