"""Pruning from scratch: the penalty of the gates, the search for widths, and what is called sparsity."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np

import nn
from pruning.architectures import from_scratch
from pruning.ledger.core import Claim, Form, Formula, Measured

Array = np.ndarray
SIZES = {"0.W": 3, "3.W": 5, "6.W": 4}


def _net() -> Any:
    rng, layers, n_in = np.random.default_rng(0), [], 2
    for n in SIZES.values():
        layers += [nn.Linear(n_in, n, rng), nn.BatchNorm(n), nn.ReLU()]
        n_in = n
    return from_scratch.gated(nn.Sequential(*layers, nn.Linear(n_in, 2, rng)))


def _penalty(g: Array, strength: float = 0.5, target: float = 0.2) -> tuple[from_scratch.MeanGate, list[Any]]:
    """Return the penalty of a net whose gates are g, those of all layers in a row, and the gates."""
    net = _net()
    parameters = list(from_scratch.gates(net).values())
    for u, part in zip(parameters, np.split(g, np.cumsum([*SIZES.values()])[:-1])):
        u.data, u.grad = np.array(part), np.zeros(len(part))
    return from_scratch.MeanGate(net, strength, target), parameters


# ---- D135: the penalty -----------------------------------------------------------------------------------------------
def _strong(rng: np.random.Generator) -> dict[str, Any]:
    # Layer by layer another mean, and some gates that a step has carried out of [0, 1].
    g = np.repeat([0.2, 0.5, 0.8], [*SIZES.values()]) + rng.uniform(-0.1, 0.1, 12)
    g[[1, 6, 10]] = -0.3, 1.4, 1.2
    return {"g": g, "strength": float(rng.uniform(0.5, 2)), "target": float(rng.uniform(0.1, 0.3))}


def _ours(g: Array, strength: float, target: float) -> tuple[Array, Array, Array]:
    penalty, gates = _penalty(g, strength, target)
    value = penalty.penalty()
    penalty.after_backward(1)
    penalty.after_step(1)
    return np.array(value), np.concatenate([u.grad for u in gates]), np.concatenate([u.data for u in gates])


def _by_steps(g: Array, strength: float, target: float) -> tuple[Array, Array, Array]:
    """The slope of the value by the complex step, one gate at a time, and the gates clipped one by one."""

    def value(g: Array) -> Any:
        total = 0
        for each in g:
            total = total + each
        return strength * (total / len(g) - target) ** 2

    slopes = [value(g + 1e-30j * (np.arange(len(g)) == c)).imag / 1e-30 for c in range(len(g))]
    return np.array(value(g)), np.array(slopes), np.array([min(1.0, max(0.0, float(each))) for each in g])


def _penalised(
    slope: Callable[[Array, float], Any] = lambda g, r: 2 * (g.mean() - r) / len(g),
    clip: Callable[[Array], Array] = lambda g: np.clip(g, 0, 1),
) -> Callable[..., tuple[Array, Array, Array]]:
    def form(g: Array, strength: float, target: float) -> tuple[Array, Array, Array]:
        slopes = strength * slope(g, target) * np.ones(len(g))
        return np.array(strength * (g.mean() - target) ** 2), slopes, clip(g)

    return form


def _by_layer(g: Array, r: float) -> Array:
    layer = np.repeat(np.arange(3), [*SIZES.values()])
    means = np.array([g[layer == k].mean() for k in range(3)])
    return np.asarray(2 * (means - r)[layer] / np.bincount(layer)[layer])


# ---- D136: the search ------------------------------------------------------------------------------------------------
WIDE = {"0.W": 12, "3.W": 16, "6.W": 16}


def _cost(widths: Mapping[str, int]) -> int:
    """The multiply-accumulates of three convolutions of 3 x 3 and ten outputs on images of 8 x 8, pooled once."""
    a, b, c = widths.values()
    return 9 * (64 * a + 64 * a * b + 16 * b * c) + 10 * c


def _clipped(rng: np.random.Generator) -> dict[str, Array]:
    # A third of them is 0, the first layer keeps none, and the others have two digits: ties wherever the cut falls.
    found = {name: np.round(np.clip(rng.uniform(-0.5, 0.9, n), 0, 1), 1) for name, n in WIDE.items()}
    return {**found, "0.W": 0 * found["0.W"]}


def _ranked(gates: Mapping[str, Array], guard: bool = True, sign: int = 1) -> list[int]:
    """The layers of all gates in the order in which they come in, by sorting tuples; equal ones from the first on."""
    every = [
        (-float(value), sign * layer, sign * i)
        for layer, values in enumerate(gates.values())
        for i, value in enumerate(values)
    ]
    every.sort()
    first = [next(each for each in every if abs(each[1]) == layer) for layer in range(len(gates))] if guard else []
    return [abs(each[1]) for each in chain(first, (each for each in every if each not in first))]


def _widths(order: list[int], k: int) -> dict[str, int]:
    return {name: order[:k].count(layer) for layer, name in enumerate(WIDE)}


def _scan(order: list[int], budgets: list[float], reach: bool = True) -> list[dict[str, int]]:
    """The widths of the largest k that fits each budget, all of them tried; the smallest k if none does."""
    tried = [(_cost(widths), widths) for widths in (_widths(order, k) for k in range(3, len(order) + 1))]
    return [
        [tried[0][1], *(widths for cost, widths in tried if cost < most or (reach and cost == most))][-1]
        for most in budgets
    ]


def _searched(rng: np.random.Generator) -> Iterator[Measured]:
    """Ninety-one budgets: the search, a scan of all k, and what other rules give on the same gates."""
    gates, whole = _clipped(rng), _cost(WIDE)
    order = _ranked(gates)
    # Budgets that are not met to the unit, and one that is.
    budgets = [whole * percent / 100 + 0.5 for percent in range(5, 96)] + [_cost(_widths(order, 20))]
    found = [from_scratch.search(gates, _cost, budget) for budget in budgets]
    yield Measured("over the budget", sum(_cost(each) > budget for each, budget in zip(found, budgets)))
    fuller = [_widths(order, sum(each.values()) + 1) for each in found]
    yield Measured("one gate more fits", sum(_cost(each) <= budget for each, budget in zip(fuller, budgets)))
    yield Measured("not the scan's", _differ(found, _scan(order, budgets)))
    last = [from_scratch.last_midpoint(gates, _cost, budget) for budget in budgets]
    message = "A bisection has a side that fits and one that does not; its last midpoint may be of either."
    yield Measured("last midpoint", sum(_cost(each) > b for each, b in zip(last, budgets)), True, message)
    message = "A budget that is met to the unit is not exceeded."
    yield Measured("below the budget", _differ(found, _scan(order, budgets, reach=False)), True, message)
    message = "Equal gates are many, and which of them come first decides on widths: the first layer's."
    yield Measured("ties to the last layer", _differ(found, _scan(_ranked(gates, sign=-1), budgets)), True, message)
    message = "A layer all of whose gates are small keeps its largest: without a channel there is no net."
    bare = _scan(_ranked(gates, guard=False), budgets)
    yield Measured("without a guard", sum(min(each.values()) == 0 for each in bare), True, message)


def _differ(found: list[dict[str, int]], other: list[dict[str, int]]) -> int:
    return sum(a != b for a, b in zip(found, other))


# ---- D137: what is called sparsity -----------------------------------------------------------------------------------
def _sparsities(rng: np.random.Generator) -> Iterator[Measured]:
    """The mean gate and the share of open gates, both by counting; they meet only where all open gates are 1."""
    for _ in range(5):
        g = np.round(np.clip(rng.uniform(-0.5, 1.2, 12), 0, 1), 2)
        g[:3] = 0, 0.5, 1
        penalty, gates = _penalty(g)
        penalty.after_step(1)
        left, total, opened = [float(each) for u in gates for each in u.data], 0.0, 0
        for each in left:
            total, opened = total + each, opened + (each > 0)
        yield Measured("mean gate", max(0.0, abs(penalty.mean() - total / 12) - 1e-12))
        yield Measured("share of open gates", abs(penalty.open() - opened / 12))
        yield Measured("mean above the share", max(0.0, penalty.mean() - penalty.open()))
        whole, _ = _penalty(np.ceil(g))
        yield Measured("all open gates at 1", abs(whole.mean() - whole.open()))
        message = "Gates between 0 and 1 are open, but count for less than 1 in the mean."
        yield Measured("the mean for the share", penalty.open() - penalty.mean(), True, message)
    met, _ = _penalty(np.array([0.4] * 6 + [0.0] * 6), 0.5, 0.2)
    yield Measured("no penalty at mean r", max(0.0, met.penalty() - 1e-30))
    message = "The penalty is content with a mean of r, and then more than r are open: its bound is not met."
    yield Measured("mean r, so at most r are open", met.open() - 0.2, True, message)


WHERE = "Wang et al. 2020, Pruning from scratch, arXiv:1909.12579; their code"
CODE = "pruning.architectures.from_scratch"
STATEMENTS = (
    Formula(
        id="D135",
        title="pruning from scratch: the penalty of the mean gate",
        printed=r"\frac{\partial}{\partial g_c}\lambda\Big(\frac1C\sum_c g_c-r\Big)^2"
        r"=\frac{2\lambda}{C}(\bar g-r),\quad g\leftarrow\min(1,\max(0,g))",
        verdict="lost",
        remark="Programs differentiate it: one slope for all gates of the net, which vanishes as 1 / C.",
        where="derived from " + WHERE + ", learn_gates.py",
        code=f"{CODE}.MeanGate",
        notebook="22, section 2",
        draw=_strong,
        right=_ours,
        referees=(Form("complex step, one gate at a time", _by_steps),),
        wrong=(
            Form("without the 2", _penalised(lambda g, r: (g.mean() - r) / len(g)), "The square brings a factor 2."),
            Form("without 1 / C", _penalised(lambda g, r: 2 * (g.mean() - r)), "A gate has the C-th part of the mean."),
            Form("the mean of each layer", _penalised(_by_layer), "One mean is that of all layers."),
            Form("sign", _penalised(lambda g, r: 2 * (r - g.mean()) / len(g)), "Above the target gates have to fall."),
            Form("no clip", _penalised(clip=lambda g: g), "A gate below 0 would turn its channel's sign."),
        ),
    ),
    Claim(
        id="D136",
        title="pruning from scratch: the widths under a budget",
        printed=r"k^*=\max\{k:\text{MACs}(\text{the }k\text{ largest gates})\le B\}",
        verdict="slip",
        remark="The code returns the last midpoint of a bisection, which is over the budget about half of the time.",
        where=WHERE + ", prune_model.py",
        code=f"{CODE}.search, {CODE}.last_midpoint",
        notebook="22, section 3",
        tolerance=0,
        measure=_searched,
        referee="a scan of all k",
    ),
    Claim(
        id="D137",
        title="pruning from scratch: one sparsity means two things",
        printed=r"\bar g\to r\quad\text{and}\quad\frac1C\#\{g_c\ne0\}\le r",
        verdict="right if",
        remark="If every open gate is 1; the mean is below the share of open gates otherwise, and r cannot be both.",
        where=WHERE + ", learn_gates.py: sparsity_level",
        code=f"{CODE}.MeanGate.mean, {CODE}.MeanGate.open",
        notebook="22, section 2",
        tolerance=0,
        measure=_sparsities,
        referee="sums and counts of single gates",
    ),
)
