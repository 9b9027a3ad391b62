"""Whole rows and columns that go while a net trains: the cheapest per weight, and what comes out of the net."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import nn
from pruning import masks, surgery
from pruning.ledger import plain
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.pipeline.rows_and_columns import Groups

Array = np.ndarray
NAMES = ("0.W", "3.W")


# ---- D198: the cheapest per weight -----------------------------------------------------------------------------------
SHAPES = {"0.W": (4, 6), "2.W": (5, 4), "4.W": (3, 5)}
READS = {"0.W": "2.W", "2.W": "4.W"}


Prices = list[tuple[dict[tuple[str, str], Array], int]]


def _draw_prices(rng: np.random.Generator) -> dict[str, Any]:
    """Eight times: means of the rows of two layers and of all columns, and how many of 59 weights may stay."""
    sizes = {("row", name): SHAPES[name][0] for name in READS} | {
        ("column", name): n for name, (_, n) in SHAPES.items()
    }
    means = [{key: rng.uniform(0.5, 2, n) for key, n in sizes.items()} for _ in range(8)]
    return {"problems": [(each, int(rng.integers(15, 25))) for each in means]}


def _deleted(problems: Prices) -> Array:
    rng, found = np.random.default_rng(0), []
    for means, budget in problems:
        layers = [nn.Linear(6, 4, rng), nn.Tanh(), nn.Linear(4, 5, rng), nn.Tanh(), nn.Linear(5, 3, rng)]
        groups = Groups(nn.Sequential(*layers), list(READS), list(SHAPES))
        groups.means = {key: mean.copy() for key, mean in means.items()}
        groups.delete(budget)
        found += [u.mask.ravel() for u in masks.prunable(groups.net).values()]
    return np.concatenate(found)


def _places(kind: str, name: str, k: int, reads: bool) -> set[tuple[str, int, int]]:
    """All weights that go with a group."""
    rows, columns = SHAPES[name]
    if kind == "column":
        return {(name, i, k) for i in range(rows)}
    readers = {(READS[name], i, k) for i in range(SHAPES[READS[name]][0])} if reads else set()
    return {(name, k, j) for j in range(columns)} | readers


def _searched(
    price: Callable[[float, int, int], float] = lambda mean, left, _: mean / left, reads: bool = True, sign: int = 1
) -> Callable[..., Array]:
    """`price` of (mean, weights of the group that are left, weights that it had)."""

    def form(problems: Prices) -> Array:
        found = []
        for means, budget in problems:
            alive = {(name, i, j) for name, size in SHAPES.items() for i, j in np.ndindex(*size)}
            groups = {(*key, k): _places(*key, k, reads) for key, mean in means.items() for k in range(len(mean))}
            whole = {each: len(group) for each, group in groups.items()}
            while len(alive) > budget:
                prices = {}
                for (kind, name, k), group in groups.items():
                    others = {place[1 if kind == "row" else 2] for place in alive if place[0] == name}
                    if k in others and len(others) > 1:
                        each = kind, name, k
                        prices[each] = sign * price(means[kind, name][k], len(group & alive), whole[each])
                alive -= groups[min(prices, key=prices.__getitem__)]
            found += [1.0 * ((name, i, j) in alive) for name, size in SHAPES.items() for i, j in np.ndindex(*size)]
        return np.array(found)

    return form


# ---- D199: what was deleted comes out --------------------------------------------------------------------------------
def _comes_out(rng: np.random.Generator) -> Iterator[Measured]:
    layers = [
        nn.Conv2d(2, 4, 3, rng),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(48, 6, rng),
        nn.Sigmoid(),
        nn.Linear(6, 3, rng),
    ]
    net: Any = nn.Sequential(*layers)
    for u in net.parameters():
        u.data = rng.uniform(0.3, 1, u.shape) * rng.choice([-1, 1], u.shape)
    net.layers[0].b.data = np.abs(net.layers[0].b.data)
    biases = {place: net.layers[place].b.data.copy() for place in (0, 3)}
    groups = Groups(net, NAMES, NAMES)
    groups.means = {("row", "0.W"): np.array([0.0, 1, 1, 1]), ("row", "3.W"): np.array([1.0, 0, 1, 1, 1, 1])}
    readers = [net.layers[3].W.data.copy(), net.layers[5].W.data.copy()]
    groups.delete(groups.left() - 129)
    x = rng.standard_normal((*plain.SHAPE, 5))
    keep = {name: np.flatnonzero(groups.keep[name].any(axis=1)).tolist() for name in NAMES}

    def changed() -> float:
        return relative(surgery.remove(net, keep).forward(x), plain.forward(net, x))

    yield Measured("rows that stay", float(keep != {"0.W": [1, 2, 3], "3.W": [0, 2, 3, 4, 5]}))
    yield Measured("biases of rows that went", float(abs(net.layers[0].b.data[0]) + abs(net.layers[3].b.data[1])))
    yield Measured("taken out", changed())
    net.layers[3].W.data, net.layers[5].W.data = readers
    message = "The sigmoid of nothing is 1/2: what reads a row has to go with it."
    yield Measured("readers stay", changed(), True, message)
    for place, b in biases.items():
        net.layers[place].b.data = b
    message = "A gate on the row is one on the bias too, and f(b) would go on into the next layer."
    yield Measured("biases and readers stay", changed(), True, message)


STATEMENTS = (
    Formula(
        id="D198",
        title="the cheapest group per weight goes first",
        printed=r"\arg\min_g\frac{\mathcal I_g}{\#\{\text{weights that go with }g\}}",
        verdict="lost",
        remark="For a budget of weights; with a row goes the column that reads it, and every layer keeps one of each.",
        where="derived here",
        code="pruning.pipeline.rows_and_columns.Groups",
        notebook="17, section 2.1",
        tolerance=0.0,
        draw=_draw_prices,
        draws=1,
        right=_deleted,
        referees=(Form("sets of weights, searched", _searched()),),
        wrong=(
            Form("not per weight", _searched(lambda mean, left, _: mean), "A row frees many weights, a column few."),
            Form(
                "per weight at the start",
                _searched(lambda mean, left, whole: mean / whole),
                "Weights that went with another group cannot be freed again.",
            ),
            Form("readers stay", _searched(reads=False), "The column that reads a row goes with it."),
            Form("dearest first", _searched(sign=-1), "The group that costs least per weight goes first."),
        ),
    ),
    Claim(
        id="D199",
        title="a row at zero comes out exactly",
        printed=r"W_j=0,\ b_j=0,\ A_{\cdot j}=0\ \Rightarrow\ \text{row }j\text{ can be removed}",
        verdict="lost",
        remark="The mask of a row is one of its bias and of all that reads it.",
        where="derived here",
        code="pruning.pipeline.rows_and_columns.Groups, pruning.surgery.remove",
        notebook="17, section 2.1",
        measure=_comes_out,
        referee="net in plain NumPy",
    ),
)
