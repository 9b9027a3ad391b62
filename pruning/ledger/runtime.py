"""Runtime pruning: the best policy by Bellman's equation, what Q-learning moves towards, and what an action costs."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np

import nn
from pruning.dynamic import runtime
from pruning.dynamic.decision_process import Process, QLearning, follow, optimal
from pruning.ledger.core import Claim, Form, Formula, Measured

Array = np.ndarray
N, K, BINS = 6, 2, 2


# ---- D143: the best policy -------------------------------------------------------------------------------------------
def _process(rng: np.random.Generator) -> Process:
    """Two decisions about six images.  Four of them show one bin at first, two the other; all histories are met."""
    first = np.array([0, 0, 0, 0, 1, 1])
    second = np.array([[0, 1, 1, 1, 0, 1], [1, 0, 0, 0, 1, 0]])
    return Process((first, second), (rng.normal(size=(K, N)), 2 * rng.normal(size=(K, K, N))), BINS)


def _carried_out(process: Process, first: tuple[int, ...], second: tuple[int, ...]) -> float:
    """The mean reward of a policy: `first` by bin, `second` by (bin, action, bin), each image in plain Python."""
    total = 0.0
    for n in range(N):
        o = int(process.seen[0][n])
        a = first[o]
        b = second[4 * o + 2 * a + int(process.seen[1][a, n])]
        total += float(process.rewards[0][a, n]) + float(process.rewards[1][a, b, n])
    return total / N


def _best(process: Process) -> float:
    """The best of all 4 * 256 policies."""
    firsts, seconds = product(range(K), repeat=2), list(product(range(K), repeat=8))
    return max(_carried_out(process, first, second) for first in firsts for second in seconds)


def _backed_up(process: Process, ahead: Callable[[Array, Array], Array]) -> float:
    """The value at the start, with ``ahead(Q of the second decision, how many images met each bin)`` in Bellman's."""
    total = 0.0
    for o in range(BINS):
        there = process.seen[0] == o
        options = []
        for a in range(K):
            met = [there & (process.seen[1][a] == b) for b in range(BINS)]
            Q = np.array([process.rewards[1][a][:, m].mean(axis=1) for m in met])
            images = np.array([m.sum() for m in met])
            options.append(process.rewards[0][a, there].mean() + float(ahead(Q, images)))
        total += there.mean() * max(options)
    return total


def _optimum(rng: np.random.Generator) -> Iterator[Measured]:
    """The optimum and its values, what Q-learning ends at, and other targets of the first decision."""
    process = _process(rng)
    best, tables = _best(process), optimal(process)
    yield Measured("what the policy of the largest Q brings", abs(follow(process, tables)[0].mean() - best))
    start = float(np.mean(tables[0].max(axis=1)[process.seen[0]]))
    yield Measured("the mean of max_a Q(h, a) at the start", abs(start - best))
    learner = QLearning(process, 0.5, rng)
    learner.run(4000)
    met = [learner.visits[0] > 0, learner.visits[1] > 0]
    far = max(float(np.max(np.abs(Q - q)[m])) for Q, q, m in zip(tables, learner.tables, met))
    yield Measured("Q-learning, 4000 images: within 0.5", max(0.0, far - 0.5))
    for name, ahead, message in (
        ("the mean over actions", lambda Q, n: Q.mean(axis=1) @ n / n.sum(), "That is the value of acting at random."),
        ("the smallest Q", lambda Q, n: Q.min(axis=1) @ n / n.sum(), "An opponent would choose that way."),
        ("bins of equal weight", lambda Q, n: Q.max(axis=1).mean(), "A bin counts as often as images meet it."),
        ("no look ahead", lambda Q, n: np.zeros(()), "The loss comes at the end: a greedy agent computes too little."),
    ):
        off = abs(_backed_up(process, ahead) - best)
        yield Measured(name, off, True, message)
    message = "It knows the image and its label: a bound, and no policy."
    yield Measured("the best plan of each image", float(process.totals().max(axis=(0, 1)).mean()) - best, True, message)


