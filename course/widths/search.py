"""How wide is each layer: the best widths of a chain under a budget, found exactly.

Judged by all subsets of channels of all layers, which know nothing of widths.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong

Answer = tuple[Array, list[Array]]
LAYERS = 3


# ---- what the forms share: answers from widths -----------------------------------------------------------------------
def _macs(widths: Array, q: Array, n_in: int, n_out: int) -> Array:
    """Return sum_l q_l c_(l-1) c_l for widths (L, ...)."""
    ends = np.full(widths.shape[1:], n_in)[None], np.full(widths.shape[1:], n_out)[None]
    chain = np.concatenate([ends[0], widths, ends[1]])
    return np.tensordot(q, chain[:-1] * chain[1:], 1)


def _answer(scores: list[Array], widths: Array, last: bool = False) -> Answer:
    # The largest of each layer; of equal ones the first, or with `last` the last.
    kept = []
    for s, k in zip(scores, widths):
        order = len(s) - 1 - np.argsort(-s[::-1], kind="stable") if last else np.argsort(-s, kind="stable")
        kept.append(np.isin(np.arange(len(s)), order[: int(k)]).astype(float))
    return np.asarray(widths, dtype=float), kept


def _search(
    dearer: bool = False,
    wider: bool = False,
    strict: bool = False,
    least: int = 1,
    dense: bool = False,
    last: bool = False,
) -> Callable[..., Answer]:
    def form(scores: list[Array], q: Array, n_in: int, n_out: int, budget: int) -> Answer:
        sizes = np.array([len(s) for s in scores])
        grid = np.indices(tuple(len(s) + 1 - least for s in scores)).reshape(LAYERS, -1) + least
        value = sum(np.concatenate([[0], np.cumsum(-np.sort(-s))])[k] for s, k in zip(scores, grid))
        macs = _macs(grid, q, n_in, n_out)
        cost = macs
        if dense:  # each layer as if its neighbours kept all: the MACs saved are added up
            chain = np.concatenate([[n_in], sizes, [n_out]])
            each = (q[:-1] * chain[:-2] + q[1:] * chain[2:])[:, None] * (sizes[:, None] - grid)
            cost = _macs(sizes[:, None], q, n_in, n_out) - each.sum(axis=0)
        fits = cost < budget if strict else cost <= budget
        if not fits.any():
            return _answer(scores, np.zeros(LAYERS))
        keys = (*grid[::-1] * (-1 if wider else 1), macs * (-1 if dearer else 1), -value)
        order = np.lexsort(keys)
        return _answer(scores, grid[:, order[fits[order]][0]], last)

    return form


def _one_by_one(pick: Callable[..., Array]) -> Callable[..., Answer]:
    # All channels at first; the one with the least of `pick` goes, until the rest fits.
    def form(scores: list[Array], q: Array, n_in: int, n_out: int, budget: int) -> Answer:
        widths = np.array([len(s) for s in scores])
        sorted_ = [-np.sort(-s) for s in scores]
        while _macs(widths, q, n_in, n_out) > budget:
            if np.all(widths == 1):
                return _answer(scores, np.zeros(LAYERS))
            weakest = np.array([s[k - 1] for s, k in zip(sorted_, widths)])
            chain = np.concatenate([[n_in], widths, [n_out]])
            rank = pick(weakest, q[:-1] * chain[:-2] + q[1:] * chain[2:])
            widths[np.argmin(np.where(widths > 1, rank, np.inf))] -= 1
        return _answer(scores, widths)

    return form


def _uniform(scores: list[Array], q: Array, n_in: int, n_out: int, budget: int) -> Answer:
    sizes = np.array([len(s) for s in scores])
    for share in np.linspace(1, 0, 101):
        widths = np.maximum(1, np.floor(share * sizes + 1e-9)).astype(int)
        if _macs(widths, q, n_in, n_out) <= budget:
            return _answer(scores, widths)
    return _answer(scores, np.zeros(LAYERS))


# ---- draws: chains on which shortcuts go wrong -----------------------------------------------------------------------
SHORTCUTS: tuple[Callable[..., Answer], ...] = (
    _one_by_one(lambda score, macs: score / macs),
    _one_by_one(lambda score, macs: score),
    _uniform,
)
TIES: tuple[Callable[..., Answer], ...] = (_search(dearer=True), _search(wider=True), _search(last=True))


def _chain(sizes: tuple[int, ...], ties: bool = False) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        for _ in range(500):
            inputs = dict(_tied(rng, sizes) if ties else _one(rng, sizes))
            best = _search()(**inputs)
            if not ties:  # exactly what the best one costs is the budget, so that "less than" misses it
                inputs["budget"] = int(_macs(best[0], inputs["q"], inputs["n_in"], inputs["n_out"]))
            wrong = TIES if ties else SHORTCUTS
            if all(_differ(best, form(**inputs)) for form in wrong) and (max(sizes) > 3 or _unique(**inputs)):
                break
        return inputs

    return draw


def _one(rng: np.random.Generator, sizes: tuple[int, ...]) -> Inputs:
    # Layers are worth differently much, and no two choices the same.
    scores = [rng.permutation(n) * 0.3 + rng.integers(1, 4, n) * (1 + k) * 0.5 for k, n in enumerate(sizes)]
    unequal = 0.0 if max(sizes) < 4 else 0.05
    scores = [s + unequal * rng.random(len(s)) + 0.1 for s in scores]
    q, ends = rng.permutation([9.0, 4.0, 2.0, 1.0]), rng.integers(1, 4, 2)
    most = float(_macs(np.array(sizes), q, *ends))
    return {"scores": scores, "q": q, "n_in": int(ends[0]), "n_out": int(ends[1]), "budget": int(most * 0.45)}


def _tied(rng: np.random.Generator, sizes: tuple[int, ...]) -> Inputs:
    # The same from both ends, so that widths can be turned round.
    scores = [rng.integers(1, 3, n).astype(float) for n in sizes]
    scores[2] = rng.permutation(scores[0])
    a, b = rng.permutation([1.0, 2.0, 3.0])[:2]
    q, end = np.array([a, b, b, a]), int(rng.integers(1, 4))
    budget = int(rng.uniform(0.3, 0.7) * _macs(np.array(sizes), q, end, end))
    return {"scores": scores, "q": q, "n_in": end, "n_out": end, "budget": budget}


def _differ(a: Answer, b: Answer) -> bool:
    return any(np.any(one != other) for one, other in zip([a[0], *a[1]], [b[0], *b[1]]))


def _unique(scores: list[Array], q: Array, n_in: int, n_out: int, budget: int) -> bool:
    # Whether the second best choice is worth clearly less.
    values, macs, _ = _subsets(scores, q, n_in, n_out)
    values = np.sort(values[macs <= budget])
    return bool(len(values) < 2 or values[-1] - values[-2] > 1e-3)


def _tight(less: int) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        inputs = _one(rng, (4, 4, 4))
        one = _macs(np.ones(LAYERS), inputs["q"], inputs["n_in"], inputs["n_out"])
        return {**inputs, "budget": int(one) - less}

    return draw


# ---- the referee -----------------------------------------------------------------------------------------------------
def _subsets(scores: list[Array], q: Array, n_in: int, n_out: int) -> tuple[Array, Array, list[tuple[Array, ...]]]:
    """Return what all choices of channels are worth, their MACs, and the choices: at least one of each layer."""
    layers = [
        [
            np.isin(np.arange(len(s)), each).astype(float)
            for k in range(1, len(s) + 1)
            for each in combinations(range(len(s)), k)
        ]
        for s in scores
    ]
    worth = [np.array([row @ s for row in rows]) for rows, s in zip(layers, scores)]
    counts = [np.array([row.sum() for row in rows]) for rows in layers]
    shape = tuple(map(len, layers))
    a, b, c = (n.reshape([-1 if k == layer else 1 for k in range(LAYERS)]) for layer, n in enumerate(counts))
    values = sum(v.reshape([-1 if k == layer else 1 for k in range(LAYERS)]) for layer, v in enumerate(worth))
    macs = np.broadcast_to(q[0] * n_in * a + q[1] * a * b + q[2] * b * c + q[3] * c * n_out, shape)
    return np.asarray(values).ravel(), macs.ravel(), layers  # type: ignore[return-value]


def _all_subsets(scores: list[Array], q: Array, n_in: int, n_out: int, budget: int) -> Answer:
    values, macs, layers = _subsets(scores, q, n_in, n_out)
    can = np.flatnonzero(macs <= budget)
    if not len(can):
        return np.zeros(LAYERS), [np.zeros(len(s)) for s in scores]
    can = can[values[can] > values[can].max() - 1e-9]
    can = can[macs[can] == macs[can].min()]
    places = zip(*np.unravel_index(can, [len(rows) for rows in layers]))
    choices = [[rows[int(k)] for rows, k in zip(layers, place)] for place in places]
    # The narrower first, then those that keep the lower indices.
    best = min(choices, key=lambda kept: ([row.sum() for row in kept], [(-row).tolist() for row in kept]))
    return np.array([row.sum() for row in best]), best


def _anyway(scores: list[Array], q: Array, n_in: int, n_out: int, budget: int) -> Answer:
    found = _search()(scores, q, n_in, n_out, budget)
    return found if found[0].any() else _answer(scores, np.ones(LAYERS))


SEARCH = Exercise(
    id="wid.4",
    function="best_widths",
    outputs=("widths", "kept"),
    formula="max Σ_l (sum of the k_l largest scores of layer l) subject to Σ_l q_l k_l k_(l+1) ≤ B, from k_0 = n_in to"
    " k_4 = n_out, and k_l ≥ 1, over all widths; of equal sums the fewest MACs, then the narrowest first layers",
    slide="S0, Methods for pruning",
    ledger="D136, D39, S4-F2, S4-F4",
    section="notebook 22, section 3",
    minutes=45,
    referee=_all_subsets,
    cases=(
        Case("three layers of three channels", 1, _chain((3, 3, 3)), public=True),
        Case("chains on which shortcuts fail", 2, _chain((4, 5, 4)), draws=3),
        Case("equal scores", 1, _chain((4, 3, 4), ties=True), draws=3),
        Case("a budget for one channel a layer", 1, _tight(0), draws=2),
        Case("a budget for less", 1, _tight(1), draws=2),
    ),
    wrong=(
        Wrong(
            "the lowest goes",
            _one_by_one(lambda score, macs: score),
            "This lets the lowest score of all layers go until the rest fits, as"
            " pruning.architectures.widths.together does. It does not look at what a channel costs, and cannot go"
            " back.",
        ),
        Wrong(
            "the lowest for its MACs goes",
            _one_by_one(lambda score, macs: score / macs),
            "This lets the channel with the least score for its MACs go, one at a time. It is greedy: what a channel"
            " saves depends on those that go later.",
        ),
        Wrong(
            "one share for all layers",
            _uniform,
            "This takes the same share of every layer. The widths are what is looked for.",
        ),
        Wrong(
            "costs of the dense net",
            _search(dense=True),
            "This adds up what each layer saves beside dense neighbours. Where both ends of a layer shrink, its MACs go"
            " with the product (S4-F2).",
        ),
        Wrong(
            "layers emptied",
            _search(least=0),
            "This leaves a layer without channels, and nothing passes the net. Every layer keeps one.",
        ),
        Wrong(
            "less than the budget",
            _search(strict=True),
            "This asks for fewer MACs than the budget. Exactly the budget is allowed.",
        ),
        Wrong(
            "the dearer of equals",
            _search(dearer=True),
            "This takes, among equal sums of scores, the one with the most MACs. The cheapest is asked for.",
        ),
        Wrong(
            "the wider of equals",
            _search(wider=True),
            "This takes the wider first layer where sum and MACs are equal. The narrower one is asked for.",
        ),
        Wrong(
            "the last of equals",
            _search(last=True),
            "This keeps the channels with the highest indices among equal scores. The lowest stay here.",
        ),
        Wrong(
            "one channel, budget or not",
            _anyway,
            "This returns one channel a layer although even these cost more than the budget.",
        ),
    ),
    hint="np.ndindex(4, 5, 4) runs over all indices, the first one slowest.",
    package="pruning.architectures.widths.together",
)
