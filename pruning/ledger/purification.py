"""Network purification: Algorithm 1 as it is meant and to the letter, without thresholds, and to its fixed point."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import nn
from pruning import masks, surgery
from pruning.ledger import plain
from pruning.ledger.core import Claim, Form, Formula, Measured
from pruning.ledger.fullness import MUCH, convolutions_of
from pruning.ledger.plain import SHAPE, chain
from pruning.surgery import Thresholds

Weights = tuple[np.ndarray, ...]


# ---- S3-F15: Algorithm 1 ---------------------------------------------------------------------------------------------
RULE = Thresholds(column=0.125, fullness=1 / 3, energy=2, filter=0.5)


def _draw_weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Three layers: a strong column, weak columns, weak filters, one that becomes unread, and one that reads dead maps.

    What is exactly as large as a threshold stays: a column, a filter, and channels that are as full or as strong.
    """
    one, two, three = (
        rng.choice([-1, 1], shape) * rng.uniform(0.6, 1.2, shape)
        for shape in ((5, 2, 3, 3), (5, 5, 3, 3), (3, 5, 3, 3))
    )
    two[0] *= 0.05  # a weak filter
    two[:, 0], two[:, 1] = 0, 0
    two[1:, 0, 1, 1] = 5  # channel 0: eta = 1/9, but no other column is as strong
    two[:, 1, 0, :2] = 0.05  # channel 1: two columns that are left over
    two[:, 2] *= 0.5  # channel 2: every column is there, and little energy
    two[:4, 3] = 0  # channel 3: only filter 4 reads it,
    three[:, 4] *= 0.04  # and what that makes is hardly read
    one[4] *= 0.05  # weak, so that channel 4 is a map of zeros,
    two[2, :4] *= 0.05  # and filter 2 reads hardly anything else
    one[0] = 0
    one[0, 0, 0, :2] = 0.5  # filter 0 has the energy Th4
    three[:, 0, 0, 0] = 0.25, 0.25, 0  # a column of the energy Th1
    three[:, 1] = 0
    three[0, 1, 0, 0] = three[1, 1, 1, 1] = 3  # channel 1: sigma = Th3
    three[:, 3, 1:] = 0  # channel 3: eta = Th2
    return {"one": one, "two": two, "three": three}


def _live(W: Weights, rule: Thresholds = RULE) -> Weights:
    found = surgery.purify(convolutions_of(*W), rule)
    return tuple((w * found[name] != 0) for w, name in zip(W, ("0.W", "2.W", "4.W")))


def _purify(one: np.ndarray, two: np.ndarray, three: np.ndarray) -> Weights:
    return _live((one, two, three))


def _algorithm(
    empty: Callable[[float, float], bool] = lambda eta, sigma: eta < RULE.fullness and sigma < RULE.energy,
    literal: bool = False,
    once: bool = False,
) -> Callable[..., Weights]:
    """Algorithm 1 in loops, over columns as they are printed: until nothing changes, or once."""

    def form(one: np.ndarray, two: np.ndarray, three: np.ndarray) -> Weights:
        W, before = [one.copy(), two.copy(), three.copy()], -1
        while before != (before := sum(int(np.count_nonzero(w)) for w in W)):
            for i in range(3):
                _columns_and_channels(W, i, empty, literal)
                _filters(W, i)
            if once:
                break
        return tuple(w != 0 for w in W)

    return form


def _columns_and_channels(W: list[np.ndarray], i: int, empty: Callable[[float, float], bool], literal: bool) -> None:
    for j in range(W[i].shape[1]):
        weak, energies = [], []
        for k, m in np.ndindex(3, 3):
            energies.append(float(np.sum(W[i][:, j, k, m] ** 2)))
            if energies[-1] < RULE.column:
                weak.append(energies[-1])
                if not literal:  # purified; read to the letter, (8) and (9) are taken over the weak columns alone
                    W[i][:, j, k, m], energies[-1] = 0, 0.0
        counted = weak if literal else energies
        if i > 0 and empty(np.count_nonzero(counted) / 9, sum(counted) / 9):
            W[i][:, j] = 0
        if i > 0 and not W[i][:, j].any():
            W[i - 1][j] = 0


def _filters(W: list[np.ndarray], i: int) -> None:
    # What reads maps of zeros does not count for a filter; the filters of the last layer are the outputs.
    for m in range(len(W[i]) if i < 2 else 0):
        alive = [j for j in range(W[i].shape[1]) if i == 0 or W[i - 1][j].any()]
        if np.sum(W[i][m, alive] ** 2) < RULE.filter:
            W[i][m] = 0


# ---- S3-F15b: thresholds of zero -------------------------------------------------------------------------------------
def _draw_sparse(rng: np.random.Generator) -> dict[str, Any]:
    """Filters 1 and 3 are empty and have a bias; channel 2 of the last layer is empty, and so is one column more."""
    layers = nn.Conv2d(2, 5, 3, rng), nn.BatchNorm(5), nn.ReLU(), nn.Conv2d(5, 4, 2, rng), nn.Tanh()
    net = chain(rng, *layers, nn.Conv2d(4, 3, 2, rng))
    net.layers[5].W.data[:, 2] = 0
    net.layers[3].W.data[[0, 1, 3], 4] = 0  # channel 4 of the middle layer: only filter 2 reads it
    return {"net": net, "x": rng.standard_normal((*SHAPE, 3))}


def _masked(net: Any, x: np.ndarray) -> np.ndarray:
    twin = surgery.duplicate(net)
    masks.apply(twin, surgery.purify(net, Thresholds()))
    return np.asarray(twin.forward(x))


