"""Accelerators that skip zeros: cycles against machines that are stepped, exact bounds, and what an index costs."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import nn
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.sparse import accelerators, cambricon_x, cnvlutin, index_bits

Array = np.ndarray


def _emptied(queues: list[list[int]]) -> int:
    """Return the cycles until all queues of jobs are empty; a job takes at least the cycle in which it is looked at."""
    clock, queues = 0, [list(queue) for queue in queues]
    while any(queues):
        clock += 1
        for queue in filter(None, queues):
            queue[0] -= 1
            if queue[0] <= 0:
                queue.pop(0)
    return clock


# ---- D130, D131: Cambricon-X -----------------------------------------------------------------------------------------
def _draw_weights(rng: np.random.Generator) -> dict[str, Array]:
    W = rng.uniform(1, 2, (37, 700)) * (rng.random((37, 700)) < rng.uniform(0, 0.4, (37, 1)))
    W[:, 256:512] = 0
    return {"W": W}


def _cycles(W: Array) -> tuple[int, int]:
    return accelerators.asynchronous(W), accelerators.lockstep(W)


def _jobs(row: Array) -> list[int]:
    # Cycle by cycle: of the nonzeros among 256 inputs up to 16 are taken, and one cycle passes if there are none.
    jobs = []
    for start in range(0, row.size, 256):
        left, cycles = [w for w in row[start : start + 256] if w != 0], 0
        while left or not cycles:
            left, cycles = left[16:], cycles + 1
        jobs.append(cycles)
    return jobs


def _stepped(W: Array) -> tuple[int, int]:
    free = _emptied([[job for row in W[u::16] for job in _jobs(row)] for u in range(16)])
    together = [zip(*map(_jobs, W[first : first + 16])) for first in range(0, len(W), 16)]
    return free, sum(_emptied([[job] for job in jobs]) for each in together for jobs in each)


def _of(chosen: Callable[[Array], Array], across: Callable[..., Any] = np.max) -> Callable[[Array], tuple[Any, Any]]:
    # Both ways, with another number of cycles (O, J) for each filter and window, or not the slowest unit.
    def form(W: Array) -> tuple[Any, Any]:
        cycles = chosen(W)
        padded = np.zeros((48, cycles.shape[1]))
        padded[:37] = cycles
        rounds = padded.reshape(3, 16, -1)
        return across(rounds.sum(axis=(0, 2))), across(rounds, axis=1).sum()

    return form


def _left(W: Array, width: int = 256) -> Array:
    starts = range(0, W.shape[1], width)
    return np.stack([np.count_nonzero(W[:, start : start + width], axis=1) for start in starts], axis=1)


def _bounds(rng: np.random.Generator) -> Iterator[Measured]:
    """Dense weights, random zeros, no weights: what no matrix can leave."""
    net = nn.models.lenet5(rng)
    found = cambricon_x(net, (1, 28, 28))
    by_hand = np.array([576 * 2 * 2, 64 * 4 * 32, 32 * 50, 32])
    yield Measured("dense weights, dense cycles", relative(np.array([each.cycles for each in found.layers]), by_hand))
    yield Measured("cycles of the dense machine", relative(np.array([each.dense for each in found.layers]), by_hand))
    over, whole = 0, np.ceil(40 / 16) * (2 * 16 + 6)
    for density in rng.uniform(0, 1, 5):
        W = (rng.random((40, 600)) < density) * 1.0
        free, together = _cycles(W)
        over += max(0, free - together) + max(0, together - whole) + max(0, whole / 16 - free)
    yield Measured("dense / 16 <= asynchronous <= lockstep <= dense", over)
    empty = np.zeros((32, 512))
    empty[0, 0] = 1
    yield Measured("16 times at most, and reached", abs(accelerators.dense(empty) / _cycles(empty)[0] - 16))
    free_of_charge = np.max(np.ceil(_left(empty) / 16).sum(axis=1))
    message = "256 inputs without a weight take a cycle, or an empty matrix would take no time."
    yield Measured("empty windows are free", abs(accelerators.dense(empty) / free_of_charge - 16), True, message)
    W = (rng.random((40, 600)) < 0.1) * 1.0
    message = "Units wait for the last one, and numbers of cycles are whole."
    yield Measured("1 / density", abs(accelerators.dense(W) / _cycles(W)[0] * W.mean() - 1), True, message)


# ---- D132, D133: Cnvlutin --------------------------------------------------------------------------------------------
def _draw_bricks(rng: np.random.Generator) -> dict[str, Array]:
    n = rng.integers(0, 17, (40, 6))
    n[0:40:16] = 0  # a lane has nothing to do
    n[:, 0] = 0
    return {"n": n}


def _lanes(n: Array, waiting: bool = False, least: int = 1) -> Array:
    busy = np.zeros((48, n.shape[1]))
    busy[:40] = np.maximum(n, least)
    rounds = busy.reshape(3, 16, -1)
    return np.asarray(rounds.max(axis=1).sum(axis=0) if waiting else rounds.sum(axis=0).max(axis=0))


def _windows(rng: np.random.Generator) -> Iterator[Measured]:
    """Full bricks in numbers that divide and do not, and a net with real zeros, window by window."""
    full = {k: np.full((16 * k, 1), 16) for k in (1, 3, 9)}
    off = sum(abs(int(accelerators.slowest_lane(n)[0]) - len(n)) for n in full.values())
    yield Measured("16 k full bricks take 16 k cycles", off)
    ratios = [9 * c / int(accelerators.slowest_lane(np.full((9 * c, 1), 16))[0]) for c in (1, 2, 4, 8)]
    yield Measured("few full bricks are slower", relative(np.array(ratios), np.array([9 / 16, 9 / 16, 3 / 4, 9 / 10])))
    first, conv = nn.Conv2d(2, 20, 1, rng), nn.Conv2d(20, 300, 3, rng, padding=1)
    net = nn.Sequential(first, nn.ReLU(), conv)
    x = rng.standard_normal((2, 4, 4, 3))
    found, inner = cnvlutin(net, x).layers, np.maximum(first.forward(x), 0)
    padded = np.pad(inner, ((0, 12), (1, 1), (1, 1), (0, 0)))
    pixels = np.count_nonzero(padded.reshape(2, 16, 6, 6, 3), axis=1)
    cycles = 0.0
    for i, j, n in itertools.product(range(4), range(4), range(3)):
        window = pixels[:, i : i + 3, j : j + 3, n].reshape(-1)
        cycles += 2 * _emptied([list(window[lane::16]) for lane in range(16)]) / 3
    yield Measured("a layer with 300 filters", relative(found[1].cycles, cycles))
    yield Measured("the baseline", relative(np.array([found[0].dense, found[1].dense]), np.array([16, 2 * 16 * 18])))
    yield Measured("the first layer as in the baseline", relative(found[0].cycles, 16))
    sees = accelerators.slowest_lane(np.full((1, 16), 2)).sum()
    message = "In front of the first layer stands an image, not what a ReLU has left."
    yield Measured("the first layer skips as well", relative(float(sees), 16.0), True, message)
    message = "Its 300 filters are worked on in two turns."
    yield Measured("all filters at once", relative(found[1].cycles / 2, cycles), True, message)
    message = "Eighteen bricks are dealt to 16 lanes: two of them have twice the work."
    share = float(pixels.mean()) / 16
    yield Measured("the share of nonzeros", relative(share * found[1].dense, cycles), True, message)


# ---- D134: where the weights are -------------------------------------------------------------------------------------
def _read_back(alive: Array) -> tuple[Array, int]:
    """Write steps of 4 bits with zeros in between, and read them again; return the units and the number of steps."""
    steps: list[tuple[int, bool]] = []
    behind = 0
    for unit in alive:
        behind += 1
        if unit or behind == 16:
            steps.append((behind - 1, bool(unit)))
            behind = 0
    while steps and not steps[-1][1]:
        steps.pop()
    found, at = np.zeros(alive.size, bool), -1
    for step, value in steps:
        at += step + 1
        found[at] = value
    return found, len(steps)


def _codes(rng: np.random.Generator) -> Iterator[Measured]:
    """Three codes of masks that are drawn, in all granularities."""
    few = np.zeros((3, 2, 2, 2))
    few.reshape(-1)[rng.permutation(24)[:5]] = 1
    ways = sum(1 for _ in itertools.combinations(range(24), 5))
    yield Measured("log2 of the number of masks", relative(index_bits(few, "weight").entropy, math.log2(ways) / 5))
    d = 5 / 24
    rate = -(d * math.log2(d) + (1 - d) * math.log2(1 - d)) / d
    message = "It is the limit for many units; of few it counts masks with other numbers of weights as well."
    yield Measured("entropy of a single bit", relative(rate, math.log2(ways) / 5), True, message)
    sizes = {"weight": 1, "vector": 5, "kernel": 25, "filter": 500}
    for granularity, size in sizes.items():
        alive = np.zeros(25000 // size, bool)
        alive[rng.permutation(alive.size)[: alive.size // 10]] = True
        W = np.repeat(alive, size).reshape(50, 20, 5, 5) * 1.0
        found, (units, steps) = index_bits(W, granularity), _read_back(alive)
        yield Measured("a bit a unit", relative(found.bitmap, 10 / size))
        yield Measured(
            "steps that can be read", relative(found.steps, 4 * steps / 2500) + float((units != alive).any())
        )
        if granularity in ("weight", "vector"):
            message = "Where the next unit is more than 16 away, a zero is stored, with a step of its own."
            yield Measured("4 bits a unit", relative(4 / size, 4 * steps / 2500), True, message)


X = "Zhang et al. 2016, Cambricon-X"
CNV = "Albericio et al. 2016, Cnvlutin"
CODE = "pruning.sparse.accelerators"
STATEMENTS = (
    Formula(
        id="D130",
        title="Cambricon-X: cycles for one column",
        printed=r"\max_u\sum_{i\bmod16=u}\sum_j\max\left(1,\lceil n_{ij}/16\rceil\right),\quad"
        r"\sum_{\text{16 filters}}\sum_j\max_i\max\left(1,\lceil n_{ij}/16\rceil\right)",
        verdict="lost",
        remark="16 units that work asynchronously are the paper's; 256 inputs to choose from are assumed, from memory.",
        where=X + " (the rules as we remember them)",
        code=f"{CODE}.asynchronous, {CODE}.lockstep",
        notebook="13, section 9",
        tolerance=0.0,
        draw=_draw_weights,
        right=_cycles,
        referees=(Form("queues, stepped cycle by cycle", _stepped),),
        wrong=(
            Form(
                "one choice among all inputs",
                _of(lambda W: np.maximum(1, -(-_left(W, 700) // 16))),
                "16 multipliers are filled from 256 inputs, not from all: each part is rounded up.",
            ),
            Form(
                "empty windows are free",
                _of(lambda W: -(-_left(W) // 16)),
                "256 inputs are looked at in a cycle, needed or not.",
            ),
            Form("rounded down", _of(lambda W: np.maximum(1, _left(W) // 16)), "A cycle that is half used is a cycle."),
            Form(
                "the mean unit",
                _of(lambda W: np.maximum(1, -(-_left(W) // 16)), np.mean),
                "The layer is done when the slowest unit is.",
            ),
        ),
    ),
    Claim(
        id="D131",
        title="Cambricon-X: between dense / 16 and dense",
        printed=r"\tfrac{1}{16}\,\text{dense}\le\text{asynchronous}\le\text{lockstep}\le\text{dense},\quad"
        r"\text{equal if no weight is zero}",
        verdict="lost",
        remark="LeNet-5 takes 12,128 cycles; no share of zeros makes it more than 16 times as fast.",
        where="derived from D130",
        code=f"{CODE}.cambricon_x, {CODE}.dense",
        notebook="13, section 9",
        measure=_bounds,
        referee="products of whole numbers",
    ),
    Formula(
        id="D132",
        title="Cnvlutin: cycles of one window",
        printed=r"\max_l\sum_{b\bmod16=l}\max(1,n_b)",
        verdict="lost",
        remark="Lanes that go on mostly independently are the paper's; waiting at the window's end is from memory.",
        where=CNV + " (the rules as we remember them)",
        code=f"{CODE}.slowest_lane",
        notebook="13, section 10",
        tolerance=0.0,
        draw=_draw_bricks,
        right=lambda n: accelerators.slowest_lane(n),
        referees=(
            Form("queues, stepped", lambda n: np.array([_emptied([list(w[l::16]) for l in range(16)]) for w in n.T])),
        ),
        wrong=(
            Form(
                "lanes wait after every brick",
                lambda n: _lanes(n, waiting=True),
                "A lane goes on to its next brick of the window while others are still busy.",
            ),
            Form("empty bricks are free", lambda n: _lanes(n, least=0), "A brick is fetched before it is known empty."),
            Form(
                "the mean lane",
                lambda n: np.maximum(n, 1).sum(axis=0) / 16,
                "The window is done when the slowest lane is.",
            ),
        ),
    ),
    Claim(
        id="D133",
        title="Cnvlutin: 16 k full bricks gain nothing, fewer lose",
        printed=r"\text{speed-up}=\frac{B}{16\lceil B/16\rceil}\le1\text{ for }B\text{ full bricks}",
        verdict="lost",
        remark="A window of 3 x 3 with 16 full channels takes 16 cycles for 9: thin layers are slower than before.",
        where="derived from D132; " + CNV + ", prints 1.24 to 1.55",
        code=f"{CODE}.cnvlutin, {CODE}.bricks",
        notebook="13, section 10",
        measure=_windows,
        referee="windows one by one, with queues",
    ),
    Claim(
        id="D134",
        title="index bits for each weight that is kept",
        printed=r"\frac1{d\,|u|},\qquad\frac{4}{|u|}\left(1+\frac{\text{stored zeros}}{k}\right),\qquad"
        r"\frac{1}{k\,|u|}\log_2\binom nk",
        verdict="lost",
        remark="A unit of |u| weights shares one index: what a code costs falls by that factor, in every code.",
        where="derived; steps of 4 bits as in Han et al. 2016, EIE",
        code=f"{CODE}.index_bits",
        notebook="13, section 9.1",
        tolerance=1e-10,
        measure=_codes,
        referee="masks enumerated, steps written and read back",
    ),
)