# ---- D144: what an action costs --------------------------------------------------------------------------------------
def _widths(rng: np.random.Generator) -> dict[str, Any]:
    k = int(rng.integers(2, 5))
    return {"k": k, "n_in": k * int(rng.integers(1, 4)), "n_out": k * int(rng.integers(1, 4)), "side": 7, "kernel": 3}


def _macs(k: int, n_in: int, n_out: int, side: int, kernel: int) -> tuple[Array, Array]:
    gates = runtime.FirstGroups(n_in, None, k), runtime.FirstGroups(n_out, None, k)
    layers = nn.Conv2d(3, n_in, kernel, None, padding=1), gates[0], nn.Conv2d(n_in, n_out, kernel, None, 2), gates[1]
    first, second = runtime.macs(nn.Sequential(*layers), (3, side, side))
    return first, second


def _counted(k: int, n_in: int, n_out: int, side: int, kernel: int) -> tuple[Array, Array]:
    """Every multiplication of two loops over positions, filters and channels, counted where it is not left out."""
    first, second = np.zeros(k), np.zeros((k, k))
    places = len(range(0, side - kernel + 1, 2)) ** 2
    for i in range(k):
        now = [c for c in range(n_in) if c * k < (i + 1) * n_in]
        first[i] = sum(1 for _ in product(range(side * side), now, range(3), range(kernel * kernel)))
        for j in range(k):
            out = [c for c in range(n_out) if c * k < (j + 1) * n_out]
            second[i, j] = sum(1 for _ in product(range(places), out, now, range(kernel * kernel)))
    return first, second


def _cost_of(per_pair: Callable[[Array, Array], Array], area: bool = True) -> Callable[..., tuple[Array, Array]]:
    # The second layer's cost with another form of n_in n_out, or with the area of its input.
    def form(k: int, n_in: int, n_out: int, side: int, kernel: int) -> tuple[Array, Array]:
        share = np.arange(1, k + 1) / k
        places = ((side - kernel) // 2 + 1) ** 2 if area else side * side
        full = kernel * kernel * places * n_in * n_out
        return kernel * kernel * side * side * 3 * n_in * share, full * per_pair(share[:, None], share[None, :])

    return form


WHERE = "Lin, Rao, Lu, Zhou 2017, Runtime Neural Pruning"
CODE = "pruning.dynamic.decision_process"
STATEMENTS = (
    Claim(
        id="D143",
        title="runtime pruning: the best that can be decided with what is seen",
        printed=r"Q(h,a)=\frac1{|h|}\sum_{n\in h}\left(r_n(a)+\max_{a'}Q\big((h,a,o_n),a'\big)\right)",
        verdict="lost",
        remark="The paper's process, with a table for its agent: only so can all policies be tried.",
        where="derived here, after " + WHERE,
        code=f"{CODE}.optimal, {CODE}.follow, {CODE}.QLearning",
        notebook="24, section 6",
        tolerance=1e-10,
        measure=_optimum,
        referee="all 1024 policies, image by image",
    ),
    Formula(
        id="D144",
        title="runtime pruning: what it costs to compute some of the groups",
        printed=r"K^2\cdot\text{area}\cdot\frac{i_{l-1}\,n_{in}}{k}\cdot\frac{i_l\,n_{out}}{k}",
        verdict="lost",
        remark="A group costs more behind a wide layer: a fixed price for each group leaves that out.",
        where="derived here; " + WHERE + ", as we remember it, has one price for every group",
        code="pruning.dynamic.runtime.macs",
        notebook="24, section 6",
        draw=_widths,
        right=_macs,
        referees=(Form("multiplications counted one by one", _counted),),
        wrong=(
            Form("all channels of the input", _cost_of(lambda i, j: j + 0 * i), "What was left out costs nothing."),
            Form("one price for each group", _cost_of(lambda i, j: (i + j) / 2), "The channels multiply."),
            Form("the area of the input", _cost_of(lambda i, j: i * j, area=False), "A stride of 2 quarters it."),
        ),
    ),
)