def _channels_of_empty_filters(net: Any, x: np.ndarray) -> np.ndarray:
    twin = surgery.duplicate(net)
    twin.layers[3].W.data[:, [1, 3]] = 0
    return np.asarray(twin.forward(x))


def _empty_filters_without_bias(net: Any, x: np.ndarray) -> np.ndarray:
    twin = surgery.duplicate(net)
    for parameter in (twin.layers[0].b, twin.layers[1].gamma, twin.layers[1].beta):
        parameter.data[[1, 3]] = 0
    return np.asarray(twin.forward(x))


# ---- S3-F15c: a fixed point ------------------------------------------------------------------------------------------
def _fixed_point(rng: np.random.Generator) -> Iterator[Measured]:
    W = tuple(_draw_weights(rng).values())
    left = _live(W)
    again = _live(tuple(w * live for w, live in zip(W, left)))
    yield Measured("purified twice", _more(left, again) + _more(again, left))
    for name, value in vars(RULE).items():
        less, more = ({**vars(RULE), name: factor * value} for factor in (0.4, 1.2))
        yield Measured(f"come back with a higher {name}", _more(_live(W, Thresholds(**more)), left))
        yield Measured(f"go with a lower {name}", _more(left, _live(W, Thresholds(**less))))
    yield Measured("a layer emptied without a word", float(not _refuses(W, Thresholds(column=MUCH))))
    once = _algorithm(once=True)(*W)
    twice = _algorithm(once=True)(*(w * live for w, live in zip(W, once)))
    message = "What the last layer takes can leave a channel in front unread: it takes passes until nothing changes."
    yield Measured("one pass", _more(once, twice), True, message)


def _more(these: Weights, those: Weights) -> float:
    """Return how many weights live in these and not in those."""
    return float(sum(np.count_nonzero(a & ~b) for a, b in zip(these, those)))


def _refuses(W: Weights, rule: Thresholds) -> bool:
    try:
        _live(W, rule)
    except ValueError:
        return True
    return False


STATEMENTS = (
    Formula(
        id="S3-F15",
        title="Algorithm 1: purification",
        printed=r"\begin{array}{l}\textbf{for each: }k\in\delta\textbf{ and }\|\text{column}_k\|_F^2<Th_1\textbf{ do}"
        r"\text{ calculate: equation (8), (9) }\textbf{end}\\\textbf{if }\eta_{i,j}<Th_2\textbf{ and }\sigma_{i,j}<Th_3"
        r"\textbf{ then }\text{prune}(\text{channel}_{i,j}),\ \text{prune}(\text{filter}_{i-1,j})"
        r"\textbf{ when }i\neq1\end{array}",
        verdict="wrong",
        remark="It is meant as: set the weak columns to zero, then take (8) and (9) over all columns of a channel.",
        where="S3, Algorithm 1",
        code="pruning.surgery.purify",
        notebook="15, section 4",
        tolerance=0,
        draw=_draw_weights,
        right=_purify,
        referees=(Form("Algorithm 1 in loops, as intended", _algorithm()),),
        wrong=(
            Form(
                "to the letter",
                _algorithm(literal=True),
                "Over the weak columns alone a channel without any has eta = sigma = 0, and the strongest goes first.",
            ),
            Form(
                "eta > Th2",
                _algorithm(lambda eta, sigma: eta > RULE.fullness and sigma < RULE.energy),
                "The sentence under (8) says so; eta is a fullness, and low where little is left.",
            ),
            Form(
                "or for and",
                _algorithm(lambda eta, sigma: eta < RULE.fullness or sigma < RULE.energy),
                "One strong column is few columns, and many small ones are little energy: each alone may stay.",
            ),
        ),
    ),
    Formula(
        id="S3-F15b",
        title="Algorithm 1: the channel of an empty filter",
        printed=r"\begin{array}{l}\textbf{if }\text{filter}_m\text{ is empty or }\|\text{filter}_m\|_F^2<Th_4"
        r"\textbf{ then}\\\quad\text{prune}(\text{filter}_{i,m}),\ \text{prune}(\text{channel}_{i+1,m})"
        r"\textbf{ when }i\neq\text{last layer index}\end{array}",
        verdict="right if",
        remark="It holds where the filter emits zeros; ours keeps the channel until its constant has moved.",
        where="S3, Algorithm 1, second loop",
        code="pruning.surgery.purify",
        notebook="15, section 4",
        draw=_draw_sparse,
        right=_masked,
        referees=(Form("whole net in plain NumPy", plain.forward),),
        wrong=(
            Form(
                "channels of empty filters go",
                _channels_of_empty_filters,
                "An empty filter with a bias or a batch norm emits a constant, which these channels pass on.",
            ),
            Form(
                "an empty filter loses its bias too",
                _empty_filters_without_bias,
                "What it emits becomes zero, and the next layer gets another sum.",
            ),
        ),
    ),
    Claim(
        id="S3-F15c",
        title="purification ends in a fixed point",
        printed=r"P(P(W))=P(W),\quad Th\le Th'\ \Rightarrow\ P_{Th}(W)\ge P_{Th'}(W)",
        verdict="lost",
        remark="It is repeated to the end; higher thresholds bring no weight back, and none may empty a layer.",
        where="S3, Algorithm 1 (its loop runs once over the layers)",
        code="pruning.surgery.purify",
        notebook="15, section 4",
        tolerance=0,
        referee="live weights counted",
        measure=_fixed_point,
    ),
)
